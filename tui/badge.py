"""The name of the cluster that is shown, in the colour that its context has.

Pure. Who has marked production red must see it before acting on it, on each theme; and read it,
where no colours are shown.
"""

from rich.text import Text
from textual.content import Content

# What stands on which ground: told apart on dark and on light themes alike.
GROUNDS = {
    "red": "bold #ffffff on #b3261e",
    "yellow": "bold #000000 on #e6b800",
    "green": "bold #ffffff on #1b7f4b",
    "blue": "bold #ffffff on #0b5cad",
    "magenta": "bold #ffffff on #9c3587",
    "cyan": "bold #ffffff on #0e7c86",
}


def words(name: str, color: str | None, *, no_color: bool) -> str:
    """The name, and the word for its colour where that cannot be seen."""
    return f" {name} [{color}] " if no_color and color in GROUNDS else f" {name} "


def badge(name: str, color: str | None, *, no_color: bool = False) -> Content:
    """The name on its colour; one without a colour that we know is only bold."""
    return Content.styled(words(name, color, no_color=no_color), GROUNDS.get(color or "", "bold"))


def badge_text(name: str, color: str | None, *, no_color: bool = False) -> Text:
    """The same as Rich's text."""
    ground = GROUNDS.get(color or "", "bold reverse")
    return Text.assemble((words(name, color, no_color=no_color), ground))
