"""From a record's commit to the screen: real brokers, the real feed, the dashboard drawn without a terminal.

`python -m benchmarks.dashboard_commit [--kafka]`. Topics are created one after the other; for each the time from the
timestamp of its record in the metadata log (set when the controller appended it, so before it was committed) to the
painting that shows it is taken, and beside it how long the client waited for its answer.
"""

import argparse
import asyncio
import statistics
import time

from benchmarks.peers import ApacheKafka, Cluster, Logd
from clusters.admin import AdminClient, AdminError
from clusters.watch.events import EventKind
from tui.app import DashboardApp

ROUNDS = 30


async def run(cluster: Cluster) -> None:
    bootstrap = cluster.bootstrap.split(",")
    async with AdminClient(bootstrap) as admin:
        for _ in range(600):
            try:
                await admin.create_topic("first", 1, 3)
                break
            except AdminError:
                await asyncio.sleep(0.1)
        app = DashboardApp(bootstrap)
        async with app.run_test(size=(120, 40)):
            view = app.store.view
            while not view.rows_of("first"):
                await asyncio.sleep(0.02)
            await asyncio.sleep(1)
            screen, answers = [], []
            for number in range(ROUNDS):
                name = f"t{number:02}"
                started = time.perf_counter()
                asking = asyncio.create_task(admin.create_topic(name, 1, 3))
                while not view.rows_of(name):
                    await asyncio.sleep(0.001)
                painted = asyncio.Event()
                app.call_after_refresh(painted.set)
                await asyncio.wait_for(painted.wait(), 10)
                now_ms = time.time() * 1000
                at_ms = next(
                    event.at_ms
                    for event in view.events
                    if event.kind is EventKind.TOPIC_CREATED and event.topic == name
                )
                screen.append(now_ms - at_ms)
                await asking
                answers.append((time.perf_counter() - started) * 1000)
                await asyncio.sleep(0.2)
    for what, took in (("record to screen", screen), ("answer to the client", answers)):
        print(
            f"{cluster.kind}: {what}: median {statistics.median(took):.0f} ms, greatest {max(took):.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", action="store_true", help="Apache Kafka's brokers, too")
    for kind in (Logd, ApacheKafka) if parser.parse_args().kafka else (Logd,):
        with kind(3) as cluster:
            asyncio.run(run(cluster))


if __name__ == "__main__":
    main()
