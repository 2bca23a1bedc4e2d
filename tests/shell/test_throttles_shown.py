"""What is shown of throttles: the documented fields, a rate that is understood, and words."""

from __future__ import annotations

import json

import pytest

from clusters.admin.throttles import FOLLOWER_REPLICAS, LEADER_RATE, Throttles
from shell.commands.partition_throttle import _rows, _words, read_rate
from shell.exits import UsageProblem
from tests.shell.golden_shapes import GOLDEN

FOUND = Throttles({1: {LEADER_RATE: "10485760"}}, {"orders": {FOLLOWER_REPLICAS: "0:2"}})


@pytest.mark.parametrize("name", ["partition-throttle", "partition-throttles"])
def test_the_documented_example_is_what_is_written(name) -> None:
    assert json.loads((GOLDEN / f"{name}.json").read_text()) == _rows(FOUND)


def test_what_stays_is_told_by_broker_and_topic() -> None:
    assert _words(FOUND) == ["broker 1 at 10.0 MiB/s", "topic orders"]


@pytest.mark.parametrize(
    ("text", "rate"), [("10MiB", 10 << 20), ("10MiB/s", 10 << 20), ("2MB", 2_000_000), ("5", 5)]
)
def test_rates(text, rate) -> None:
    assert read_rate(text) == rate


@pytest.mark.parametrize("text", ["much", "0", "-5", "10 MiB per second", ""])
def test_what_is_no_rate_is_refused(text) -> None:
    with pytest.raises(UsageProblem):
        read_rate(text)
