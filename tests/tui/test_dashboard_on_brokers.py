"""The dashboard on real brokers, logd and Apache Kafka: what happens there is on the screen."""

import asyncio
import os
import shutil
import time

import pytest

from benchmarks.peers import ApacheKafka, Cluster, Logd, kafka_libs
from clusters.admin import AdminClient
from clusters.watch.events import EventKind
from tui.app import DashboardApp
from tui.table import LiveTable

START_S = 60
STEP_S = 0.05


def require(kind: type[Cluster]) -> None:
    if kind is not ApacheKafka or (shutil.which("java") and kafka_libs() is not None):
        return
    why = "Java and Apache Kafka's jars are not here"
    if os.environ.get("LOGCTL_REQUIRE_PEERS"):
        pytest.fail(f"{why}, and LOGCTL_REQUIRE_PEERS is set")
    pytest.skip(f"left out: {why}")


@pytest.fixture(params=[Logd, ApacheKafka], ids=lambda kind: kind.kind.replace(" ", "-").lower())
def brokers(request):
    require(request.param)
    with request.param(3) as cluster:
        yield cluster


async def until(pilot, condition, what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        await pilot.pause(STEP_S)
    raise AssertionError(f"not within {seconds} s: {what}")


def drawn(table: LiveTable) -> str:
    return "\n".join(table.render_line(y).text for y in range(table.size.height))


async def create(bootstrap: list[str]) -> None:
    """A topic of three replicas, once all brokers are there."""
    end = time.monotonic() + START_S
    async with AdminClient(bootstrap) as admin:
        while True:
            try:
                await admin.create_topic("orders", 3, 3)
                return
            except Exception:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)


@pytest.mark.timeout(180)
async def test_what_happens_is_on_the_screen(brokers) -> None:
    bootstrap = brokers.bootstrap.split(",")
    await create(bootstrap)
    app = DashboardApp(bootstrap)
    async with app.run_test(size=(140, 45)) as pilot:
        view = app.store.view
        await until(pilot, lambda: len(view.rows_of("orders")) == 3, "the topic", START_S)
        assert app.store.status.mode == "live"
        await until(pilot, lambda: all(len(r.isr) == 3 for r in view.rows_of("orders")), "in sync")
        assert len(app.table("brokers").shown) == 3

        victim = view.rows_of("orders")[0].leader
        touched = {r.key for r in view.rows_of("orders") if r.leader == victim}
        brokers.kill(victim)
        await until(
            pilot,
            lambda: all(
                r.leader not in (-1, victim) and victim not in r.isr for r in view.rows_of("orders")
            ),
            "leaders move, ISRs shrink",
        )
        moved = {(e.topic, e.partition) for e in view.events if e.kind is EventKind.LEADER_MOVED}
        assert touched <= moved
        await until(pilot, lambda: "✖" in drawn(app.table("brokers")), "the dead broker is drawn")
        assert "◐" in drawn(app.table("partitions"))

        brokers.start(victim)
        await until(
            pilot,
            lambda: all(len(r.isr) == 3 for r in view.rows_of("orders")),
            "it is back in sync",
            START_S,
        )
        await until(pilot, lambda: "✖" not in drawn(app.table("brokers")), "drawn whole again")
        expanded = [e for e in view.events if e.kind is EventKind.ISR_EXPANDED]
        assert {(e.topic, e.partition) for e in expanded} >= touched
