"""The order of test files: those that take longest begin first, so that no worker ends alone."""

from pathlib import Path

import pytest

FIRST = (
    *("hosts", "librdkafka", "interop", "simulation", "clusters", "differential"),
    *("secured", "shell", "tui"),
)
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by folder; within a folder the order stays."""

    def place(item: pytest.Item) -> int:
        try:
            folder = item.path.relative_to(HERE).parts[0]
        except ValueError:
            return len(FIRST)
        return FIRST.index(folder) if folder in FIRST else len(FIRST)

    items.sort(key=place)
