"""How the dashboard ends when it is told to from outside: by a signal, or with its terminal gone;
and how it goes on after Ctrl-Z.

Must never leave a process behind that nobody can see, nor a screen of which parts are missing.
"""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from textual.app import App
from textual.widget import Widget

HANGUP_S = 3.0


@contextlib.contextmanager
def told_to_end(app: App[Any]) -> Iterator[None]:
    """End well by SIGTERM and SIGQUIT, giving the terminal back, and by SIGHUP, when it is gone."""
    loop = asyncio.get_running_loop()
    # Textual may wait for ever to write to a terminal that is gone; nobody would see the process.
    last_word = threading.Timer(HANGUP_S, os._exit, (128 + signal.SIGHUP,))
    last_word.daemon = True

    def hang_up() -> None:
        if not last_word.is_alive():
            last_word.start()
        app.exit()

    for each in (signal.SIGTERM, signal.SIGQUIT):
        loop.add_signal_handler(each, app.exit)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        last_word.cancel()
        for each in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            loop.remove_signal_handler(each)


def draw_anew(app: App[Any]) -> None:
    """Draw all of it after `fg`: the terminal remembers nothing of what stood there."""
    for screen in app.screen_stack:
        screen.refresh()
        for widget in screen.walk_children(Widget):
            widget.refresh()
