"""What is to be drawn in a moment is drawn, even if the machine does nothing for that moment."""

import asyncio
import time

import pytest
from textual import timer

from tui.app import DashboardApp

WAIT_S = 60.0


@pytest.fixture
def slow_clock(monkeypatch) -> None:
    """Each look at the clock takes 20 ms, as on a machine that has no time for this process."""
    looks = 0

    def late() -> float:
        nonlocal looks
        looks += 1
        return time.monotonic() + looks * 0.02

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
