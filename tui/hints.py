"""The last line of a dialog: the keys that go on, each to be clicked as well.

Pure. A dialog must be left and agreed to with the mouse alone, too.
"""

from collections.abc import Iterable

from rich.style import Style
from rich.text import Text

from tui.keys import sign

GAP = "   "


def hint_text(before: str, hints: Iterable[tuple[str, str, str]]) -> Text:
    """`before` as it is, then for each of (key, what it does, action) "KEY WHAT", three apart."""
    text = Text(before)
    for key, what, action in hints:
        if text.plain:
            text.append(GAP)
        click = Style.from_meta({"@click": action}) if action else Style()
        text.append(f"{sign(key) if key else ''} {what}".strip(), click)
    return text
