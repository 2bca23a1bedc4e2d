"""Three real broker processes for the tests with real clients, and what a missing client means."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.interop import drivers
from tests.interop.clients import Client
from tests.interop.drivers import JAVA
from tests.interop.real_cluster import RealCluster
from tests.interop.roster import CLIENTS
from tests.peers import left_out

LOG_TAIL_CHARACTERS = 3000
_RUNNING: list[RealCluster] = []

StartCluster = Callable[..., RealCluster]


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """One cluster for every test that only uses it."""
    settings = {
        "num.partitions": "2",
        "min.insync.replicas": "2",
        # Nobody kills these brokers: one that a busy machine keeps waiting is not to be fenced.
        "broker.session.timeout.ms": "60000",
    }
    with RealCluster(tmp_path_factory.mktemp("brokers"), settings) as cluster:
        _RUNNING.append(cluster)
        yield cluster
        _RUNNING.remove(cluster)


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[StartCluster]:
    """Starts a cluster of the test's own, which it may hurt."""
    with ExitStack() as stack:

        def start(**settings: str) -> RealCluster:
            named = {name.replace("_", "."): value for name, value in settings.items()}
            cluster = stack.enter_context(
                RealCluster(tmp_path, {"min.insync.replicas": "2", **named})
            )
            _RUNNING.append(cluster)
            stack.callback(_RUNNING.remove, cluster)
            return cluster

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.failed:
        for cluster in _RUNNING:
            tails = [
                f"broker {node}: {cluster.log(node)[-LOG_TAIL_CHARACTERS:]}"
                for node in cluster.ports
            ]
            report.sections.append((f"brokers in {cluster.folder}", "\n".join(tails)))
    return report


def absent(what: str) -> NoReturn:
    """A peer is not there: a failure where it must be, else reported as skipped."""
    left_out(f"{what} is not installed")


@pytest.fixture(scope="session", autouse=True)
def foreign_clients() -> Iterator[None]:
    """The programs of other languages end with the run."""
    yield
    drivers.close_all()


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> Client:
    """Each client in turn."""
    found: Client = request.param
    if what := found.missing():
        absent(f"{what}, for {found.name},")
    return found


@pytest.fixture
def readers() -> list[Client]:
    """Every client that is there; the test of the client itself reports a missing one."""
    return [client for client in CLIENTS if client.missing() is None]


@pytest.fixture
def java_client() -> None:
    """Apache Kafka's own client and tools are there."""
    if what := JAVA.missing():
        absent(f"{what}, for Apache Kafka's client and tools,")


@pytest.fixture(scope="session")
def kcat() -> str:
    """The path of kcat, from Debian."""
    path = shutil.which("kcat")
    if path is None:
        absent("kcat")
    return path
