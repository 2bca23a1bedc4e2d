"""What is to be drawn in a moment is drawn, even if the machine does nothing for that moment."""

import asyncio
import time
from weakref import WeakSet

import pytest
from textual import timer

from tui.app import DashboardApp

WAIT_S = 60.0


@pytest.fixture
def slow_clock(monkeypatch) -> None:
    """20 ms go by between a timer's first look at the clock and its next, as on a busy machine.

    Not between all of them: a timer that repeats every 8 ms would never get to wait.
    """
    begun: WeakSet[asyncio.Task[object]] = WeakSet()

    def late() -> float:
        task = asyncio.current_task()
        if task is None or task in begun:
            return time.monotonic() + 0.02
        begun.add(task)
        return time.monotonic()

    monkeypatch.setattr(timer._time, "get_time", late)


@pytest.mark.usefixtures("slow_clock")
async def test_changes_are_drawn_on_a_machine_that_is_late_for_everything(cluster_class) -> None:
    cluster = cluster_class()
    cluster.create_topic("t0", 1)
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds())
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        for leader in (2, 3, 1):
            cluster.change("t0", 0, leader=leader)
            await cluster.tell()
            async with asyncio.timeout(WAIT_S):
                while not app.store.view.partitions or (
                    app.store.view.partitions[0].leader != leader
                ):
                    await pilot.pause(0.02)
