"""What is read while nobody waits: styles of dialogs and of the other theme, and how to filter.

Textual reads a style sheet under the first key that needs it, which takes longer than a key may;
so do the modules that read conditions. Neither may hold up the first screen.
Must change nothing that is seen, and must not be done before all that is seen first.
"""

import importlib
from collections.abc import Generator
from typing import Any

from textual.app import App
from textual.command import CommandInput, CommandList, SearchIcon
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.theme import Theme
from textual.widgets import LoadingIndicator
from textual.widgets._toast import Toast, ToastHolder

from tui.action_screen import ActionScreen, AtItsEnd
from tui.box import Box
from tui.dialog import Palette
from tui.help import HelpScreen
from tui.looks import RememberingStylesheet
from tui.record_screens import ReadScreen, RecordScreen

# What is not on the pages.
KINDS: tuple[type[DOMNode], ...] = (
    ActionScreen,
    AtItsEnd,
    Box,
    HelpScreen,
    Palette,
    RecordScreen,
    ReadScreen,
    VerticalScroll,
    SearchIcon,
    CommandInput,
    CommandList,
    LoadingIndicator,
    ToastHolder,
    Toast,
)


def conditions() -> Generator[None, None, None]:
    """Read the modules that `/` needs: each of them leads to all others."""
    importlib.import_module("clusters.query")
    yield


def dialogs(sheet: RememberingStylesheet) -> Generator[None, None, None]:
    """Read what dialogs need, a piece at each step."""
    for kind in KINDS:
        # Textual asks a widget for the texts of its kind, and looks at nothing else of it.
        for place, css, tie_breaker, scope in kind.__new__(kind)._get_default_css():
            sheet.add_source(css, place, is_default_css=True, tie_breaker=tie_breaker, scope=scope)
        yield from sheet.reading()
    assert sheet.rules is not None


def theme(app: App[Any], sheet: RememberingStylesheet, other: Theme) -> Generator[None, None, None]:
    """Read what a theme needs that may be chosen, a piece at each step."""
    variables = app.get_theme_variable_defaults() | other.to_color_system().generate()
    yield from sheet.reading(variables | other.variables)
