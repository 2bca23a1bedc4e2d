"""A field for words in which every key does its work in the order in which keys came.

Textual gives a letter to the field at once, but Backspace, the arrows and the like only once they
have gone up to the application and down again: what is typed after them overtakes them, and a slip
that was mended fast is mended in the wrong place. Must never lose, add or swap what was typed.
"""

import asyncio
from collections.abc import Iterable

from textual import events
from textual.widgets import Input

TAKEN_S_MAX = 1.0


class Box(Input):
    """An input whose own keys are done where its letters are taken."""

    async def _on_key(self, event: events.Key) -> None:
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            if not binding.priority and await self.app.run_action(binding.action, self):
                event.stop()
                event.prevent_default()
                return
        await super()._on_key(event)


async def all_taken(boxes: Iterable[Input]) -> bool:
    """Whether fields have taken all that was typed before; Enter and clicks overtake letters."""
    for box in boxes:
        taken = asyncio.Event()
        if not box.call_later(taken.set):
            return False
        try:
            async with asyncio.timeout(TAKEN_S_MAX):
                await taken.wait()
        except TimeoutError:
            return False
    return True
