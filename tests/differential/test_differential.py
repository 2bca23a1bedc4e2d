"""Apache Kafka and logd answer alike: every case of cases/, field by field.

There are no expectations here: the other broker is the expectation. What may differ, and why,
stands in allowed.yaml.
"""

import asyncio

import pytest

from broker.api.catalogue import served_apis
from broker.protocol.api_keys import ApiKey
from tests.differential.cases import Case, load_cases
from tests.differential.compare import Allowance, Rules
from tests.differential.play import play_case
from tests.differential.sides import Sides

CASES = load_cases()
LINES_SHOWN = 60
# Without the start of both brokers, which may have to fetch Apache Kafka first.
pytestmark = pytest.mark.timeout(120, func_only=True)
_PLAYED: set[str] = set()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers_are_apache_kafkas(
    case: Case, sides: Sides, rules: Rules, allowed: list[Allowance], runner: asyncio.Runner
) -> None:
    wrong = play_case(sides, case, rules, allowed, runner)
    _PLAYED.add(case.name)
    assert not wrong, "\n".join([f"{len(wrong)} differences", *wrong[:LINES_SHOWN]])


def test_every_allowed_difference_is_still_needed(allowed: list[Allowance]) -> None:
    """Says something only when every case ran in this process before it."""
    if {case.name for case in CASES} == _PLAYED:
        unused = [f"{each.paths}: {each.reason}" for each in allowed if not each.used]
        assert not unused, "\n".join(unused)


def test_every_api_for_clients_has_a_case() -> None:
    registry = served_apis()
    wanted = {ApiKey(key).name for key in registry.versions("broker")}
    asked = {case.api.name for case in CASES}
    assert wanted - asked == set(), "an entry in tests/differential/cases for each, see README.md"
