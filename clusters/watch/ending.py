"""The end of a task that its owner no longer wants. Must never end before the task has."""

from __future__ import annotations

import asyncio
from typing import Any


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
