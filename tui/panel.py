"""A panel of text that is laid out again only when it says something else."""

from typing import Any

from rich.text import Text
from textual.content import Content
from textual.widgets import Static


class Panel(Static):
    """A Static for which being told the same again costs nothing."""

    _said: Any = None

    def update(self, content: Any = "", *, layout: bool = True) -> None:
        """Say this from now on."""
        said = (content.plain, content.spans) if isinstance(content, Text | Content) else content
        if said != self._said:
            self._said = said
            # One whose size does not hang on its words leaves the others where they are.
            super().update(content, layout=layout and self.styles.auto_dimensions)
