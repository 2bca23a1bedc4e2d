"""What docs/troubleshooting.md quotes is what the programs say."""

from __future__ import annotations

import re
from pathlib import Path

from broker.protocol.errors import ErrorCode

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
# What clients say, and what a system says of names.
FOREIGN = {"MessageSizeTooLarge", "RecordTooLarge", "name resolution", "connection refused"}


def quoted() -> list[str]:
    """Pieces of messages: what is in the first column of tables, between backticks."""
    rows = re.findall(r"^\| (.+?) \|", PAGE, re.MULTILINE)
    return [piece for row in rows for piece in re.findall(r"`([^`]+)`", row)]


def spoken() -> str:
    """All sources, with texts that are split over lines put together."""
    sources = [
        path.read_text()
        for part in ("broker", "clusters", "shell", "tui")
        for path in sorted((ROOT / part).rglob("*.py"))
    ]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(sources))


def test_every_quoted_message_is_said_somewhere():
    text = spoken()
    codes = {code.name.upper() for code in ErrorCode}
    found = quoted()
    assert len(found) > 40
    wrong = [
        piece
        for piece in found
        if piece not in text and piece not in FOREIGN | codes and not piece.startswith("NO_COLOR")
    ]
    assert wrong == []
