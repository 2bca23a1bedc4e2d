"""How the dashboard feels: start, keys, changes, idling, and memory under a storm of events.

`python -m benchmarks.dashboard [--soak SECONDS]`. It uses a cluster in memory
with 10,000 partitions, drawn without a terminal; prints medians and greatest values. With `--soak` a thousand events
a second arrive for that long, and keys are pressed all the while.
"""

import argparse
import asyncio
import gc
import statistics
import sys
import time

import psutil

from benchmarks.dashboard_redraw import load_fake

PARTITIONS, TOPICS = 10_000, 100
EVENTS_PER_S = 1_000
KEYS = ("j", "j", "k", "pagedown", "G", "g", "4", "1", "3", "6", "2")


def told(what: str, values: list[float], unit: str = "ms") -> None:
    print(
        f"{what}: median {statistics.median(values):.1f} {unit}, greatest {max(values):.1f} {unit}",
        flush=True,
    )


async def answered(pilot, key: str) -> float:
    """Milliseconds from a key to the end of the painting that it causes, without the tests' own pauses."""
    app = pilot.app
    started = time.perf_counter()
    for name in [key]:
        from textual.events import Key

        app.post_message(Key(name, name if len(name) == 1 else None))
    done = asyncio.Event()
    # Behind the key in the queue of the application, then behind the next painting.
    app.call_later(app.call_after_refresh, done.set)
    await asyncio.wait_for(done.wait(), 10)
    return (time.perf_counter() - started) * 1000


async def run(soak_s: float) -> None:
    from tui.app import DashboardApp

    cluster = load_fake().FakeCluster()
    for topic in range(TOPICS):
        cluster.create_topic(f"t{topic:03}", PARTITIONS // TOPICS)
    started = time.perf_counter()
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds())
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        while len(app.table("partitions").shown) < PARTITIONS:
            await asyncio.sleep(0.005)
        told(
            f"start to all of {PARTITIONS} partitions drawn",
            [(time.perf_counter() - started) * 1000],
        )
        await measure_changes(app, pilot, cluster)
        for key in KEYS:
            await answered(pilot, key)
        told("key, quiet", [await answered(pilot, key) for key in KEYS * 5])
        cpu = psutil.Process().cpu_times()
        before = cpu.user + cpu.system
        await asyncio.sleep(10)
        cpu = psutil.Process().cpu_times()
        print(f"idle: {(cpu.user + cpu.system - before) * 10:.1f} % of a core")
        await storm(app, pilot, cluster, soak_s)


async def measure_changes(app, pilot, cluster) -> None:
    took = []
    await pilot.press("4")
    for number in range(30):
        cluster.change(f"t{number:03}", 5, isr=(1, 2))
        version = app.store.view.version
        started = time.perf_counter()
        await cluster.tell()
        while app.store.view.version == version:
            await asyncio.sleep(0.001)
        done = asyncio.Event()
        app.call_after_refresh(done.set)
        await asyncio.wait_for(done.wait(), 10)
        took.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(0.1)
    told("feed's update to screen", took)


async def storm(app, pilot, cluster, soak_s: float) -> None:
    """A thousand events a second; keys are pressed meanwhile."""
    sent, keys, sizes = 0, [], []
    process = psutil.Process()
    started = time.perf_counter()
    stop = started + soak_s

    async def send() -> None:
        nonlocal sent
        while time.perf_counter() < stop:
            due = int((time.perf_counter() - started) * EVENTS_PER_S)
            while sent < due:
                # A leader there and back again: two events for each record, both true.
                topic, partition = f"t{sent // 2 % TOPICS:03}", sent // 200 % 100
                state = cluster.projector.image.partition(topic, partition)
                leader = (
                    state.replicas[1] if state.leader == state.replicas[0] else state.replicas[0]
                )
                cluster.change(topic, partition, leader=leader)
                sent += 1
            await cluster.tell()
            await asyncio.sleep(0.02)

    sender = asyncio.create_task(send())
    number = 0
    while not sender.done():
        keys.append(await answered(pilot, KEYS[number % len(KEYS)]))
        number += 1
        sizes.append(process.memory_info().rss / (1 << 20))
        await asyncio.sleep(0.05)
    await sender
    gc.collect()
    told(f"key, with {sent / soak_s:.0f} events/s", keys)
    tenth = max(1, len(sizes) // 10)
    half = len(sizes) // 2
    middle, last = statistics.mean(sizes[half : half + tenth]), statistics.mean(sizes[-tenth:])
    print(
        f"memory: {middle:.0f} MiB after half of it, {last:.0f} MiB at the end; {len(app.store.view.events)} events kept"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--soak", type=float, default=20.0, help="seconds of a thousand events a second"
    )
    asyncio.run(run(parser.parse_args().soak))


if __name__ == "__main__":
    sys.exit(main())
