"""Escape and a key right after it are two keys, in one piece of a slow line, too."""

import pytest
from textual import events

from tui.escaping import QuickParser


def keys_of(*pieces: str) -> list[str]:
    """The keys of what came in these pieces, one right after the other; pastes in brackets."""
    parser, told = QuickParser(), []
    for piece in pieces:
        told += parser.feed(piece)
    return [f"[{e.text}]" if isinstance(e, events.Paste) else e.key for e in told]


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (["\x1b:"], ["escape", "colon"]),
        (["\x1b", ":"], ["escape", "colon"]),
        (["\x1b\r"], ["escape", "enter"]),
        (["\x1b", "\r"], ["escape", "enter"]),
        (["\x1b3"], ["escape", "3"]),
        (["\x1bD"], ["escape", "D"]),
        (["\x1b", "b"], ["escape", "b"]),
        (["\x1b", "\x7f"], ["escape", "backspace"]),
        (["\x1b:to", "pic"], ["escape", "colon", *"topic"]),
        (["\x1b\x1b:"], ["escape", "escape", "colon"]),
        (["\x1b", "\x1b", "q"], ["escape", "escape", "q"]),
        (["j\x1bü"], ["j", "escape", "ü"]),
    ],
)
def test_what_comes_right_after_escape_is_a_key_of_its_own(typed, keys) -> None:
    assert keys_of(*typed) == keys


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (["\x1b[A\x1bOB\x1b[1;5C"], ["up", "down", "ctrl+right"]),
        (["\x1b", "[A", "\x1b[", "B", "\x1bO", "P"], ["up", "down", "f1"]),
        (["\x1b[27u:"], ["escape", "colon"]),
        (["\x1b[Z"], ["shift+tab"]),
        # Words of a line, with Alt.
        (["\x1bb\x1bf\x1b\x7f"], ["ctrl+left", "ctrl+right", "ctrl+w"]),
        (["\x1b[200~a\x1b:b\x1b\rc\x1b[201~\x1b:"], ["[a:b\rc]", "escape", "colon"]),
        (["\x1b[200~a\x1b", "[201~", "\x1b", "q"], ["[a]", "escape", "q"]),
    ],
)
def test_sequences_and_pastes_stay_whole(typed, keys) -> None:
    assert keys_of(*typed) == keys


def test_keys_with_alt_are_keys_where_somebody_chose_some(monkeypatch) -> None:
    monkeypatch.setattr(QuickParser, "alt_is_chosen", True)
    parser = QuickParser()
    assert not list(parser.feed("\x1bx"))
    monkeypatch.setattr(parser, "_timeout_time", 0.0)
    assert [each.key for each in parser.tick()] == ["alt+x"]
    assert keys_of("\x1b\r") == ["escape", "enter"]
    assert keys_of("\x1b", "x") == ["escape", "x"]
