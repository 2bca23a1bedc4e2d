"""One seed is one run: the same bytes at the same times, whatever the process."""

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]

# With topics that come and go, separate roles, disk faults and pauses among them.
SEEDS = "0-2"


def play(hash_seed: str, *arguments: str) -> list[str]:
    """Outcome lines of the simulator, without the real time that each took."""
    result = subprocess.run(
        [sys.executable, "-m", "broker.simulation", *arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=250,
        check=True,
    )
    return [line.split(" s ", 1)[1] for line in result.stdout.splitlines()]


def test_another_hash_seed_gives_the_same_run() -> None:
    first = play("1", "--seeds", SEEDS)
    assert first == play("4242", "--seeds", SEEDS)
    assert len(first) == 3


def test_what_ran_before_in_the_same_process_does_not_matter() -> None:
    """Task names, caches and counters of earlier runs must not leak into the next."""
    assert play("1", "--seeds", "1-2")[1] == play("1", "--seed", "2")[0]


def test_tracing_does_not_change_the_run() -> None:
    assert play("1", "--seed", "3", "--trace") == play("1", "--seed", "3")
