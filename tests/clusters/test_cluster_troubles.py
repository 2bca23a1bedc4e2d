"""What is wrong with a cluster, in words: log dirs that cannot be written, hosts that refuse."""

import pytest

from clusters.admin import LogDir
from clusters.log_dirs import status_of, trouble_of
from clusters.operation_results import BrokerStatus, problem_of

MIB = 1 << 20
GIB = 1 << 30


def log_dir(*, error=None, total=100 * GIB, usable=50 * GIB, path="/data/b1"):
    return LogDir(
        broker=1, path=path, error=error, total_bytes=total, usable_bytes=usable, replicas=()
    )


def broker(*dirs, state="running", detail=""):
    return BrokerStatus(
        id=2,
        address="h2:9092",
        rack=None,
        roles=("broker", "controller"),
        state=state,
        pid=7,
        uptime_ms=1,
        cluster_state="up",
        is_controller=False,
        log_path="/l",
        data_dirs=("/data/b1",),
        detail=detail,
        log_dirs=tuple(map(status_of, dirs)),
    )


@pytest.mark.parametrize(
    "found",
    [
        log_dir(),
        log_dir(usable=64 * MIB),
        log_dir(total=30 * MIB, usable=MIB),
        log_dir(total=None, usable=None),
        log_dir(total=0, usable=0),
    ],
)
def test_a_dir_that_can_be_written_is_no_trouble(found):
    assert trouble_of(found) is None


@pytest.mark.parametrize(
    ("found", "room"),
    [
        (log_dir(usable=0), "0 B of 100 GiB free"),
        (log_dir(total=30 * MIB, usable=100_000), "97.7 KiB of 30.0 MiB free"),
        (log_dir(error="its log dir failed", usable=40 * MIB), "40.0 MiB of 100 GiB free"),
    ],
)
def test_a_full_disk_is_called_full_with_its_room(found, room):
    assert trouble_of(found) == f"the disk of its log dir /data/b1 is full ({room})"


def test_an_offline_dir_with_room_is_called_offline():
    text = trouble_of(log_dir(error="its log dir failed"))
    assert text == "its log dir /data/b1 is offline: its log dir failed"
    assert trouble_of(log_dir(error="its log dir failed", total=None, usable=None)) == text


def test_a_cluster_with_a_full_disk_is_not_healthy():
    found = problem_of([broker(log_dir(), log_dir(usable=0, path="/data/b2"))], 2, None)
    assert found == "broker 2: the disk of its log dir /data/b2 is full (0 B of 100 GiB free)"
    assert problem_of([broker(log_dir())], 2, None) is None


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ("h2 cannot be reached by SSH: no answer", "the host of broker 2 cannot be reached"),
        ("", "the host of broker 2 cannot be reached"),
        ("h2: sudo refused ann: no", "the host of broker 2 could not be asked"),
    ],
)
def test_a_host_that_refuses_us_is_no_host_that_is_away(detail, said):
    found = problem_of([broker(state="unreachable", detail=detail), broker(log_dir())], 2, None)
    assert found == said
