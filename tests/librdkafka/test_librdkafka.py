"""librdkafka's own tests pass against three brokers: those marked quick in suite.yaml.

`make librdkafka` plays all that must pass.
"""

from pathlib import Path

import pytest

from tests.librdkafka import build
from tests.librdkafka.play import Outcome, SuiteCluster, run_all
from tests.librdkafka.suite import Entry, load_suite
from tests.peers import left_out

SUITE = load_suite()
QUICK = [entry for entry in SUITE.entries if entry.quick]
AT_ONCE = 4
# The first one may have to fetch and compile the library.
pytestmark = [pytest.mark.interop, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def runner() -> Path:
    try:
        return build.runner()
    except build.NotBuilt as error:
        left_out(str(error))


@pytest.fixture(scope="module")
def outcomes(runner: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every quick entry, played some at a time: most of what they do is waiting."""
    with SuiteCluster(tmp_path_factory.mktemp("librdkafka"), "default") as cluster:
        found = run_all(cluster, QUICK, AT_ONCE)
    return {outcome.entry.id: outcome for outcome in found}


@pytest.mark.parametrize("entry", QUICK, ids=lambda entry: entry.id)
def test_librdkafkas_own_test_passes(entry: Entry, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[entry.id]
    assert outcome.passed, f"{outcome.states} after {outcome.seconds:.0f} s\n{outcome.tail()}"


def test_every_test_is_either_to_pass_or_left_out_for_a_reason(runner: Path) -> None:
    declared = build.declared()
    wanted = {name for name, (apart, _) in declared.items() if not apart}
    assert wanted == SUITE.names | set(SUITE.left_out)
    for entry in SUITE.entries:
        assert {declared[name][1] for name in entry.names} == {entry.scenario}, entry.id


def test_what_a_test_leaves_out_itself_has_not_passed(tmp_path: Path) -> None:
    entry = QUICK[0]
    for state in ("SKIPPED", "FAILED"):
        assert not Outcome(entry, {entry.names[0]: state}, 1.0, tmp_path).passed
    assert not Outcome(entry, {}, 1.0, tmp_path).passed
    assert Outcome(entry, {entry.names[0]: "PASSED"}, 1.0, tmp_path).passed
