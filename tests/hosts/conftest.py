"""Tests on bare hosts: each file runs in namespaces of its own, and fixtures give it hosts.

Without root, or without the programs that make hosts, the tests are skipped with the reason; under
LOGCTL_REQUIRE_PEERS that is a failure.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.forwarding import REPORTS_TO, ModuleRun, ReportWriter
from tests.hosts.lab import INSIDE, Lab
from tests.hosts.roots import SUITES, RootFailed, ensure_root, missing

HERE = Path(__file__).parent
_RUNS = pytest.StashKey[dict[Path, ModuleRun]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RUNS] = {}
    if descriptor := os.environ.pop(REPORTS_TO, ""):
        config.pluginmanager.register(ReportWriter(config, int(descriptor)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Outside, the time limit of a test is the inner pytest's business."""
    for item in items:
        if HERE in item.path.parents and INSIDE not in os.environ:
            item.add_marker(pytest.mark.timeout(0), append=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Outside, a test is run by the inner pytest of its file; here only its reports appear."""
    if INSIDE in os.environ or HERE not in item.path.parents:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _reports(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_sessionfinish(session: pytest.Session) -> None:
    for run in session.config.stash[_RUNS].values():
        run.close()


def _reports(item: pytest.Item) -> list[pytest.TestReport]:
    if lacking := missing():
        if os.environ.get("LOGCTL_REQUIRE_PEERS"):
            return [_own(item, "failed", f"missing {lacking}, and LOGCTL_REQUIRE_PEERS is set")]
        return [_own(item, "skipped", f"hosts need {lacking}")]
    runs = item.config.stash[_RUNS]
    if item.path not in runs:
        try:
            for suite in SUITES:
                ensure_root(suite)
        except RootFailed as error:
            return [_own(item, "failed", str(error))]
        ids = [each.nodeid for each in item.session.items if each.path == item.path]
        runs[item.path] = ModuleRun(item.config, ids)
    run = runs[item.path]
    reports = run.reports_of(item.nodeid)
    if reports and reports[-1].when == "teardown":
        return reports
    return [*reports, _own(item, "failed", f"its pytest ended before it:\n{run.output()}")]


def _own(item: pytest.Item, outcome: str, text: str) -> pytest.TestReport:
    path, line, _ = item.location
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome=outcome,  # type: ignore[arg-type]
        longrepr=(path, line or 0, f"Skipped: {text}") if outcome == "skipped" else text,
        when="setup",
    )


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An empty network; `lab.start(3)` boots hosts."""
    with Lab() as made:
        yield made
