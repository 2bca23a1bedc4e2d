"""Sends controller requests to the active controller, wherever it is.

Knows the active controller as the quorum's leader; when it moves, is unknown or does not answer,
the request is sent again until its time is over. Never decides, never changes a request.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import (
    ConnectionFailed,
    ErrorCode,
    RequestTimedOut,
    UnsupportedVersion,
)
from broker.protocol.struct import Struct
from broker.runtime.doors import Clock, Network

logger = logging.getLogger("logd.forwarding")

RETRY_MS_FIRST = 20
RETRY_MS_MAX = 250
LEADER_CHECK_MS = 200

LocalHandler = Callable[[ApiKey, int, Struct], Awaitable[Struct]]


class LeaderSource(Protocol):
    """Says which node leads the quorum; `MetadataQuorum` does."""

    @property
    def leader(self) -> Any:
        """LeaderAndEpoch."""
        ...


def says_not_controller(response: Struct) -> bool:
    """Whether a response refuses because its sender is not the active controller.

    Looks at the top-level code and at the codes of the response's items, where the API has no
    top-level one.
    """
    code = response.get("error_code")
    if code is not None:
        return bool(code == ErrorCode.not_controller)
    for value in vars(response).values():
        if isinstance(value, list) and value and isinstance(value[0], Struct):
            return any(item.get("error_code") == ErrorCode.not_controller for item in value)
    return False


class ControllerChannel:
    """One connection to the active controller, re-opened whenever it moves.

    `local` handles the request when this very node leads. `latest` is the newest version of an
    API that this side speaks, used for local calls. `on_lost` is called when the connection breaks
    without our doing.
    """

    def __init__(
        self,
        *,
        node_id: int,
        quorum: LeaderSource,
        voters: Mapping[int, tuple[str, int]],
        network: Network,
        clock: Clock,
        local: LocalHandler | None,
        latest: Callable[[ApiKey], int],
        purpose: str,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self._node_id = node_id
        self._quorum = quorum
        self._voters = voters
        self._network = network
        self._clock = clock
        self._local = local
        self._latest = latest
        self._purpose = purpose
        self._on_lost = on_lost
        self._watching: asyncio.Task[None] | None = None
        self._connection: BrokerConnection | None = None
        self._connected_to = -1
        self._opening = asyncio.Lock()
        self._closed = False

    @property
    def leader_id(self) -> int:
        """The node believed to be the active controller, -1 when unknown."""
        return int(self._quorum.leader.leader_id)

    async def close(self) -> None:
        """Close the connection; calls under way fail."""
        self._closed = True
        self._drop()
        if self._watching is not None:
            self._watching.cancel()

    async def send(self, api_key: ApiKey, request: Struct, timeout_ms: int) -> Struct:
        """Ask the active controller, again and again until it answers or time is over.

        Raises RequestTimedOut, UnsupportedVersion.
        """
        deadline = self._clock.monotonic_ms() + timeout_ms
        pause_ms = RETRY_MS_FIRST
        reason = "no active controller is known"
        while not self._closed:
            remaining = deadline - self._clock.monotonic_ms()
            if remaining <= 0:
                break
            try:
                response = await self._attempt(api_key, request, remaining)
            except ConnectionFailed as error:
                reason = str(error)
            else:
                if response is not None and not says_not_controller(response):
                    return response
                if response is not None:
                    reason = "the controller moved"
            remaining = deadline - self._clock.monotonic_ms()
            await asyncio.sleep(max(0, min(pause_ms, remaining)) / 1000)
            pause_ms = min(pause_ms * 2, RETRY_MS_MAX)
        raise RequestTimedOut(
            f"{api_key.name}: the active controller did not answer in {timeout_ms} ms ({reason})"
        )

    async def _attempt(self, api_key: ApiKey, request: Struct, timeout_ms: int) -> Struct | None:
        """Ask once, but leave a controller that is no longer the active one: it may be frozen."""
        asked = self.leader_id
        task = asyncio.ensure_future(self.try_once(api_key, request, timeout_ms))
        try:
            while True:
                await asyncio.wait({task}, timeout=LEADER_CHECK_MS / 1000)
                if task.done():
                    return task.result()
                if self.leader_id not in (asked, -1):
                    self._drop()
                    return None
        finally:
            task.cancel()

    async def try_once(self, api_key: ApiKey, request: Struct, timeout_ms: int) -> Struct | None:
        """Ask once; None when nobody is known to lead.

        Raises ConnectionFailed, RequestTimedOut, UnsupportedVersion.
        """
        leader_id = self.leader_id
        if leader_id < 0:
            return None
        if leader_id == self._node_id:
            if self._local is None:
                return None
            return await self._local(api_key, self._latest(api_key), request)
        connection = await self._connected(leader_id, timeout_ms)
        try:
            return await connection.request(api_key, request, version=None, timeout_ms=timeout_ms)
        except (ConnectionFailed, RequestTimedOut, UnsupportedVersion):
            self._drop(connection)
            raise

    async def _connected(self, leader_id: int, timeout_ms: int) -> BrokerConnection:
        async with self._opening:
            current = self._connection
            if current is not None and not current.closed and self._connected_to == leader_id:
                return current
            self._drop()
            address = self._voters.get(leader_id)
            if address is None:
                raise ConnectionFailed(f"node {leader_id}", "its controller address is not known")
            self._connection = await BrokerConnection.open(
                self._network,
                address[0],
                address[1],
                client_id=f"{self._purpose}-{self._node_id}",
                timeout_ms=min(timeout_ms, 2000),
            )
            self._connected_to = leader_id
            if self._on_lost is not None:
                watch = self._watch(self._connection, self._on_lost)
                self._watching = asyncio.get_running_loop().create_task(watch)
            return self._connection

    async def _watch(self, connection: BrokerConnection, on_lost: Callable[[], None]) -> None:
        await connection.wait_closed()
        if connection is self._connection:
            on_lost()

    def _drop(self, only: BrokerConnection | None = None) -> None:
        connection = self._connection
        if connection is not None and only in (None, connection):
            self._connection = None
            self._connected_to = -1
            connection.close()
