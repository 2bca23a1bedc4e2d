"""Producer ids for idempotent producers, handed out from blocks that the controller allocates.

Ids are never given twice, across brokers and restarts: a block that is not used up when the broker
stops is lost on purpose.
"""

import asyncio
from collections.abc import Callable

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, ServerError
from broker.protocol.struct import Struct
from broker.runtime.forwarding import ControllerChannel


class ProducerIds:
    """The block in use and how to get the next one."""

    def __init__(
        self, *, node_id: int, broker_epoch: Callable[[], int], channel: ControllerChannel
    ) -> None:
        self._node_id = node_id
        self._broker_epoch = broker_epoch
        self._channel = channel
        self._lock = asyncio.Lock()
        # Invariant: the ids in [_next, _end) belong to this broker and were given to nobody.
        self._next = 0
        self._end = 0

    async def take(self, timeout_ms: int) -> int:
        """One fresh producer id; raises ServerError or RequestTimedOut when no block comes."""
        async with self._lock:
            if self._next >= self._end:
                await self._allocate(timeout_ms)
            taken = self._next
            self._next += 1
            return taken

    async def _allocate(self, timeout_ms: int) -> None:
        response = await self._channel.send(
            ApiKey.ALLOCATE_PRODUCER_IDS,
            Struct(broker_id=self._node_id, broker_epoch=self._broker_epoch()),
            timeout_ms,
        )
        if response.error_code != ErrorCode.none:
            raise ServerError(response.error_code, "no producer ids")
        assert response.producer_id_len > 0
        self._next = response.producer_id_start
        self._end = response.producer_id_start + response.producer_id_len
