"""The process's own log in a file of bounded size: `FILE` is written, `FILE.1` is the one before.

stdout and stderr follow the file, so that what the interpreter says at a crash stands there, too.
Must never end the process, nor lose lines because the file cannot be rotated: then it grows.
"""

import contextlib
import logging
import os
import sys
import time
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler

RETRY_SECONDS = 60.0
MODE = 0o640

logger = logging.getLogger("logd")


class RotatedLog(RotatingFileHandler):
    """At most `max_files` files of about `max_bytes` each, the one that is written among them."""

    def __init__(self, path: str, max_bytes: int, max_files: int) -> None:
        self._not_before = 0.0
        super().__init__(
            path,
            maxBytes=max_bytes,
            backupCount=max_files - 1,
            encoding="utf-8",
            errors="backslashreplace",
        )

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, MODE)

        stream = open(  # noqa: SIM115  it stays open
            self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=opener
        )
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
        return stream

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802  the library's name
        """Whether a record would make the file too long, or one that was moved away is written."""
        if time.monotonic() < self._not_before:
            return False
        return bool(super().shouldRollover(record))

    def doRollover(self) -> None:  # noqa: N802  the library's name
        """Move the files on by one; where that fails, go on with the long one for a while."""
        try:
            super().doRollover()
        except OSError as error:
            self._not_before = time.monotonic() + RETRY_SECONDS
            if self.stream is None:
                with contextlib.suppress(OSError):  # tried again with the next line
                    self.stream = self._open()
            reason = error.strerror or error
            logger.warning("cannot rotate %s, which goes on growing: %s", self.baseFilename, reason)


def open_log_file(path: str, max_bytes: int, max_files: int) -> logging.Handler | None:
    """The handler for a log file; None, and a word on stderr, when it cannot be written."""
    try:
        return RotatedLog(path, max_bytes, max_files)
    except OSError as error:
        sys.stderr.write(f"logd: cannot write {path}: {error.strerror or error}; logs to stderr\n")
        return None
