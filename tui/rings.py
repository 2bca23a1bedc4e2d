"""Rings of objects that Textual makes, opened, so that what is no longer used goes at once.

A ring waits for the garbage collector, which goes through all of a large cluster: under somebody's
key that is felt. What Textual leaves with each line it draws, each focus that moves and each page
that is closed is opened here. Only objects that nothing reads any more may be opened, and a line
must be cut as Textual cuts it.
"""

from collections.abc import Iterable
from typing import Any

from rich.style import Style
from textual.css.styles import RenderStyles
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
    return [strip] if whole else list(_divide(strip, wanted))


def free_lines() -> None:
    """Have lines freed with their last reader, in the whole process; again changes nothing.

    A line keeps what it was cut into, and where it was not cut at all that is itself, with seven
    caches: in a storm a million objects a minute. Such a line is now answered at once and not kept.
    """
    changed: Any = Strip
    changed.adjust_cell_length = _adjust_cell_length
    changed.crop_extend = _crop_extend_whole
    changed.divide = _divide_whole


def forget_lines(closed: Widget) -> None:
    """Let go of what was drawn of a widget that is not shown any more, and of all in it.

    Widgets refer to one another, and that stays: until it is collected, most of a page are these.
    """
    for widget in closed.walk_children(Widget, with_self=True):
        for each in (widget, *widget._get_virtual_dom()):
            each._styles_cache.clear()
            each._render_cache = _NOTHING_DRAWN


class ComponentStyles(dict[str, RenderStyles]):
    """Stands for a widget's own, which Textual clears and fills whenever the focus moves.

    Each of them hangs on a node that was made for it alone, and the node on them.
    """

    def clear(self) -> None:
        """Forget them all, and open each ring."""
        for styles in self.values():
            if (node := styles.node) is not None:
                node.__dict__.clear()
        super().clear()
