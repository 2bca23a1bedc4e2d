"""Connections to the other voters: two lanes each, opened when needed.

A broker handles the requests of one connection one after the other, and a fetch waits at the
leader; votes therefore travel on a lane of their own. Must never retry: the core decides when.
"""

import asyncio
from collections.abc import Mapping
from enum import Enum

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ConnectionFailed, RequestTimedOut
from broker.protocol.network import Network
from broker.protocol.struct import Struct

CONNECT_TIMEOUT_MS_MAX = 1000


class Lane(Enum):
    """What a connection is for."""

    FETCH = "fetch"
    CONTROL = "control"


LANES = {ApiKey.FETCH: Lane.FETCH, ApiKey.FETCH_SNAPSHOT: Lane.FETCH}


class PeerRefused(ConnectionFailed):
    """Nobody listens at the peer's address."""


class _Line:
    """One lane to one peer."""

    def __init__(self) -> None:
        self.connection: BrokerConnection | None = None
        self.opening = asyncio.Lock()


class PeerConnections:
    """Requests to voters by their id."""

    def __init__(
        self, network: Network, voters: Mapping[int, tuple[str, int]], client_id: str
    ) -> None:
        self._network = network
        self._voters = voters
        self._client_id = client_id
        self._lines: dict[tuple[int, Lane], _Line] = {}

    async def request(
        self, peer: int, api_key: ApiKey, version: int, body: Struct, timeout_ms: int
    ) -> Struct:
        """The peer's answer.

        Raises PeerRefused, ConnectionFailed, RequestTimedOut and whatever the codec raises.
        """
        line = self._lines.setdefault((peer, LANES.get(api_key, Lane.CONTROL)), _Line())
        connection = await self._open(peer, line, timeout_ms)
        try:
            return await connection.request(api_key, body, version=version, timeout_ms=timeout_ms)
        except RequestTimedOut:
            # The peer may hang, or its machine be gone: the next request tries a new connection.
            self._drop(line, connection)
            raise

    async def _open(self, peer: int, line: _Line, timeout_ms: int) -> BrokerConnection:
        async with line.opening:
            if line.connection is not None and not line.connection.closed:
                return line.connection
            host, port = self._voters[peer]
            try:
                line.connection = await BrokerConnection.open(
                    self._network,
                    host,
                    port,
                    client_id=self._client_id,
                    timeout_ms=min(timeout_ms, CONNECT_TIMEOUT_MS_MAX),
                    negotiate=False,
                )
            except ConnectionFailed as error:
                if error.refused:
                    raise PeerRefused(error.address, error.reason) from error
                raise
            return line.connection

    def _drop(self, line: _Line, connection: BrokerConnection) -> None:
        if line.connection is connection:
            line.connection = None
        connection.close()

    def close(self) -> None:
        """Close every connection; requests under way fail."""
        for line in self._lines.values():
            if line.connection is not None:
                line.connection.close()
                line.connection = None
