"""The order of test files: those that take longest begin first, so that no worker ends alone.

And what every process of the tests inherits. Ctrl-C: a shell that starts the tests in its background
has them ignore it, and all that they start would ignore it, too. Compiled modules are kept: thousands
of processes are started, and each would compile all of logctl anew.
"""

import os
import signal
import sys
from pathlib import Path

import pytest

FIRST = (
    *("hosts", "librdkafka", "interop", "simulation", "clusters", "differential"),
    *("secured", "shell", "tui"),
)
HERE = Path(__file__).parent

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_configure() -> None:
    """Let what is started here be interrupted, whoever started us."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by folder; within a folder the order stays."""

    def place(item: pytest.Item) -> int:
        try:
            folder = item.path.relative_to(HERE).parts[0]
        except ValueError:
            return len(FIRST)
        return FIRST.index(folder) if folder in FIRST else len(FIRST)

    items.sort(key=place)
