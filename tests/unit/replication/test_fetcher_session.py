"""What a follower tells its leader in a fetch session, and when it begins anew."""

from uuid import UUID

import pytest

from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from broker.replication import FetchPosition
from broker.runtime.fetcher_session import FollowerSession

A, B = (UUID(int=1), 0), (UUID(int=1), 1)


def at(offset: int) -> FetchPosition:
    return FetchPosition(offset, 1, 1, 0)


def answer(session_id: int, error: ErrorCode = ErrorCode.none) -> Struct:
    return Struct(session_id=session_id, error_code=error)


@pytest.fixture
def session() -> FollowerSession:
    """One that the leader has opened, with A at 5."""
    session = FollowerSession()
    assert session.is_full
    assert (session.id, session.epoch) == (0, 0)
    assert session.must_tell(A, at(5))
    assert session.answered(answer(77))
    assert (session.id, session.epoch, session.is_full) == (77, 1, False)
    return session


def test_only_moved_positions_are_told(session: FollowerSession) -> None:
    assert not session.must_tell(A, at(5))
    assert session.must_tell(A, at(6))
    assert session.must_tell(B, at(0))
    assert session.answered(answer(77))
    assert (session.epoch, session.must_tell(A, at(6))) == (2, False)


def test_what_is_left_out_is_forgotten_once(session: FollowerSession) -> None:
    session.forget(A)
    session.forget(B)
    (topic,) = session.forgotten()
    assert (topic.topic_id, topic.partitions) == (A[0], [0])
    assert session.forgotten() == []
    assert session.must_tell(A, at(5))


def test_what_comes_back_before_the_next_request_is_not_forgotten(
    session: FollowerSession,
) -> None:
    session.forget(A)
    assert session.must_tell(A, at(5))
    assert session.forgotten() == []


def test_after_a_failure_everything_is_told_and_the_old_session_named(
    session: FollowerSession,
) -> None:
    session.reset()
    assert session.is_full
    assert (session.id, session.epoch) == (77, 0)
    assert session.must_tell(A, at(5))


@pytest.mark.parametrize(
    "error",
    [
        ErrorCode.fetch_session_id_not_found,
        ErrorCode.invalid_fetch_session_epoch,
        ErrorCode.fetch_session_topic_id_error,
    ],
)
def test_a_lost_session_is_begun_anew(session: FollowerSession, error: ErrorCode) -> None:
    assert not session.answered(answer(0, error))
    assert session.is_full
    assert session.id == 0
    assert session.must_tell(A, at(5))


def test_a_leader_without_room_is_asked_in_full_each_time() -> None:
    session = FollowerSession()
    for _ in range(2):
        assert session.must_tell(A, at(5))
        assert session.answered(answer(0))
        assert session.is_full


def test_other_errors_are_for_the_caller(session: FollowerSession) -> None:
    assert session.answered(answer(0, ErrorCode.unknown_server_error))
