"""logctl's own log: warnings and tracebacks, in a file that is made when the first one comes.

Log lines never reach the terminal unless --debug asks for them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

_BYTES_LIMIT = 4 * 1024 * 1024


def state_folder(environ: Mapping[str, str] = os.environ) -> str:
    """Return logctl's folder below XDG_STATE_HOME."""
    base = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "logctl")


def journal_path() -> str:
    """Return the path of the log file."""
    return os.path.join(state_folder(), "logctl.log")


def is_debug() -> bool:
    """Return whether log lines go to the terminal."""
    return logging.getLogger().level == logging.DEBUG


def start_journal(*, debug: bool) -> None:
    """Send log lines to the file, or with `debug` all of them to stderr."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(logging.StreamHandler() if debug else _LazyFile())
    root.setLevel(logging.DEBUG if debug else logging.WARNING)
    for handler in root.handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class _LazyFile(logging.Handler):
    """Opens its file for each record: logctl logs seldom, and mostly not at all."""

    def emit(self, record: logging.LogRecord) -> None:
        path = journal_path()
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            if os.path.exists(path) and os.path.getsize(path) > _BYTES_LIMIT:
                os.replace(path, path + ".1")
            with open(path, "a", encoding="utf-8", errors="replace", opener=_private) as file:
                file.write(self.format(record) + "\n")
        except OSError:
            return
