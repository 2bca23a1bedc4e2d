"""How the dashboard feels: changes, keys, idling, and keys under a storm of events.

`python -m benchmarks.dashboard [--storm SECONDS] [--size 120x40]`. It uses a cluster in memory with 10,000 partitions,
drawn in a pseudo-terminal. Each time is told twice: by a watch, and in processor time, which other work does not stretch.
For the start see `benchmarks.dashboard_start`, for memory `benchmarks.dashboard_soak`.
"""

import argparse
import asyncio
import time

from benchmarks.dashboard_soak import told
from benchmarks.dashboard_storm import (
    EVENTS_PER_S,
    PARTITIONS,
    Answers,
    Holds,
    Pressing,
    Storm,
    in_terminal,
    say,
)
from tui.app import DashboardApp

KEYS = ("j", "j", "k", "pagedown", "G", "g", "4", "j", "G", "1", "3", "j", "6", "k", "2")
CHANGES = 30
IDLE_S = 20


async def run(storm_s: float, size: tuple[int, int]) -> None:
    storm = Storm()
    started, cpu = time.perf_counter(), time.process_time()
    app = DashboardApp(["127.0.0.1:1"], feed=storm.cluster, kinds=storm.kinds())
    async with in_terminal(app, size):
        pressing = Pressing(app)
        await storm.cluster.tell(replaying=True)
        while len(app.store.view.partitions) < PARTITIONS:
            await asyncio.sleep(0.002)
        await drawn(app)
        say(
            f"{PARTITIONS} partitions taken in and drawn: watch {since(started):.0f}, processor {spent(cpu):.0f} ms"
        )
        await measure_changes(app, storm)
        quiet = Answers()
        for key in KEYS:
            await pressing.press(key, Answers())
        for key in KEYS * 5:
            await pressing.press(key, quiet)
            await asyncio.sleep(0.02)
        show("key, quiet", quiet)
        await pressing.press("1", Answers())
        await asyncio.sleep(5)
        cpu = time.process_time()
        await asyncio.sleep(IDLE_S)
        say(f"idle on the overview: {spent(cpu) / IDLE_S / 10:.1f} % of a core")
        busy, cpu = Answers(), time.process_time()
        blowing = asyncio.create_task(storm.blow(storm_s))
        with Holds() as holds:
            while not blowing.done():
                for key in KEYS:
                    await pressing.press(key, busy)
                    await asyncio.sleep(0.05)
        say(
            f"events: {storm.sent / storm_s:.0f} of {EVENTS_PER_S} a second; {spent(cpu) / storm_s / 10:.0f} % of a core"
        )
        show("key, in the storm", busy)
        say(holds.told())


def since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def spent(before: float) -> float:
    return (time.process_time() - before) * 1000


def show(what: str, answers: Answers) -> None:
    say(
        f"{what}: watch {told(answers.wall_ms)}; processor {told(answers.cpu_ms)}; most: {answers.worst()}",
    )


async def drawn(app: DashboardApp) -> None:
    done = asyncio.Event()
    app.call_after_refresh(done.set)
    await asyncio.wait_for(done.wait(), 60)


async def measure_changes(app: DashboardApp, storm: Storm) -> None:
    """From the feed's update to the screen, one partition changed."""
    took = Answers()
    for _ in range(CHANGES):
        await asyncio.sleep(0.3)
        version = app.store.view.version
        storm.change()
        started, cpu = time.perf_counter(), time.process_time()
        await storm.cluster.tell()
        while app.store.view.version == version:
            await asyncio.sleep(0.001)
        await drawn(app)
        took.wall_ms.append(since(started))
        took.cpu_ms.append(spent(cpu))
        took.keys.append("change")
    show("feed's update to screen", took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--storm", type=float, default=20.0, help="seconds of a thousand events a second"
    )
    parser.add_argument("--size", default="120x40", help="of the window, columns x lines")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    asyncio.run(run(options.storm, (width, height)))


if __name__ == "__main__":
    main()
