"""`broker unregister`: a broker that was taken away is forgotten; one that counts is not."""

import pytest

from shell.exits import ExitCode


@pytest.fixture
def forgotten(logctl) -> list[int]:
    """Which brokers the cluster was told to forget."""
    told: list[int] = []

    async def unregister_broker(broker: int) -> None:
        told.append(broker)

    logctl.doors.fake.unregister_broker = unregister_broker
    return told


def test_one_that_runs_is_not_forgotten(logctl, forgotten) -> None:
    said = logctl("broker", "unregister", "1", "--yes", "--force")
    assert said.code is ExitCode.REFUSED
    assert "Broker 1 is up." in said.err
    assert "broker stop 1" in said.err
    assert forgotten == []


def test_one_that_still_holds_replicas_only_by_force(logctl, forgotten) -> None:
    said = logctl("broker", "unregister", "3", "--yes")
    assert said.code is ExitCode.REFUSED
    assert "Broker 3 still counts as a replica of 3 partitions" in said.err
    assert "partition move" in said.err
    assert forgotten == []
    assert logctl("broker", "unregister", "3", "--yes", "--force").code is ExitCode.DONE
    assert forgotten == [3]


def test_it_can_be_tried_and_asks(logctl, forgotten) -> None:
    tried = logctl("broker", "unregister", "4", "--dry-run")
    assert (tried.code, tried.err) == (
        ExitCode.DONE,
        "The cluster would forget broker 4, which holds 0 replicas; nothing was changed.\n",
    )
    unasked = logctl("broker", "unregister", "4")
    assert unasked.code is ExitCode.REFUSED
    assert forgotten == []
    done = logctl("broker", "unregister", "4", "--yes")
    assert (done.code, done.err) == (ExitCode.DONE, "The cluster no longer knows broker 4.\n")
    assert forgotten == [4]
