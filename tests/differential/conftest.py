"""Both brokers, started once for all cases; and the allowances that were needed, with reasons."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.differential.compare import Allowance, Rules, load_allowed
from tests.differential.sides import Sides
from tests.real_kafka import require_kafka

_ALLOWED = load_allowed()


@pytest.fixture(scope="session")
def allowed() -> list[Allowance]:
    return _ALLOWED


@pytest.fixture(scope="session")
def rules() -> Rules:
    return Rules.load()


@pytest.fixture(scope="session")
def sides() -> Iterator[Sides]:
    """Apache Kafka and logd beside it."""
    require_kafka()
    with Sides() as both:
        yield both


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    used = [each for each in _ALLOWED if each.used]
    if used:
        terminalreporter.section("allowed differences from Apache Kafka")
    for each in used:
        terminalreporter.write_line(f"{each.used:5} {each.reason} [{', '.join(each.paths)[:150]}]")
