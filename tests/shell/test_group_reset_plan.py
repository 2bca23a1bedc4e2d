"""What a reset of a group would do: targets are read, and offsets stay within their logs."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shell.commands.group_reset import Target, plan, read_target
from shell.commands.partition_move import read_by_hand
from shell.exits import UsageProblem

NOW_MS = 1_700_000_000_000
KEY = ("orders", 0)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("earliest", Target("earliest")),
        ("start", Target("earliest")),
        ("latest", Target("latest")),
        ("42", Target("offset", 42)),
        ("+10", Target("shift", 10)),
        ("-10", Target("shift", -10)),
        ("@-10m", Target("time", NOW_MS - 600_000)),
        ("@1600000000000", Target("time", 1_600_000_000_000)),
        ("file:a/b.json", Target("file", path="a/b.json")),
    ],
)
def test_targets(text, target):
    assert read_target(text, NOW_MS) == target


@pytest.mark.parametrize("text", ["", "4.5", "file:", "++1", "@soon", "½", "end-5"])
def test_what_is_no_target_is_refused(text):
    with pytest.raises(UsageProblem):
        read_target(text, NOW_MS)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["earliest", "latest", "offset", "shift", "time", "file"]),
    st.integers(-200, 200),
    st.integers(0, 100),
    st.integers(0, 100),
    st.none() | st.integers(0, 150),
    st.none() | st.integers(0, 150),
)
def test_an_offset_never_leaves_its_log(kind, value, start, length, committed, wanted):
    end = start + length
    changes = plan(
        Target(kind, value),
        [KEY],
        {} if committed is None else {KEY: committed},
        {KEY: (start, end)},
        {} if wanted is None else {KEY: wanted},
    )
    for change in changes:
        assert start <= change.after <= end
        assert change.to_json()["lag_after"] == end - change.after >= 0
    if kind == "shift":
        assert bool(changes) == (committed is not None)
    if kind == "time" and wanted is None:
        assert changes[0].after == end


def test_a_partition_without_a_leader_is_left_alone():
    assert plan(Target("earliest"), [KEY, ("orders", 1)], {}, {KEY: (0, 5)}, {})[0].partition == 0
    assert len(plan(Target("earliest"), [KEY, ("orders", 1)], {}, {KEY: (0, 5)}, {})) == 1


def test_moves_by_hand():
    assert read_by_hand("orders:3=1,2") == ([("orders", 3)], (1, 2))
    assert read_by_hand("orders:0-1=1,2") == ([("orders", 0), ("orders", 1)], (1, 2))
    assert read_by_hand("orders=1,2") == ([("orders", None)], (1, 2))
    for text in ("orders:3=1,1", "orders:3=", "orders:3=a", "=1"):
        with pytest.raises(UsageProblem):
            read_by_hand(text)


def test_several_partitions_take_one_order(logctl):
    told = logctl("partition", "move", "orders:0-1=2,1", "--dry-run")
    assert told.code == 0, told.err
    rows = [line.split() for line in told.out.splitlines()[1:]]
    assert rows == [["orders", "0", "1,2,3", "2,1"], ["orders", "1", "2,3,1", "2,1"]]
    assert "Preferred leaders change: orders:0 from 1 to 2.\n" in told.err
    assert "`partition elect`" in told.err
    whole = logctl("partition", "move", "orders=1,2", "--dry-run", "--format", "json")
    assert [each["after"] for each in json.loads(whole.out)] == [[1, 2]] * 3
    twice = logctl("partition", "move", "orders:0=2,1", "orders=1,2", "--dry-run")
    assert (twice.code, twice.out) == (2, "")
    assert "orders:0 is given two lists of brokers." in twice.err
    same = logctl("partition", "move", "orders:0=1,2", "--dry-run")
    assert "Preferred" not in same.err
