"""What is wrong with a condition: where, why, and the nearest word that would fit."""

from __future__ import annotations

from broker.protocol.errors import LogctlError


class QueryError(LogctlError):
    """A condition that cannot be read. `line` and `column` count from 1; `hint` may be empty."""

    def __init__(self, message: str, text: str, position: int, hint: str = "") -> None:
        self.message = message
        self.text = text
        self.position = min(max(position, 0), len(text))
        self.hint = hint
        before = text[: self.position]
        self.line = before.count("\n") + 1
        self.column = self.position - (before.rfind("\n") + 1) + 1
        super().__init__(self.show())

    @property
    def brief(self) -> str:
        """One line, for a message that already says where the condition stands."""
        words = f"column {self.column}: {self.message}"
        if self.line > 1:
            words = f"line {self.line}, {words}"
        return f"{words}; {self.hint}" if self.hint else words

    def show(self) -> str:
        """The message, the line, and a caret below the place."""
        shown = self.text.split("\n")[self.line - 1].replace("\t", " ")
        # A long line is shown around the place.
        start = max(0, self.column - 61)
        piece = shown[start : start + 100]
        caret = " " * (self.column - 1 - start) + "^"
        return f"The condition cannot be read: {self.brief}\n  {piece}\n  {caret}"
