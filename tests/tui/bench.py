"""A running dashboard, and what a person does with it, for tests that go through all its keys."""

import asyncio
import base64
import importlib
import json
import pkgutil
from collections.abc import Awaitable, Callable, Sequence

from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Static

import tui
from tests.tui import piloting
from tests.tui.piloting import until
from tui.keys import NO_KEY
from tui.pages.base import Place

# Topics beside those of every cluster here.
MANY = 120
FORMS = ("ActionScreen", "ReadScreen")


class Clerk(piloting.Clerk):
    """Answers `tail` with a few records, anything else at once."""

    async def run(self, words: Sequence[str], on_line: Callable[[str], None]) -> int:
        self.ran.append(list(words))
        if words[0] == "tail":
            value = {f"field{number}": number for number in range(90)}
            told = {"topic": "orders", "partition": 0, "key": "k", "value": value}
            for offset in range(3):
                on_line(json.dumps({**told, "offset": offset}))
            await asyncio.Event().wait()
        return 0


class Story:
    """A story of one step."""

    busy = False

    def __init__(self) -> None:
        self.finished = False

    @property
    def text(self) -> str:
        return "That is all." if self.finished else "Broker 2 will be stopped."

    async def advance(self) -> None:
        self.finished = True


class Bench:
    """A running dashboard, and what a person does with it."""

    def __init__(self, app, pilot, cluster, clerk: Clerk, asked: list[int]) -> None:
        self.app, self.pilot, self.cluster, self.clerk = app, pilot, cluster, clerk
        self.written: list[str] = []
        self._asked = asked

    @property
    def asked(self) -> int:
        """How often the quorum was asked for."""
        return len(self._asked)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await until(self.pilot, condition, what)

    async def at(self, *place: str):
        """Open a page; its main table has rows and the focus."""
        app = self.app
        app.open_place(Place(*place))
        await self.until(lambda: app.page.main_table().has_focus, f"the focus on {place}")
        table = app.page.main_table()
        await self.until(lambda: bool(table.shown), f"rows on {place}")
        return table

    async def screen(self, kind: type[Screen]):
        await self.until(
            lambda: isinstance(self.app.screen, kind) and self.app.screen.is_mounted, str(kind)
        )
        return self.app.screen

    async def closed(self) -> None:
        await self.until(lambda: len(self.app.screen_stack) == 1, "the dialog is gone")

    def line(self, name: str) -> str:
        return str(self.app.query_one(f"#{name}", Static).content)

    def told(self) -> str:
        return [*self.app._notifications][-1].message

    def osc_52(self) -> list[str]:
        """What the terminal was told to put on the clipboard."""
        begin = "\x1b]52;c;"
        coded = [text.removeprefix(begin) for text in self.written if text.startswith(begin)]
        return [base64.b64decode(each.rstrip("\a")).decode() for each in coded]


Check = Callable[[Bench, str], Awaitable[None]]


def keys_of_the_application() -> set[tuple[str, str]]:
    """(class, key) of every binding that is written down anywhere in the dashboard."""
    # Keys of Textual's own that go from field to field, whether or not a dialog names them too.
    found = {(form, key) for form in FORMS for key in ("tab", "shift+tab")}
    for module in pkgutil.walk_packages(tui.__path__, "tui."):
        for each in vars(importlib.import_module(module.name)).values():
            if isinstance(each, type) and each.__module__ == module.name:
                for binding in vars(each).get("BINDINGS", ()):
                    assert isinstance(binding, Binding)
                    found |= {(each.__name__, key) for key in binding.key.split(",")}
    # Of those that are only chosen: test_dashboard_keys.
    return {(name, key) for name, key in found if key != NO_KEY}
