"""Keys that are pressed between two prompts: kept for the next one, Ctrl-D among them.

While a command runs the terminal is in line mode. There Ctrl-D is no key but an end of file, of
which nothing is left once the prompt reads single keys (Linux makes a NUL of it). So whole lines
and ends of file are taken out before the mode changes, and from then on Ctrl-D is a key. Must never
wait, and never leave the terminal without its end of file.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.input import Input
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress

_CTRL_D = b"\x04"
_READ_BYTES = 65_536
_LINES_MAX = 1_000
# Where the control characters are in what termios tells.
_CHARACTERS = 6


@contextlib.contextmanager
def kept_for(app: Application[Any]) -> Iterator[None]:
    """Around a prompt of the application: it gets the keys that were pressed before it began."""
    terminal = _terminal_of(app.input)
    end_of_file = None if terminal is None else _change_end_of_file(terminal, None)
    if terminal is None or end_of_file is None:
        yield
        return

    def put_back(_: object = None) -> None:
        _change_end_of_file(terminal, end_of_file)

    app.after_render += put_back  # by then the prompt reads single keys
    try:
        _store(app.input, _read_lines(terminal))
        yield
    finally:
        app.after_render -= put_back
        put_back()  # what the prompt puts back is what it found


def _terminal_of(source: Input) -> int | None:
    with contextlib.suppress(OSError, NotImplementedError):
        descriptor = source.fileno()
        return descriptor if os.isatty(descriptor) else None
    return None


def _change_end_of_file(terminal: int, wanted: bytes | None) -> bytes | None:
    """Set the key that ends a file, None for no key; returns what it was, None without a change."""
    import termios

    try:
        attributes = termios.tcgetattr(terminal)
        none = bytes([os.fpathconf(terminal, "PC_VDISABLE")])
        before: bytes = attributes[_CHARACTERS][termios.VEOF]
        if before == (wanted or none):
            return None
        attributes[_CHARACTERS][termios.VEOF] = wanted or none
        termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    except (termios.error, OSError, ValueError, TypeError):
        return None
    return before


def _read_lines(terminal: int) -> bytes:
    """Take whole lines and ends of file, in line mode; what a line has of a beginning stays."""
    found = b""
    poll = select.poll()
    poll.register(terminal, select.POLLIN)
    for _ in range(_LINES_MAX):
        events = poll.poll(0)
        if not events or events[0][1] != select.POLLIN:
            break
        try:
            found += os.read(terminal, _READ_BYTES) or _CTRL_D
        except OSError:
            break
    return found


def _store(source: Input, typed: bytes) -> None:
    keys: list[KeyPress] = []
    parser = Vt100Parser(keys.append)
    parser.feed_and_flush(typed.decode(errors="replace"))
    if keys:
        store_typeahead(source, keys)
