"""Words of panels with tones instead of colours, so that each theme draws them its own way.

A tone repeats what words or shapes say; it must never be the only thing that says it.
"""

from typing import Self

from textual.content import Content, Span

TONES = {
    "": "",
    "bold": "bold",
    "dim": "dim",
    "good": "$text-success",
    "warning": "bold $text-warning",
    "error": "bold $text-error",
    "accent": "$text-accent",
    "title": "bold $text-accent",
}


class Prose:
    """Lines under the pen: `append` words with a tone, `content` is what a panel takes."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._spans: list[Span] = []
        self._length = 0

    def append(self, words: str, tone: str = "") -> Self:
        """Add words. Raises KeyError for what is no tone."""
        end = self._length + len(words)
        if (style := TONES[tone]) and words:
            self._spans.append(Span(self._length, end, style))
        self._parts.append(words)
        self._length = end
        return self

    def line(self) -> Self:
        """Begin a new line, unless this is the first."""
        return self.append("\n") if self._parts else self

    @property
    def last_line(self) -> str:
        """The words of the line that is being written."""
        return "".join(self._parts).rpartition("\n")[2]

    def content(self) -> Content:
        """All of it, without line breaks at the end."""
        text = "".join(self._parts).rstrip("\n")
        # Textual falls over spans that end behind the text.
        spans = [
            Span(span.start, min(span.end, len(text)), span.style)
            for span in self._spans
            if span.start < len(text)
        ]
        return Content(text, spans)
