"""Lets Textual's drawn lines go as soon as nothing shows them, without the garbage collector.

A `Strip` keeps what it was cut into, and where it was not cut at all that is itself: a ring, so
that each line ever drawn, with its seven caches, waits for a collection. In a storm those are tens
of thousands of objects a minute. Here the three ways of cutting answer such a line at once, as they
would, and keep nothing. They must never answer otherwise than Textual does.

Widgets refer to one another in rings, too, and those stay: a closed page or dialog waits for the
collector, which waits for a quiet moment. `forget_lines` takes from it what is most of it.
"""

from collections.abc import Iterable
from typing import Any

from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget, _RenderCache

_adjust, _crop_extend, _divide = Strip.adjust_cell_length, Strip.crop_extend, Strip.divide


_NOTHING_DRAWN = _RenderCache(Size(0, 0), [])


def _adjust_cell_length(strip: Strip, cell_length: int, style: Style | None = None) -> Strip:
    return strip if cell_length == strip.cell_length else _adjust(strip, cell_length, style)


def _crop_extend_whole(strip: Strip, start: int, end: int, style: Style | None) -> Strip:
    whole = start <= 0 and end == strip.cell_length
    return strip if whole else _crop_extend(strip, start, end, style)


def _divide_whole(strip: Strip, cuts: Iterable[int]) -> list[Strip]:
    wanted = list(cuts)
    whole = [cut for cut in wanted if cut <= strip.cell_length] == [strip.cell_length]
    return [strip] if whole else _divide(strip, wanted)


def free_lines() -> None:
    """Have lines freed by counting references, in the whole process; again changes nothing."""
    changed: Any = Strip
    changed.adjust_cell_length = _adjust_cell_length
    changed.crop_extend = _crop_extend_whole
    changed.divide = _divide_whole


def forget_lines(closed: Widget) -> None:
    """Let go of what was drawn of a widget that is not shown any more, and of all in it."""
    for widget in closed.walk_children(Widget, with_self=True):
        for each in (widget, *widget._get_virtual_dom()):
            each._styles_cache.clear()
            each._render_cache = _NOTHING_DRAWN
