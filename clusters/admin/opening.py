"""Connections as they must be before anybody uses them: proven, of the right cluster, and renewed.

Credentials that are not taken are read again where they come from (`clusters.admin.credentials`).
The one way in which the admin client, the polls and the live feed reach brokers and controllers.
Must never hand out a connection that was not proven, nor one to another cluster than the pinned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import HUNG_UP, BrokerConnection
from broker.protocol.errors import ConnectionFailed
from broker.protocol.network import AsyncioNetwork, Network
from broker.protocol.struct import Struct
from clusters.admin.credentials import Credentials, Renewal
from clusters.admin.errors import AdminError, AuthenticationRefused, WrongCluster

if TYPE_CHECKING:
    from clusters.admin.security import Security

CLIENT_ID = "logctl"
# A session is renewed when this share of it is over, so that no request meets its end.
RENEW_AFTER = 0.8
# Brokers take a handshake within a second of the last one for a mistake.
RENEW_S_MIN = 1.1
# TLS and SASL take several exchanges more than a plain connection.
SECURED_TIMES = 4
_PROVING = frozenset({int(ApiKey.SASL_HANDSHAKE), int(ApiKey.SASL_AUTHENTICATE)})

Prove = Callable[[BrokerConnection, int], Awaitable[int]]


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of `host:port` or `[v6]:port`. Raises AdminError with the way to write it."""
    host, separator, port = address.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isascii() or not port.isdigit():
        raise AdminError(f'"{address}" is no address of a broker; write it like 127.0.0.1:9092')
    if not 1 <= int(port) <= 65535:
        raise AdminError(f'"{address}": the port must be between 1 and 65535')
    return host, int(port)


class ProvenConnection(BrokerConnection):
    """Proves who we are again before its session ends (KIP-368); requests wait meanwhile."""

    def __init__(self, host: str, port: int, client_id: str | None = None) -> None:
        super().__init__(host, port, client_id)
        self._prove: Prove | None = None
        self._renew_at: float | None = None
        self.session_ms = 0
        self._proving = asyncio.Lock()

    async def prove(self, how: Prove, timeout_ms: int) -> None:
        """Prove who we are, and again when the broker wants it. Raises WireError, then closed."""
        self._prove = how
        try:
            lifetime_ms = await how(self, timeout_ms)
        except BaseException:
            # Half of an exchange cannot be gone on with.
            self.close()
            raise
        self._renew_at = None
        self.session_ms = lifetime_ms
        if lifetime_ms > 0:
            pause_s = max(RENEW_S_MIN, lifetime_ms / 1000 * RENEW_AFTER)
            self._renew_at = asyncio.get_running_loop().time() + pause_s

    async def _send(
        self,
        api_key: int,
        version: int,
        body: Struct | dict[str, Any],
        decode: Any,
        timeout_ms: int,
        no_reply: bool = False,
    ) -> Struct:
        if self._renew_at is not None and int(api_key) not in _PROVING:
            clock = asyncio.get_running_loop().time
            start = clock()
            # Nothing may go out between the parts of an exchange, so all wait for its end.
            async with self._proving:
                if clock() >= self._renew_at and self._prove is not None and not self.closed:
                    await self.prove(self._prove, timeout_ms)
            timeout_ms = max(1, timeout_ms - round((clock() - start) * 1000))
        return await super()._send(api_key, version, body, decode, timeout_ms, no_reply)


class Opener:
    """Opens connections with what a context says of security and of the pinned cluster."""

    def __init__(
        self,
        network: Network | None = None,
        security: Security | None = None,
        cluster_id: str | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        """A `network` that is given stays; otherwise it is the one of the credentials in use."""
        self._network = network
        self.credentials = Credentials(security, renewal)
        self.cluster_id = cluster_id
        # How long the brokers let the last session last; 0: without end.
        self.session_ms = 0

    @property
    def principal(self) -> str | None:
        """Who the brokers take us for, or None when only they know."""
        security = self.credentials.security
        if security is None:
            return "User:ANONYMOUS"
        # By its certificate a client cannot tell what name the brokers give it.
        return None if security.mechanism is None else f"User:{security.username}"

    def within_ms(self, plain_ms: int) -> int:
        """How long opening may take, where a plain connection may take `plain_ms`."""
        return plain_ms if self.credentials.security is None else plain_ms * SECURED_TIMES

    async def open(
        self, address: str, timeout_ms: int, *, controller: bool = False
    ) -> BrokerConnection:
        """Connect, prove who we are, and see that it is the pinned cluster.

        Raises WireError, or WrongCluster. `controller`: not asked for its cluster; what is asked of
        it must carry the pinned id.
        """
        host, port = split_address(address)
        security = await self.credentials.current(address)
        # From here on: that a source is slow must not look like a broker that is.
        end = asyncio.get_running_loop().time() + max(1, timeout_ms) / 1000
        try:
            connection = await self._open(host, port, security, end)
        except Exception as error:
            self.credentials.failed(security, error)
            raise
        self.credentials.taken(security)
        self.session_ms = getattr(connection, "session_ms", 0)
        try:
            if self.cluster_id is not None and not controller:
                await self._check_cluster(connection, _left_ms(end))
        except BaseException:
            connection.close()
            raise
        return connection

    async def _open(
        self, host: str, port: int, security: Security | None, end: float
    ) -> BrokerConnection:
        """Connect and prove who we are until a time of the loop."""
        network = self._network
        if network is None:
            network = AsyncioNetwork() if security is None else security.network()
        kind = BrokerConnection if security is None else ProvenConnection
        connection = await kind.open(
            network, host, port, client_id=CLIENT_ID, timeout_ms=_left_ms(end)
        )
        if security is not None and security.mechanism is not None:
            prove = partial(self._prove, security)
            await cast("ProvenConnection", connection).prove(prove, _left_ms(end))
        return connection

    async def _prove(self, security: Security, connection: BrokerConnection, limit_ms: int) -> int:
        from clusters.admin.security import authenticate

        try:
            return await authenticate(connection, security, limit_ms)
        except AuthenticationRefused as error:
            # Also in the middle of a session, which has to be proven anew now and then.
            self.credentials.failed(security, error)
            raise

    def hint(self, error: ConnectionFailed) -> ConnectionFailed:
        """The error of a first request, with what it may mean: brokers that want SASL say nothing.

        They tell their versions to anybody and hang up when asked for more.
        """
        security = self.credentials.security
        if (security is not None and security.mechanism) or error.reason != HUNG_UP:
            return error
        self.credentials.failed(security, error)
        wanted = "SASL_PLAINTEXT" if security is None else "SASL_SSL"
        reason = f"{HUNG_UP} when first asked; does it want SASL (security.protocol {wanted})?"
        return ConnectionFailed(error.address, reason)

    async def _check_cluster(self, connection: BrokerConnection, timeout_ms: int) -> None:
        body = Struct(topics=[], allow_auto_topic_creation=False)
        answer = await connection.request(ApiKey.METADATA, body, timeout_ms=timeout_ms)
        found = answer.get("cluster_id")
        if found and found != self.cluster_id:
            raise WrongCluster(str(self.cluster_id), str(found), connection.address)


def _left_ms(end: float) -> int:
    return max(1, round((end - asyncio.get_running_loop().time()) * 1000))
