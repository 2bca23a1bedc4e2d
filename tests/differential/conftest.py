"""Both brokers, started once for all cases; and the allowances that were needed, with reasons."""

import asyncio
import os
import shutil
from collections.abc import Iterator

import pytest

from benchmarks.peers import kafka_libs
from tests.differential.compare import Allowance, Rules, load_allowed
from tests.differential.sides import Sides

_ALLOWED = load_allowed()


@pytest.fixture(scope="session")
def allowed() -> list[Allowance]:
    return _ALLOWED


@pytest.fixture(scope="session")
def rules() -> Rules:
    return Rules.load()


def _left_out(why: str) -> None:
    if os.environ.get("LOGCTL_REQUIRE_PEERS"):
        pytest.fail(f"{why}, and LOGCTL_REQUIRE_PEERS is set")
    pytest.skip(f"left out: {why}")


def require_kafka() -> None:
    """Skip, or fail where peers are required, without Apache Kafka."""
    if shutil.which("java") is None:
        _left_out("no Java to run Apache Kafka with")
    if kafka_libs() is None:
        _left_out("Apache Kafka's jars are not here and Maven could not fetch them")


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
