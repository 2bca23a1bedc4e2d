"""The order of test files: those that take longest begin first, so that no worker ends alone, and
those that wait run beside those that work.

And what every process of the tests inherits. Ctrl-C: a shell that starts the tests in its background
has them ignore it, and all that they start would ignore it, too. Compiled modules are kept: thousands
of processes are started, and each would compile all of logctl anew.
"""

import os
import signal
import sys
from pathlib import Path

import pytest

# Hosts are waited for more than they work: one or two of their files at a time, beside what only works.
FIRST = (
    "hosts/test_life_of_a_cluster.py",
    "hosts/test_interrupted_deploying.py",
    *("librdkafka", "interop"),
    "hosts/test_deploying_through_faults.py",
    *("simulation", "clusters"),
    "hosts/test_ways_in.py",
    *("differential", "secured"),
    "hosts",
    *("shell", "tui"),
)
HERE = Path(__file__).parent

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_configure() -> None:
    """Let what is started here be interrupted, whoever started us."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by file and folder; within a folder the order stays."""

    def place(item: pytest.Item) -> int:
        if not item.path.is_relative_to(HERE):
            return len(FIRST)
        inside = item.path.relative_to(HERE).as_posix()
        for name in (inside, inside.partition("/")[0]):
            if name in FIRST:
                return FIRST.index(name)
        return len(FIRST)

    items.sort(key=place)
