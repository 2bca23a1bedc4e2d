"""Blocking work in threads: what the quorum waits for never waits for the rest."""

import asyncio
import threading

from broker.runtime.doors import ThreadOffload


async def test_urgent_work_does_not_wait_for_a_thousand_other_jobs() -> None:
    offload = ThreadOffload()
    gate = threading.Event()
    jobs = [asyncio.ensure_future(offload.run(gate.wait)) for _ in range(1_000)]
    try:
        async with asyncio.timeout(60):
            assert await offload.run(lambda: "synced", urgent=True) == "synced"
        assert not any(job.done() for job in jobs)
    finally:
        gate.set()
        await asyncio.gather(*jobs)
