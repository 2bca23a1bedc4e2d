"""Completes the line of words while it is typed, from names that are looked up anew each time."""

from collections.abc import Callable

from textual.suggester import Suggester


class LineSuggester(Suggester):
    """`complete` gives the whole line that was begun, or None."""

    def __init__(self, complete: Callable[[str], str | None]) -> None:
        # Names come and go: what was suggested before is no use.
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        """The line to go on with."""
        return self._complete(value)
