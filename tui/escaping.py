"""Escape, and what is typed right after it: two keys, however fast.

A terminal sends Escape as the byte that all its sequences begin with. Textual waits a tenth of a
second for more, and takes a letter, Enter or a digit that comes meanwhile for one key with Alt:
whoever leaves a question and types on would lose the Escape, and an Enter would agree to what was
just left. Must never take a sequence apart, nor make keys of what is pasted.
"""

import re
import sys
from collections.abc import Iterable

from textual._xterm_parser import XTermParser
from textual.app import App
from textual.message import Message

ESCAPE = "\x1b"
# How terminals that can say so tell of the key itself (CSI 27 u).
TOLD_APART = "[27u"
# What sequences go on with.
INTRODUCES = "[]OP_^X"
# In one piece with Escape they are ways of lines of words: a word back, on, and away; Shift+Tab.
WITH_ALT = "bdf\t\x7f"
ONE_PIECE = re.compile(f"{ESCAPE}(?=[^{ESCAPE}{re.escape(INTRODUCES + WITH_ALT)}])")
# Where somebody has chosen keys with Alt only this is sure to be another key.
AGREES = re.compile(f"{ESCAPE}(?=\r)")
PASTE = re.compile(f"({ESCAPE}\\[20[01]~)")


class QuickParser(XTermParser):
    """Tells a key that was typed right after Escape from a sequence."""

    # Whether keys with Alt mean something to any application here.
    alt_is_chosen = False
    _is_pending = False
    _pastes = False

    def feed(self, data: str) -> Iterable[Message]:
        """Read what the terminal sent in one piece."""
        if self._is_pending and self._pastes:
            self._pastes = not data.startswith("[201~")
        elif self._is_pending and data and data[0] not in INTRODUCES + ESCAPE:
            # No terminal sends a sequence in two pieces so.
            data = TOLD_APART + data
        data = "".join(map(self._apart, PASTE.split(data)))
        self._is_pending = data.endswith(ESCAPE)
        yield from super().feed(data)

    def tick(self) -> Iterable[Message]:
        """Give out what waited long enough for more."""
        for message in super().tick():
            self._is_pending = False
            yield message

    def _apart(self, part: str) -> str:
        if PASTE.fullmatch(part):
            self._pastes = part.endswith("200~")
        elif self._pastes:
            # An Escape in what is pasted would make keys of the rest; the end may come in two.
            part = part[:-1].replace(ESCAPE, "") + part[-1:]
        else:
            keys = AGREES if self.alt_is_chosen else ONE_PIECE
            part = keys.sub(ESCAPE + TOLD_APART, part)
        return part


def tell_escapes(app: App[int]) -> None:
    """Have this application read its terminal so."""
    driver = sys.modules[app.driver_class.__module__]
    if hasattr(driver, "XTermParser"):
        vars(driver)["XTermParser"] = QuickParser
