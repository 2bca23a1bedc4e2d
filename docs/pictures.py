"""Takes the pictures of the documents: `python docs/pictures.py` writes docs/dashboard*.svg.

Three real brokers in a folder of their own, records, groups that read them, and a broker that is
killed: nothing in a picture is made up. It takes two minutes, needs what `make test` installs,
and leaves nothing behind but the pictures: look at them before you commit them.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from clusters.admin import AdminClient  # noqa: E402
from clusters.throwaway import ThrowAwayCluster  # noqa: E402
from shell.commander import ProcessCommander  # noqa: E402
from tui.app import DashboardApp  # noqa: E402
from tui.pages import Place  # noqa: E402

SIZE = (160, 44)
NAME = "shop"
TOPICS = {"orders": 6, "payments": 6, "signups": 3}
PER_TENTH = {"orders": 40, "payments": 16, "signups": 3}
# (group, topics, records that it reads in a second; 0 for as many as there are)
READERS = (
    ("billing", ("orders",), 0),
    ("mailer", ("signups", "payments"), 0),
    ("report", ("orders",), 250),
)
PLOTS_S, PAGE_S, SEEN_S = 60, 30, 3
# Until what was lit has gone out, and trails still tell.
FADED_S = 5
LIMIT_S = 90
VICTIM = 2


async def write(bootstrap: str) -> None:
    """Records for ever, now more and now less."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        number = 0
        while True:
            busy = 1 + 0.6 * random.Random(int(time.monotonic() / 4)).random()
            for topic, many in PER_TENTH.items():
                for _ in range(int(many * busy)):
                    number += 1
                    await producer.send(topic, key=b"%d" % (number % 97), value=b'{"total": 12}')
            await asyncio.sleep(0.1)


async def read(bootstrap: str, group: str, topics: tuple[str, ...], per_second: int) -> None:
    """Records as a member of a group, for ever."""
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap,
        group_id=group,
        client_id=f"{group}-app",
        auto_offset_reset="earliest",
        auto_commit_interval_ms=1_000,
    )
    async with consumer:
        async for _ in consumer:
            if per_second:
                await asyncio.sleep(1 / per_second)


@contextlib.asynccontextmanager
async def busy_cluster() -> AsyncIterator[ThrowAwayCluster]:
    """Brokers, topics, a writer and readers; all of it ends with the block."""
    cluster = ThrowAwayCluster(str(ROOT / "clusters" / "local.yaml"), own_ports=True)
    cluster.prepare()
    tasks: list[asyncio.Task[None]] = []
    try:
        await cluster.up()
        async with AdminClient(cluster.bootstrap) as admin:
            for name, partitions in TOPICS.items():
                await admin.create_topic(name, partitions, 3)
        servers = ",".join(cluster.bootstrap)
        tasks.append(asyncio.create_task(write(servers)))
        tasks += [asyncio.create_task(read(servers, *each)) for each in READERS]
        yield cluster
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await cluster.close()


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait until something holds. Raises TimeoutError."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {LIMIT_S} s: {what}")
        await asyncio.sleep(0.05)


def take(app: DashboardApp, name: str) -> None:
    """The screen as a picture."""
    path = ROOT / "docs" / f"{name}.svg"
    picture = app.export_screenshot(title="logctl dash")
    path.write_text("\n".join(line.rstrip() for line in picture.splitlines()) + "\n")
    sys.stdout.write(f"{path.relative_to(ROOT)}: look at it\n")


async def main() -> None:
    """All pictures, in the order of a story."""
    async with busy_cluster() as cluster:
        commander = ProcessCommander(["--bootstrap", ",".join(cluster.bootstrap)], deploys=True)
        app = DashboardApp(cluster.bootstrap, name=NAME, commander=commander)
        async with app.run_test(size=SIZE):
            view = app.store.view
            await until(lambda: view.rows_of("signups"), "the topics")
            await asyncio.sleep(PLOTS_S)
            app.open_place(Place("group", "report"))
            await asyncio.sleep(PAGE_S)
            app.action_next_theme()
            await asyncio.sleep(SEEN_S)
            take(app, "dashboard-group")
            app.action_next_theme()
            app.open_place(Place("overview"))
            app.action_mark()
            await asyncio.sleep(SEEN_S)
            app.clear_notifications()
            await cluster.kill(VICTIM)
            down = lambda: [row.state for row in view.brokers if row.id == VICTIM]  # noqa: E731
            await until(lambda: down() == ["fenced"], "the controller notices")
            await until(lambda: view.health().under_replicated > len(TOPICS), "what it is about")
            await asyncio.sleep(FADED_S)
            take(app, "dashboard")
            app.open_place(Place("topic", "orders"))
            await asyncio.sleep(2 * SEEN_S)
            take(app, "dashboard-topic")
            app.open_place(Place("changes"))
            await asyncio.sleep(SEEN_S)
            take(app, "dashboard-changes")


if __name__ == "__main__":
    asyncio.run(main())
