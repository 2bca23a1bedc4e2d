"""Parts of pages that are laid out again only when something else is said: panels, frames, rows."""

from collections.abc import Callable
from typing import Any

from rich.text import Text
from textual.containers import Container, Horizontal
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Static


class Still:
    """Never scrolls: it need not be laid out once more because it was given another size.

    No widget itself, for Textual reads the styles of the first class that is one.
    """

    def _size_updated(
        self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True
    ) -> bool:
        update = super()._size_updated  # type: ignore[misc]
        return bool(update(size, virtual_size, container_size, layout=False))


class KeepsSize:
    """Knows its size while it is hidden, as it was: so it is drawn for that before it is shown."""

    _size_seen = Size(0, 0)

    @property
    def size(self) -> Size:
        """Its size, or while it is hidden the last one."""
        now: Size = super().size  # type: ignore[misc]
        if now:
            self._size_seen = now
        return now or self._size_seen


class Frame(Still, Container):
    """Parts below one another."""


class Row(Still, Horizontal):
    """Parts beside one another."""


class Panel(KeepsSize, Still, Static):
    """A Static for which being told the same again costs nothing."""

    _said: Any = None
    # What is drawn for the size that it has, a plot, is drawn anew for another one.
    redraw: Callable[[], None] | None = None

    def on_resize(self) -> None:
        """Draw for this size."""
        if self.redraw is not None:
            self.redraw()

    def update(self, content: Any = "", *, layout: bool = True) -> None:
        """Say this from now on."""
        said = (content.plain, content.spans) if isinstance(content, Text | Content) else content
        if said != self._said:
            self._said = said
            # One whose size does not hang on its words leaves the others where they are.
            super().update(content, layout=layout and self.styles.auto_dimensions)
