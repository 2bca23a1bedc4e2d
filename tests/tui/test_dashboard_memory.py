"""The dashboard stays on a wall for weeks: what it has drawn and closed is let go of at once."""

import asyncio
import gc
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.dom import DOMNode
from textual.strip import Strip

from clusters.watch.events import EventKind
from tests.tui.piloting import until
from tui.app import DashboardApp
from tui.collecting import Collector
from tui.model import ClusterView, Flash
from tui.rings import _adjust, _crop_extend, _divide, free_lines

TEXTUAL = {"adjust_cell_length": _adjust, "crop_extend": _crop_extend, "divide": _divide}

WAIT_S = 60.0


@pytest.fixture(autouse=True)
def no_collecting() -> Iterator[None]:
    """Only counting references frees anything here."""
    gc.disable()
    yield
    gc.enable()


class Watched(Strip):
    """A line that a test can see go."""

    __slots__ = ("__weakref__",)


def strip() -> Strip:
    return Watched([Segment("ab", Style(bold=True)), Segment("cd")])


CUTS: dict[str, Any] = {
    "adjusted": lambda line, n: line.adjust_cell_length(n, Style(italic=True)),
    "cropped": lambda line, n: line.crop_extend(0, n, Style(italic=True)),
    "cropped on the left": lambda line, n: line.crop_extend(1, n, None),
    "divided": lambda line, n: line.divide([n]),
    "divided in two": lambda line, n: line.divide([2, n]),
    "divided too far": lambda line, n: line.divide([4, 4 + n]),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("cells", [3, 4, 5, 6])
def test_a_line_is_cut_as_textual_cuts_it_and_goes_with_its_last_reader(
    cut, cells, monkeypatch
) -> None:
    for name, textual in TEXTUAL.items():
        monkeypatch.setattr(Strip, name, textual)
    theirs = CUTS[cut](strip(), cells)
    free_lines()
    line = strip()
    for _ in range(2):
        assert CUTS[cut](line, cells) == theirs
    gone = weakref.ref(line)
    del line
    assert gone() is None


def test_a_trail_tells_each_kind_and_when(cluster_class) -> None:
    view, cluster = ClusterView(), cluster_class()
    cluster.create_topic("t0", 1)
    cluster.change("t0", 0, leader=2)
    view.update(cluster.projector.image, cluster.update().events, 7_000_000_123)
    cluster.change("t0", 0, isr=(2,))
    view.update(cluster.projector.image, cluster.update().events, 7_000_000_456)
    assert list(view.trail("t0", 0))[-2:] == [
        Flash(EventKind.LEADER_MOVED, 7_000_000_123),
        Flash(EventKind.ISR_SHRUNK, 7_000_000_456),
    ]
    assert not any(map(gc.is_tracked, _after_a_look(view.trails.values())))


def _after_a_look(trails: Any) -> list[Any]:
    # What holds nothing but numbers is left alone from the first collection on.
    gc.collect()
    return list(trails)


async def test_drawn_lines_and_rows_do_not_pile_up_while_pages_come_and_go(cluster_class) -> None:
    cluster = cluster_class()
    for number in range(4):
        cluster.create_topic(f"t{number}", 60)
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds())
    held: list[dict[str, int]] = []
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        async with asyncio.timeout(WAIT_S):
            while len(app.store.view.partitions) < 240:
                await pilot.pause(0.02)
        # The dashboard lets it run.
        gc.disable()
        for turn in range(4):
            for number in range(60):
                cluster.change("t0", number, leader=2 + turn % 2)
            await cluster.tell()
            for keys in ("3", "enter", "G", "escape", "question_mark", "escape", "4", "G"):
                await pilot.press(keys)
            await pilot.pause()
            held.append(alive())
    # What waits for a collection are pages without what they showed.
    assert held[3]["TopicPage"] > held[0]["TopicPage"]
    assert held[3]["Strip"] < held[1]["Strip"] * 1.2, held
    assert held[3]["PartitionRow"] < held[1]["PartitionRow"] * 1.5, held


async def test_moving_the_focus_leaves_nothing_to_be_collected(cluster_class) -> None:
    cluster = cluster_class()
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds())
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: not any(w.group == "ready" for w in app.workers), "all is read")
        await pilot.press("tab", "colon", "escape", "slash", "escape", "shift+tab")
        gc.collect()
        gc.disable()
        nodes: list[int] = []
        for _ in range(3):
            await pilot.press("tab", "colon", "escape", "slash", "escape", "shift+tab")
            await pilot.pause()
            nodes.append(sum(type(each) is DOMNode for each in gc.get_objects()))
        assert nodes[0] > 0
        assert nodes[2] == nodes[0]
        # What is drawn with those styles is drawn.
        table = app.page.focused_table()
        assert table.get_component_rich_style("live-table--cursor").bgcolor is not None


def alive() -> dict[str, int]:
    """How many lines and rows there are, in use or waiting for a collection."""
    counts = Counter(type(each).__name__ for each in gc.get_objects())
    return {name: counts[name] for name in ("Strip", "PartitionRow", "TopicPage")}


def test_many_partitions_in_a_storm_leave_little_to_be_gone_through(cluster_class) -> None:
    """A collection takes as long as what it goes through; a key must not wait for it."""
    view, cluster, partitions = ClusterView(events_max=500), cluster_class(), 500
    cluster.create_topic("t0", partitions)
    view.update(cluster.projector.image, cluster.update().events, 0)
    collector = Collector()
    try:
        assert collector.tick(0, 0, loaded=True)
        for turn in range(6):
            for number in range(partitions):
                cluster.change("t0", number, leader=2 + turn % 2)
            view.update(cluster.projector.image, cluster.update().events, 1 + 1_000 * turn)
            view.forget_old(1 + 1_000 * turn)
            gc.collect(1)
        assert sum(map(len, view.trails.values())) > 5 * partitions
        # A row, its state in the image, the change that still flashes; and the newest events.
        assert len(gc.get_objects()) < 4 * partitions + view.events_max, _most()
    finally:
        collector.end()


def _most() -> list[tuple[str, int]]:
    return Counter(type(each).__name__ for each in gc.get_objects()).most_common(9)
