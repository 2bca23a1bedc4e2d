"""Connections to brokers: opened when needed, shared, and replaced when they die.

Knows addresses and time limits, no meaning of any request. Every wait is bounded by a deadline of
the caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import (
    ConnectionFailed,
    DecodeError,
    EncodeError,
    RequestTimedOut,
    UnsupportedVersion,
    WireError,
)
from broker.protocol.lazy_dataclass import dataclass
from broker.protocol.struct import Struct
from clusters.admin.errors import (
    AccessRefused,
    AdminError,
    AuthenticationRefused,
    ClusterUnreachable,
    ControllerSilent,
)
from clusters.admin.opening import CLIENT_ID, Opener, split_address

ATTEMPT_MS_MIN = 250
ADDRESSES_MAX = 64

__all__ = ["CLIENT_ID", "Connections", "Deadline", "join_address", "split_address", "why"]

# Brokers pass these on to the controller, and answer nothing else on that connection until it has
# answered; Apache Kafka gives up one that hangs after half a minute.
PASSED_ON = frozenset({ApiKey.DESCRIBE_QUORUM, ApiKey.LIST_PARTITION_REASSIGNMENTS})
# What only a controller can answer, whichever broker is asked.
BY_THE_CONTROLLER = PASSED_ON | {
    ApiKey.CREATE_TOPICS,
    ApiKey.DELETE_TOPICS,
    ApiKey.CREATE_PARTITIONS,
    ApiKey.ALTER_CONFIGS,
    ApiKey.INCREMENTAL_ALTER_CONFIGS,
    ApiKey.ALTER_PARTITION_REASSIGNMENTS,
    ApiKey.ELECT_LEADERS,
    ApiKey.UPDATE_FEATURES,
    ApiKey.UNREGISTER_BROKER,
}

# These say that this broker cannot help us, and that another one may.
FAILOVER_ERRORS = (ConnectionFailed, RequestTimedOut, DecodeError)

NO_METADATA = (
    "it answers, but not as a broker (no METADATA): the port of a controller? "
    "Name the one that clients use"
)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point of the loop's time; everything within one call shares it."""

    at: float

    @classmethod
    def after(cls, timeout_ms: int) -> Deadline:
        """The deadline `timeout_ms` from now."""
        return cls(asyncio.get_running_loop().time() + timeout_ms / 1000)

    def left_ms(self) -> int:
        """Milliseconds left, at least 0."""
        return max(0, round((self.at - asyncio.get_running_loop().time()) * 1000))


