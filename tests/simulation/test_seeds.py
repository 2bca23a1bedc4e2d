"""The whole broker under faults, many seeds: nothing acknowledged is lost, and it heals.

`python -m broker.simulation --seed N --trace` repeats one seed and shows what the brokers logged.
SIMULATION_SEEDS is how many seeds run; the tests are chunks, so that workers can share them.
"""

import os
from pathlib import Path

import pytest

from broker.simulation.scenario import plan_of, run_seed

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "24"))
CHUNK = 8
FIRST = 1000


def regression_seeds() -> list[int]:
    lines = (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")]


def play(seed: int) -> None:
    try:
        outcome = run_seed(seed)
    except Exception as error:
        notes = "\n".join(getattr(error, "__notes__", []))
        pytest.fail(
            f"seed {seed}: {type(error).__name__}: {error}\n{notes}\n"
            f"repeat: python -m broker.simulation --seed {seed} --trace",
            pytrace=False,
        )
    assert outcome.acknowledged > 0, f"seed {seed}: nothing was produced at all"
    assert outcome.faults, f"seed {seed}: nothing went wrong at all"


@pytest.mark.parametrize("seed", regression_seeds())
def test_a_seed_that_once_failed(seed: int) -> None:
    play(seed)


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
def test_seeds(first: int) -> None:
    for seed in range(first, min(first + CHUNK, FIRST + SEEDS)):
        play(seed)


# Clusters of the simulation are small: what is done in pieces in a large one is done at once there.
PIECES = {
    "broker.metadata.cluster.MOVED_AT_ONCE_MAX": 1,
    "broker.protocol.image._RECORDS_AT_ONCE": 1,
    "broker.runtime.controller.AT_ONCE_RECORDS_MAX": 0,
    "broker.runtime.fetcher.ANSWERS_AT_ONCE": 1,
    "broker.runtime.fetcher.PARTITIONS_TOLD_AT_ONCE": 1,
    "broker.runtime.publisher.AT_ONCE_RECORDS_MAX": 0,
    "broker.runtime.publisher.PARTITIONS_A_PIECE": 1,
    "broker.runtime.quorum_delivery.PIECES_A_TURN": 1,
    "broker.runtime.quorum_delivery.SMALL_BATCHES_A_PIECE": 1,
    "broker.runtime.quorum_log.RECORDS_AT_ONCE": 1,
    "broker.runtime.replica_isr.PARTITIONS_A_REQUEST": 1,
    "broker.runtime.replica_table.ROLES_AT_ONCE": 1,
}


def test_seeds_with_long_work_cut_in_its_smallest_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PIECES.items():
        monkeypatch.setattr(name, value)
    for seed in range(2000, 2003):
        play(seed)


def test_the_seeds_cover_every_layout() -> None:
    layouts = {plan_of(seed).layout for seed in range(FIRST, FIRST + SEEDS)}
    assert layouts == {
        "combined/commit",
        "combined/background",
        "separate/commit",
        "separate/background",
    }
