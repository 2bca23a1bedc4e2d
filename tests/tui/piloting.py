"""What tests of the dashboard share: waiting for a condition, keys in one piece, a clerk."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from textual import events

WAIT_S = 60.0
STEP_S = 0.02


async def until(pilot: Any, condition: Callable[[], object], what: str) -> None:
    """Wait until something holds; by the clock, for a step takes long on a busy machine."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"not within {WAIT_S:g} s: {what}"
        await pilot.pause(STEP_S)


def together(app: Any, keys: Sequence[str]) -> None:
    """All in one piece: nothing is handled in between."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))


class Clerk:
    """Notes the commands that it is given, and says that all is well."""

    deploys = True

    def __init__(self) -> None:
        self.ran: list[list[str]] = []

    def shown(self, words: Sequence[str]) -> str:
        return "logctl " + " ".join(words)

    async def run(self, words: Sequence[str], on_line: Callable[[str], None]) -> int:
        self.ran.append(list(words))
        on_line("fine")
        return 0
