"""The Network door: listening and connecting, so that a test can put a network of its own here.

Whoever needs a socket is handed a Network. Implementations deliver asyncio's transports and
protocols; AsyncioNetwork is the real one. Nothing here knows Kafka.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Protocol

ProtocolFactory = Callable[[], asyncio.BaseProtocol]

LISTEN_BACKLOG: Final = 512


class Listener(Protocol):
    """A listening socket. Connections that it accepted live on when it is closed."""

    @property
    def port(self) -> int:
        """The port, chosen by the system when 0 was asked for."""
        ...

    def close(self) -> None:
        """Stop accepting; may be called again."""
        ...

    async def wait_closed(self) -> None:
        """Return when the port is free again."""
        ...


class Network(Protocol):
    """How a broker or a client reaches its peers."""

    async def listen(self, host: str, port: int, factory: ProtocolFactory) -> Listener:
        """Accept connections, each with a new protocol; raises OSError when the port is taken."""
        ...

    async def connect(
        self, host: str, port: int, factory: ProtocolFactory
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect, without a time limit of its own; raises OSError when nobody answers."""
        ...


class _AsyncioListener:
    """A Listener around asyncio's server."""

    def __init__(self, server: asyncio.AbstractServer, port: int) -> None:
        self._server = server
        self.port = port

    def close(self) -> None:
        self._server.close()

    async def wait_closed(self) -> None:
        await self._server.wait_closed()


class AsyncioNetwork:
    """TCP on the running loop. Both asyncio and uvloop switch TCP_NODELAY on by themselves."""

    async def listen(self, host: str, port: int, factory: ProtocolFactory) -> Listener:
        """Accept connections on one address; raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            factory,
            host or None,
            port,
            family=socket.AF_UNSPEC,
            backlog=LISTEN_BACKLOG,
            reuse_address=True,
        )
        return _AsyncioListener(server, server.sockets[0].getsockname()[1])

    async def connect(
        self, host: str, port: int, factory: ProtocolFactory
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to the first address of the host that answers; raises OSError."""
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(factory, host, port)
        return transport, protocol