def join_address(host: str, port: int) -> str:
    """`host:port`, with brackets around IPv6 addresses."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def why(error: BaseException) -> str:
    """The reason of a failed attempt, without the address that stands beside it."""
    if isinstance(error, ConnectionFailed):
        return str(error.reason)
    return str(error) or type(error).__name__


class Connections:
    """Open connections by address. `close` when done."""

    def __init__(self, bootstrap: Sequence[str], opener: Opener | None = None) -> None:
        self._bootstrap = list(dict.fromkeys(bootstrap))
        for address in self._bootstrap:
            split_address(address)
        self._opener = opener if opener is not None else Opener()
        # By address, and whether it is for what is passed on.
        self._open: dict[tuple[str, bool], BrokerConnection] = {}
        self._opening: dict[tuple[str, bool], asyncio.Lock] = {}
        self._known: list[str] = []
        self._answered: set[str] = set()
        self._last_good: str | None = None
        # Whether what is passed on goes over connections of its own.
        self.apart = False

    def learn(self, addresses: Iterable[str]) -> None:
        """Remember brokers' addresses, to fail over to them."""
        self._known = list(dict.fromkeys(addresses))[:ADDRESSES_MAX]

    @property
    def candidates(self) -> list[str]:
        """Addresses in the order of trying: the last good one, bootstrap, then the others."""
        first = [self._last_good] if self._last_good is not None else []
        return list(dict.fromkeys([*first, *self._bootstrap, *self._known]))[:ADDRESSES_MAX]

    @property
    def last_good(self) -> str | None:
        """The address that answered last."""
        return self._last_good

    async def close(self) -> None:
        """Close every connection."""
        connections = list(self._open.values())
        self._open.clear()
        for connection in connections:
            connection.close()
        if connections:
            await asyncio.wait(
                [asyncio.ensure_future(each.wait_closed()) for each in connections], timeout=1
            )

    async def at(
        self, address: str, timeout_ms: int, *, passed_on: bool = False
    ) -> BrokerConnection:
        """The connection to an address, opened when needed. Raises WireError."""
        deadline = Deadline.after(timeout_ms)
        key = (address, passed_on)
        lock = self._opening.setdefault(key, asyncio.Lock())
        async with lock:
            connection = self._open.get(key)
            if connection is not None and not connection.closed:
                return connection
            # Who waited for another to open it in vain has that much less time left.
            if deadline.left_ms() <= 0:
                raise ConnectionFailed(address, f"no answer within {timeout_ms} ms")
            connection = await self._opener.open(address, deadline.left_ms())
            self._open[key] = connection
            return connection

    async def request_at(
        self,
        address: str,
        api_key: ApiKey,
        body: Struct,
        *,
        timeout_ms: int,
        max_version: int | None = None,
    ) -> Struct:
        """Ask one broker. Raises WireError; never waits longer than `timeout_ms`."""
        deadline = Deadline.after(timeout_ms)
        passed_on = self.apart and api_key in PASSED_ON
        connection = await self.at(address, timeout_ms, passed_on=passed_on)
        try:
            answer = await connection.request(
                api_key, body, timeout_ms=max(1, deadline.left_ms()), max_version=max_version
            )
        except RequestTimedOut:
            # Later answers on this connection would wait behind the one that hangs.
            connection.close()
            raise
        except asyncio.CancelledError:
            if passed_on:
                connection.close()  # the next question would wait behind this one
            raise
        except ConnectionFailed as error:
            if address in self._answered:
                raise
            raise self._opener.hint(error) from None
        self._last_good = address
        self._answered.add(address)
        return answer

    async def request_any(
        self,
        api_key: ApiKey,
        body: Struct,
        *,
        deadline: Deadline,
        max_version: int | None = None,
    ) -> Struct:
        """Ask any broker, failing over from one to the next.

        Raises ClusterUnreachable with every address and its reason before the deadline, or
        UnsupportedVersion when a broker answers but does not know the request.
        """
        attempts: list[tuple[str, str]] = []
        passed_on = False
        candidates = self.candidates
        for index, address in enumerate(candidates):
            left_ms = deadline.left_ms()
            if left_ms <= 0 and attempts:
                attempts.append((address, "not tried, the time was up"))
                continue
            # Each one left gets an equal share, so that a silent host does not eat all the time.
            share_ms = max(ATTEMPT_MS_MIN, left_ms // (len(candidates) - index))
            try:
                return await self.request_at(
                    address,
                    api_key,
                    body,
                    timeout_ms=max(1, min(share_ms, left_ms)),
                    max_version=max_version,
                )
            except UnsupportedVersion:
                if api_key != ApiKey.METADATA:
                    raise
                # Brokers all serve it; another address may be one of them.
                attempts.append((address, NO_METADATA))
            except EncodeError as error:
                # No broker was asked: what is wanted cannot be written down.
                raise AdminError(f"This cannot be asked of a broker: {error}") from None
            except AuthenticationRefused as error:
                # The others would say the same, and count it against the user.
                raise AccessRefused([*attempts, (address, why(error))]) from None
            except FAILOVER_ERRORS as error:
                attempts.append((address, why(error)))
                # The broker itself had answered, to the handshake.
                late = isinstance(error, RequestTimedOut) and api_key.name in str(error)
                passed_on = passed_on or (late and api_key in BY_THE_CONTROLLER)
            except WireError as error:
                attempts.append((address, why(error)))
        raise (ControllerSilent if passed_on else ClusterUnreachable)(attempts)
