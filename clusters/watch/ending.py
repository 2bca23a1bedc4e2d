"""Waiting for tasks: for their end when they are not wanted any more, and for a limited time."""

from __future__ import annotations

import asyncio
from typing import Any

LOOKS = 4


async def end_task(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task and wait until it is over, whatever it ends with; None and ended ones pass.

    What the task ends with is for whoever awaits it; being cancelled oneself still counts.
    """
    if task is None:
        return
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        # Looked at, so that the loop does not call it forgotten.
        task.exception()


async def in_time(task: asyncio.Task[Any], limit_ms: int) -> bool:
    """Whether a task ends within a time; it goes on if not."""
    done, _ = await asyncio.wait({task}, timeout=max(0, limit_ms) / 1000)
    if not done:
        # What has come while the loop was busy, or the process stopped, has come in time.
        for _ in range(LOOKS):
            await asyncio.sleep(0)
    return task.done()
