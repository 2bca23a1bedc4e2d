"""What simulated brokers log, one JSON object a line, with virtual time and the node's name.

For reading one seed closely. It must never change what the run does.
"""

import json
import logging
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from broker.observability import JsonFormatter

if TYPE_CHECKING:
    from collections.abc import Iterator


class TraceHandler(logging.Handler):
    """Writes every log record of the run; `who` names the process that runs now."""

    def __init__(self, stream: TextIO, now_s: Callable[[], float], who: Callable[[], str]) -> None:
        super().__init__(logging.DEBUG)
        self._stream = stream
        self._now_s = now_s
        self._who = who
        self._format = JsonFormatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        line = json.loads(self._format.format(record))
        line["ts"] = f"{self._now_s():.6f}"
        self._stream.write(json.dumps({"node": self._who(), **line}, ensure_ascii=False) + "\n")


@contextmanager
def tracing(handler: logging.Handler | None) -> "Iterator[None]":
    """Send all log records to `handler` alone; None silences them."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    if handler is None:
        logging.disable(logging.CRITICAL)
    else:
        root.handlers[:] = [handler]
        root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.disable(logging.NOTSET)
