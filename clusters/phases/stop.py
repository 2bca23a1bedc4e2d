"""Stop brokers: ask first, insist after a limit. Only processes that we know to be ours."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable

from clusters.hosts.base import Connection
from clusters.manifest import BrokerRecord
from clusters.phases.base import Progress

POLL_S = 0.02
KILL_WAIT_S = 10.0


async def stop_brokers(
    records: Iterable[tuple[Connection, BrokerRecord]],
    *,
    report: Callable[[Progress], None],
    timeout_ms: int,
) -> list[int]:
    """SIGTERM to all, then SIGKILL to those left after `timeout_ms`. Returns the killed ids.

    When the wait is interrupted, whatever is left is killed before the interruption goes on.
    """
    left = [
        (connection, record)
        for connection, record in records
        if record.process is not None and connection.signal_now(record.process, signal.SIGTERM)
    ]
    killed: list[int] = []
    try:
        left = await _wait(left, report, timeout_ms / 1000)
    finally:
        for connection, record in left:
            if record.process is not None and connection.signal_now(record.process, signal.SIGKILL):
                killed.append(record.id)
    if killed:
        left = await _wait(left, report, KILL_WAIT_S)
        names = ", ".join(str(each) for each in killed)
        message = f"broker {names} did not stop in {timeout_ms / 1000:g} s and was killed"
        report(Progress(phase="stop", step="warning", message=message))
    return killed


async def kill_broker(connection: Connection, record: BrokerRecord) -> bool:
    """SIGKILL, and wait until the process is gone. False when it did not run."""
    if record.process is None or not connection.signal_now(record.process, signal.SIGKILL):
        return False
    await _wait([(connection, record)], lambda _: None, KILL_WAIT_S)
    return True


async def _wait(
    waiting: list[tuple[Connection, BrokerRecord]],
    report: Callable[[Progress], None],
    seconds: float,
) -> list[tuple[Connection, BrokerRecord]]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while waiting:
        left = []
        for connection, record in waiting:
            if record.process is not None and await connection.is_alive(record.process):
                left.append((connection, record))
            else:
                message = f"broker {record.id} stopped"
                report(Progress(phase="stop", step="done", message=message, broker_id=record.id))
        waiting[:] = left
        if not waiting or loop.time() >= deadline:
            break
        await asyncio.sleep(POLL_S)
    return waiting
