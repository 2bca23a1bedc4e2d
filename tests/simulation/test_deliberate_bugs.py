"""The simulator finds each deliberate bug within a few seeds, and calls it by its right name."""

from dataclasses import replace

import pytest

from broker.simulation.scenario import plan_of, run_plan
from tests.simulation import bugs

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]

SEEDS_MAX = 60


@pytest.mark.parametrize("name", sorted(bugs.BUGS))
def test_a_deliberate_bug_is_found(name: str) -> None:
    bug = bugs.BUGS[name]
    for seed in range(SEEDS_MAX):
        try:
            with bug.manager():
                run_plan(replace(plan_of(seed), **bug.plan))
        except bug.violation as found:
            print(f"{name}: seed {seed}: {str(found).splitlines()[0]}")  # noqa: T201
            return
    pytest.fail(f"{name} was not noticed in {SEEDS_MAX} seeds")
