"""The dashboard stays on a wall for weeks: what it has drawn and closed is let go of at once."""

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from clusters.watch.events import EventKind
from tui.model import ClusterView, Flash
from tui.strips import _adjust, _crop_extend, _divide, free_lines

TEXTUAL = {"adjust_cell_length": _adjust, "crop_extend": _crop_extend, "divide": _divide}


@pytest.fixture(autouse=True)
def no_collecting() -> Iterator[None]:
    """Only counting references frees anything here."""
    gc.collect()
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
