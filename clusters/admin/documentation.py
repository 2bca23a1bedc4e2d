"""What brokers say of a setting as plain text: Apache Kafka writes it in HTML, for its web pages.

Pure. Must lose no word: what is no mark-up that is known stays as it stands.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

# What only says how words look, and where links go.
_INLINE = frozenset({"a", "b", "code", "em", "i", "pre", "span", "strong", "tt", "u"})
_BLOCKS = frozenset({"br", "div", "dd", "dl", "dt", "ol", "p", "table", "td", "th", "tr", "ul"})
_ITEM = "li"
_SPACES = re.compile(r"[ \t\r\f\v]+")
_LINES = re.compile(r" ?\n\s*")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == _ITEM:
            self.parts.append("\n- ")
        elif tag in _BLOCKS:
            self.parts.append("\n")
        elif tag not in _INLINE:
            self.parts.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS or tag == _ITEM:
            self.parts.append("\n")
        elif tag not in _INLINE:
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.parts.append(_SPACES.sub(" ", data.replace("\n", " ")))


def plain_text(documentation: str | None) -> str | None:
    """The text without HTML: paragraphs and list items on lines of their own; None stays None."""
    if documentation is None or not any(sign in documentation for sign in "<&"):
        return documentation
    parser = _Text()
    parser.feed(documentation)
    parser.close()
    return _LINES.sub("\n", _SPACES.sub(" ", "".join(parser.parts))).strip()
