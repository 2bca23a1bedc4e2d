"""Feeds a topic with this machine's real CPU, memory, disk and network counters.

Each record is JSON, its key the host's name. Never invents a number: what the system does not tell
is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

INTERVAL_S = 0.5
STOP_LIMIT_S = 2.0
REQUEST_TIMEOUT_MS = 15_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A record that the cluster acknowledged; `sent_s` and `at_s` are the loop's times of both."""

    partition: int
    offset: int
    value: bytes
    sent_s: float
    at_s: float


def sample() -> dict[str, Any]:
    """Return the counters of this machine now; byte counts grow since it was started."""
    import psutil

    memory = psutil.virtual_memory()
    data: dict[str, Any] = {
        "at_ms": time.time_ns() // 1_000_000,
        "cpu_percent": psutil.cpu_percent(interval=None),
        "memory_percent": memory.percent,
        "memory_used_bytes": memory.used,
    }
    with contextlib.suppress(OSError, AttributeError):
        data["load_1m"] = round(psutil.getloadavg()[0], 2)
    with contextlib.suppress(OSError, RuntimeError):
        if (disk := psutil.disk_io_counters()) is not None:
            data |= {"disk_read_bytes": disk.read_bytes, "disk_written_bytes": disk.write_bytes}
    with contextlib.suppress(OSError, RuntimeError):
        if (network := psutil.net_io_counters()) is not None:
            data |= {
                "network_received_bytes": network.bytes_recv,
                "network_sent_bytes": network.bytes_sent,
            }
    return data


class HostMetrics:
    """Writes a sample every half second until it is stopped; `sent` keeps what was acknowledged.

    Written with acks=all by an idempotent producer, so that what is in `sent` must never be lost.
    """

    def __init__(
        self,
        bootstrap: Sequence[str],
        topic: str,
        *,
        interval_s: float = INTERVAL_S,
        on_sent: Callable[[Sent], None] = lambda _: None,
    ) -> None:
        self._bootstrap = list(bootstrap)
        self._topic = topic
        self._interval_s = interval_s
        self._on_sent = on_sent
        self._producer: Any = None
        self._task: asyncio.Task[None] | None = None
        self.sent: list[Sent] = []
        self.problem: BaseException | None = None

    async def start(self) -> None:
        """Connect and begin. Raises the client's error when no broker answers."""
        from aiokafka import AIOKafkaProducer

        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id="logctl-host-metrics",
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        await self._producer.start()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, and wait a short while for what is still on its way."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._producer is not None:
            producer, self._producer = self._producer, None
            with contextlib.suppress(TimeoutError, Exception):
                async with asyncio.timeout(STOP_LIMIT_S):
                    await producer.stop()

    async def _run(self) -> None:
        key = socket.gethostname().encode()
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        while True:
            value = json.dumps(sample()).encode()
            done = partial(self._done, value, loop.time())
            try:
                future = await self._producer.send(self._topic, value=value, key=key)
            except Exception as error:  # noqa: BLE001 - kept for whoever waits for records
                self.problem = error
            else:
                future.add_done_callback(done)
            # A fixed rhythm; after a stall it goes on without a burst.
            next_at = max(next_at + self._interval_s, loop.time())
            await asyncio.sleep(next_at - loop.time())

    def _done(self, value: bytes, sent_s: float, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            return
        if (error := future.exception()) is not None:
            self.problem = error
            return
        metadata = future.result()
        sent = Sent(
            partition=metadata.partition,
            offset=metadata.offset,
            value=value,
            sent_s=sent_s,
            at_s=asyncio.get_running_loop().time(),
        )
        self.sent.append(sent)
        self._on_sent(sent)
