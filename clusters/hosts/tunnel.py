"""Reach brokers through SSH connections, where only a jump host leads to them.

A Network like any other: admin clients do not notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from broker.protocol.network import AsyncioNetwork, Listener, ProtocolFactory
from clusters.hosts.base import Connection
from clusters.hosts.ssh import SshConnection

_LOCALHOST = "127.0.0.1"


class TunnelNetwork:
    """Forwards each connection through the first of `ways` that has a tunnel."""

    def __init__(self) -> None:
        self.ways: Sequence[Connection] = ()
        self._listeners: dict[tuple[str, int], Any] = {}
        self._lock = asyncio.Lock()

    async def listen(self, host: str, port: int, factory: ProtocolFactory) -> Listener:
        """Listen on this machine."""
        return await AsyncioNetwork().listen(host, port, factory)

    async def connect(
        self, host: str, port: int, factory: ProtocolFactory
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to a port as the hosts see it. Raises OSError."""
        way = next((each for each in self.ways if isinstance(each, SshConnection)), None)
        if way is None:
            return await AsyncioNetwork().connect(host, port, factory)
        async with self._lock:
            if (host, port) not in self._listeners:
                self._listeners[host, port] = await way.tunnel.forward_local_port(
                    _LOCALHOST, 0, host, port
                )
        local_port = self._listeners[host, port].get_port()
        return await AsyncioNetwork().connect(_LOCALHOST, local_port, factory)

    def close(self) -> None:
        """End every forwarding."""
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
