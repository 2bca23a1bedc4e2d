"""The page under a dialog, dimmed as Textual dims it, in a fraction of the time.

Textual blends the colours of each piece of the page by itself, through Rich; most of the time until
a dialog stood went there. A page has thousands of pieces and a few dozen styles. What is drawn must
be the same to the last cell.
"""

from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.color import Color
from textual.css.styles import RulesMap
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import Screen
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual

if TYPE_CHECKING:
    _Over = Screen[Any]
else:
    # No screen itself, for Textual reads the styles of the first class that is one.
    _Over = object


class OverPage(_Over):
    """Stands before the kind of screen that a class is otherwise."""

    def render(self) -> Any:
        """What lies under it, dimmed."""
        found = super().render()
        if isinstance(found, BackgroundScreen):
            return Dimmed(found.screen, found.color)
        return found


class Dimmed(Visual):
    """A screen as it is drawn now, with a colour over it, and nothing on it to be clicked."""

    def __init__(self, screen: Screen[Any], color: Color) -> None:
        self._screen, self._color = screen, color

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        """As wide as there is room, in cells."""
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:
        """The lines of the screen."""
        return self._screen.size.height

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        """Its lines, cut to `width` cells."""
        under = style.rich_style
        looks: dict[RichStyle | None, RichStyle | None] = {}
        strips = []
        for strip in self._screen._compositor.render_strips()[:height]:
            pieces = []
            for text, look, _ in strip:
                if look not in looks:
                    looks[look] = under + self._dim(look)
                pieces.append(Segment(text, looks[look]))
            dimmed = Strip(pieces, strip.cell_length)
            strips.append(dimmed if strip.cell_length <= width else dimmed.crop(0, width))
        return strips

    def _dim(self, look: RichStyle | None) -> RichStyle | None:
        (piece,) = BackgroundScreen.process_segments([Segment(" ", look)], self._color)
        return piece.style
