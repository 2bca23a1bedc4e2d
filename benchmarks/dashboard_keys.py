"""Every kind of key on every page, in a storm: which of them takes longer than a person takes for at once?

`python -m benchmarks.dashboard_keys [--storm SECONDS | --changes N] [--size 120x40] [--over MS]`. 10,000 partitions in
memory, a thousand events a second, drawn in a pseudo-terminal. Each key is named with where it was pressed; those that
took longest are told one by one, by a watch and in processor time. With `--changes` that many events come and are drawn
before each key and none beside it, once through all: what the keys alone cost, to compare on a machine that others use.
"""

import argparse
import asyncio
import statistics
from collections.abc import Awaitable, Callable

from benchmarks.dashboard import drawn
from benchmarks.dashboard_soak import told
from benchmarks.dashboard_storm import (
    EVENTS_PER_S,
    PARTITIONS,
    Answers,
    Holds,
    Pressing,
    Storm,
    Teller,
    in_terminal,
    say,
)
from tui.app import DashboardApp

PAUSE_S = 0.05
DIALOGS = {
    "help": "HelpScreen",
    "palette": "Palette",
    "action": "ActionScreen",
    "record": "RecordScreen",
    "reading": "ReadScreen",
}
# Keys in the order in which they are pressed; `>dialog` after a key says which dialog it opens, `<` that it closes one.
WALK = (
    "1 j k pagedown G g tab j shift+tab s s S s s s s s s s s s",
    "1 slash t 0 0 enter j escape",
    "1 slash 7 backspace l e escape escape",
    "1 colon t o p i c space t 0 0 1 enter j G s S escape",
    "1 question_mark>help pagedown j escape<",
    "1 ctrl+p>palette t o p down backspace escape<",
    "1 C>action x tab escape<",
    "2 j enter j G escape s S",
    "3 j G g enter j pagedown v j space j k space G f>reading escape< G enter>record n x escape< escape escape",
    "3 s s s s s s s s s slash t 0 enter escape D>action escape<",
    "4 j pagedown ctrl+d ctrl+u G k g p j p u u o o m m a a s S s s s s s s s s s",
    "4 slash t 0 0 enter j escape",
    "4 slash i s r space equals_sign space 2 enter j escape",
    "4 question_mark>help escape< T T",
    "4 ctrl+p>palette e escape<",
    "5 j enter j escape s S slash g 1 enter escape",
    "6 G k pageup g l j l G i i b b t t s s s s s slash m o v enter j escape",
    "7 j s S 1 2 3 4 5 6 7",
)


async def run(storm_s: float, changes: int, size: tuple[int, int], over_ms: float) -> None:
    storm = Storm()
    app = DashboardApp(["127.0.0.1:1"], feed=storm.cluster, kinds=storm.kinds(), commander=Teller())
    async with in_terminal(app, size):
        pressing = Pressing(app)
        await storm.cluster.tell(replaying=True)
        while len(app.store.view.partitions) < PARTITIONS:
            await asyncio.sleep(0.002)
        # What is read ahead is read while nobody presses keys.
        while any(each.group == "ready" for each in app.workers):
            await asyncio.sleep(0.05)
        answers = Answers()
        if changes:
            for visit in WALK:
                await walk(pressing, visit, answers, lambda: settle(app, storm, changes))
            say(f"keys: {len(answers.keys)}; processor {told(answers.cpu_ms)}")
            tell_slow(answers, over_ms)
            return
        with Holds() as holds:
            blowing = asyncio.create_task(storm.blow(storm_s))
            while not blowing.done():
                for visit in WALK:
                    if not blowing.done():
                        await walk(pressing, visit, answers)
        say(f"events: {storm.sent / storm_s:.0f} of {EVENTS_PER_S} a second")
        say(
            f"keys: {len(answers.keys)}; watch {told(answers.wall_ms)}; processor {told(answers.cpu_ms)}"
        )
        say(holds.told())
        tell_slow(answers, over_ms)


async def settle(app: DashboardApp, storm: Storm, changes: int) -> None:
    """Have some events come, and wait until they are taken and drawn."""
    version = app.store.view.version
    for _ in range(changes):
        storm.change()
    await storm.cluster.tell()
    while app.store.view.version == version or app._paint_due:
        await asyncio.sleep(0.005)
    await drawn(app)


async def walk(
    pressing: Pressing,
    visit: str,
    into: Answers,
    before: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Press the keys of one line of WALK, after `before` each."""
    for step in visit.split():
        key, opens, dialog = step.partition(">")
        closes = key.endswith("<")
        key = key.removesuffix("<")
        screen = DIALOGS[dialog] if opens else "PageScreen" if closes else ""
        if before is not None:
            await before()
        await pressing.press(key, into, screen=screen)
        await asyncio.sleep(PAUSE_S)


def tell_slow(answers: Answers, over_ms: float) -> None:
    """The keys of which one took longer than `over_ms`, the slowest first."""
    by_key: dict[str, list[tuple[float, float]]] = {}
    for key, wall, cpu in zip(answers.keys, answers.wall_ms, answers.cpu_ms, strict=True):
        by_key.setdefault(key, []).append((wall, cpu))
    rows = []
    for key, took in by_key.items():
        walls, cpus = zip(*took, strict=True)
        rows.append((max(cpus), key, len(took), walls, cpus))
    for most, key, times, walls, cpus in sorted(rows, reverse=True):
        if most > over_ms or max(walls) > over_ms:
            say(
                f"  {key:28} {times:3} times; processor {statistics.median(cpus):5.1f}, at most {most:5.1f} ms; "
                f"watch {statistics.median(walls):5.1f}, at most {max(walls):5.1f} ms"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storm", type=float, default=40.0, help="seconds of events")
    parser.add_argument("--changes", type=int, default=0, help="events before each key, no storm")
    parser.add_argument("--size", default="120x40", help="of the window, columns x lines")
    parser.add_argument("--over", type=float, default=50.0, help="tell keys that took longer (ms)")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    asyncio.run(run(options.storm, options.changes, (width, height), options.over))


if __name__ == "__main__":
    main()
