"""Leaves the dashboard in a storm for long: do keys stay quick, and does memory stay flat?

`python -m benchmarks.dashboard_soak [--minutes M] [--trace]`. 10,000 partitions in memory, a thousand events a second,
every page visited again and again, the window resized. Each minute one line: resident memory, blocks that
Python has allocated, what is kept, keys, the longest collection of garbage by generation. With `--trace` the places that allocated what is still there are listed at the end (slow).
"""

import argparse
import asyncio
import gc
import statistics
import sys
import time
import tracemalloc
from typing import Any

import psutil

from benchmarks.dashboard_storm import VISITS, Answers, Holds, Pressing, Storm, Teller
from tui.app import DashboardApp

SIZES = ((120, 40), (250, 70), (80, 24), (160, 50))
WARM_UP_SHARE = 0.2


class Collections:
    """How long Python's collections of garbage took, milliseconds of processor time, the longest by generation."""

    def __init__(self) -> None:
        self.longest_ms = [0.0, 0.0, 0.0]
        self.ever_ms = [0.0, 0.0, 0.0]
        self.numbers = [0, 0, 0]
        self.found = 0
        self._started_s = 0.0

    def note(self, phase: str, info: dict[str, Any]) -> None:
        """As `gc.callbacks` tell it."""
        if phase == "start":
            self._started_s = time.thread_time()
            return
        which, took = info["generation"], (time.thread_time() - self._started_s) * 1000
        self.longest_ms[which] = max(self.longest_ms[which], took)
        self.ever_ms[which] = max(self.ever_ms[which], took)
        self.numbers[which] += 1
        self.found += info["collected"]

    def told(self) -> str:
        """What was since this was last asked."""
        longest, self.longest_ms = self.longest_ms, [0.0, 0.0, 0.0]
        return f"garbage {self.found}, {'/'.join(f'{each:.0f}' for each in longest)} ms"


def kept(app: DashboardApp) -> dict[str, int]:
    """How many of each the dashboard holds on to."""
    store, view = app.store, app.store.view
    return {
        "events": len(view.events),
        "flashes": len(view.flashes),
        "trails": sum(map(len, view.trails.values())),
        "moves": len(view.moves_ms),
        "answers": len(store.answers),
        "samples": len(store.ends) + len(store.lags) + len(store.commits),
        "pages": len(app._pages),
        "widgets": len(list(app.query("*"))),
    }


async def soak(minutes: float) -> None:
    storm = Storm()
    process = psutil.Process()
    app = DashboardApp(["127.0.0.1:1"], feed=storm.cluster, kinds=storm.kinds(), commander=Teller())
    sizes: list[float] = []
    all_keys, collections = Answers(), Collections()
    gc.callbacks.append(collections.note)
    async with app.run_test(size=SIZES[0]) as pilot:
        await storm.cluster.tell(replaying=True)
        blowing = asyncio.create_task(storm.blow(minutes * 60))
        started = last = time.perf_counter()
        keys, visit, pressing = Answers(), 0, Pressing(app)
        with Holds() as holds:
            while not blowing.done():
                for key in VISITS[visit % len(VISITS)]:
                    await pressing.press(key, keys)
                    await asyncio.sleep(0.1)
                visit += 1
                if visit % len(VISITS) == 0:
                    await pilot.resize_terminal(*SIZES[visit // len(VISITS) % len(SIZES)])
                if time.perf_counter() - last >= min(60, minutes * 6):
                    last = time.perf_counter()
                    sizes.append(process.memory_info().rss / (1 << 20))
                    held = " ".join(f"{name} {number}" for name, number in kept(app).items())
                    print(
                        f"{(last - started) / 60:5.1f} min  {sizes[-1]:6.1f} MiB  {storm.sent} events  "
                        f"blocks {sys.getallocatedblocks()}  {collections.told()}  "
                        f"keys {statistics.median(keys.cpu_ms):.0f}, greatest {max(keys.cpu_ms):.0f} ms  {held}",
                        flush=True,
                    )
                    all_keys.cpu_ms += keys.cpu_ms
                    all_keys.wall_ms += keys.wall_ms
                    all_keys.keys += keys.keys
                    keys = Answers()
        await blowing
        gc.callbacks.remove(collections.note)
        gc.unfreeze()
        gc.collect()
        print(
            f"resident after all garbage was gone: {process.memory_info().rss / (1 << 20):.1f} MiB"
        )
        after = sizes[int(len(sizes) * WARM_UP_SHARE) :]
        print(f"events: {storm.sent}, {storm.sent / minutes / 60:.0f} a second")
        print(
            f"keys: {len(all_keys.keys)}; processor time {told(all_keys.cpu_ms)}; watch {told(all_keys.wall_ms)}"
        )
        print(f"most: {all_keys.worst(8)}")
        print(holds.told())
        print(
            f"collections by generation: {collections.numbers}, longest "
            f"{' / '.join(f'{each:.1f}' for each in collections.ever_ms)} ms; objects found: {collections.found}"
        )
        print(
            f"resident after warm-up: {after[0]:.1f} MiB, at the end {after[-1]:.1f}, greatest {max(after):.1f}"
        )
        print(f"slope: {slope(after):+.3f} MiB a minute")


def told(values: list[float]) -> str:
    """Median, 99th percentile and greatest, in milliseconds."""
    ordered = sorted(values)
    return f"median {statistics.median(values):.1f}, p99 {ordered[int(len(ordered) * 0.99)]:.1f}, greatest {ordered[-1]:.1f} ms"


def slope(sizes: list[float]) -> float:
    """MiB a minute, by least squares."""
    if len(sizes) < 2:
        return 0.0
    return statistics.linear_regression(range(len(sizes)), sizes).slope


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument(
        "--trace", action="store_true", help="list what allocated memory that is still held"
    )
    options = parser.parse_args()
    if options.trace:
        tracemalloc.start(8)
    asyncio.run(soak(options.minutes))
    if options.trace:
        for line in tracemalloc.take_snapshot().statistics("lineno")[:25]:
            print(line)


if __name__ == "__main__":
    main()
