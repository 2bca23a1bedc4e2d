"""Fetch sessions (KIP-227) as a fetcher sees them: ids, epochs, what is left out, and eviction."""

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from broker.api import fetch
from broker.api.registry import RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import decode_request, decode_response, encode_request
from broker.protocol.errors import ErrorCode
from broker.protocol.headers import decode_response_header
from broker.protocol.struct import Struct
from broker.runtime.fetch_sessions import IDLE_MS_MAX, FetchSessions, next_epoch
from broker.runtime.replica_requests import FetchPartition, FetchQuery, FetchResult
from broker.settings.broker import BrokerSettings

TOPIC_ID = UUID(int=7)
V = 13


class Logs:
    """Stands for the replica manager: partition -> (records, high watermark, log start, error)."""

    def __init__(self) -> None:
        self.state: dict[int, tuple[bytes, int, int, ErrorCode]] = {}
        self.queries: list[FetchQuery] = []
        self.during: Callable[[], Any] | None = None
        # Partitions of a follower that has to cut its log, and where.
        self.diverging: dict[int, tuple[int, int]] = {}

    def has(self, index: int, records: bytes = b"", mark: int = 5, start: int = 0) -> None:
        self.state[index] = (records, mark, start, ErrorCode.none)

    def fails(self, index: int, error: ErrorCode) -> None:
        self.state[index] = (b"", -1, -1, error)

    async def fetch(self, query: FetchQuery) -> list[FetchResult]:
        self.queries.append(query)
        if self.during is not None:
            during, self.during = self.during, None
            await during()
        found = []
        for each in query.partitions:
            records, mark, start, error = self.state[each.index]
            result = FetchResult(
                each.topic, each.topic_id, each.index, error, mark, mark, start, records
            )
            result.diverging_epoch = self.diverging.get(each.index)
            found.append(result)
        return found

    @property
    def asked(self) -> list[tuple[int, int]]:
        """What the last fetch was for: (partition, offset)."""
        return [(each.index, each.fetch_offset) for each in self.queries[-1].partitions]


class Fetcher:
    """Sends Fetch requests through the codec, both ways."""

    def __init__(self, slots: int = 10) -> None:
        self.now_ms = 1_000
        self.logs = Logs()
        self.names = {TOPIC_ID: "t"}
        self.sessions = FetchSessions(slots, random.Random(1))
        self.node: Any = SimpleNamespace(
            image=SimpleNamespace(topic_names=self.names),
            partitions=self.logs,
            settings=BrokerSettings({}),
            config=SimpleNamespace(settings=BrokerSettings({})),
            clock=SimpleNamespace(monotonic_ms=lambda: self.now_ms),
            fetch_sessions=self.sessions,
            node_endpoints=lambda ids, listener: [],
        )

    async def __call__(
        self,
        partitions: dict[int, int] | None = None,
        *,
        session: int = 0,
        epoch: int = 0,
        forget: tuple[int, ...] = (),
        version: int = V,
        topic_id: UUID = TOPIC_ID,
        replica: int = -1,
        leader_epoch: int = -1,
    ) -> Struct:
        body = Struct(
            replica_id=replica,
            max_wait_ms=100,
            min_bytes=1,
            session_id=session,
            session_epoch=epoch,
            topics=[
                Struct(
                    topic="t",
                    topic_id=topic_id,
                    partitions=[
                        Struct(
                            partition=i,
                            fetch_offset=o,
                            partition_max_bytes=100,
                            current_leader_epoch=leader_epoch,
                        )
                        for i, o in (partitions or {}).items()
                    ],
                )
            ]
            if partitions
            else [],
            forgotten_topics_data=[Struct(topic="t", topic_id=topic_id, partitions=list(forget))]
            if forget
            else [],
        )
        request = decode_request(ApiKey.FETCH, version, encode_request(ApiKey.FETCH, version, body))
        context = RequestContext(
            api_key=ApiKey.FETCH,
            api_version=version,
            correlation_id=1,
            client_id=None,
            listener="PLAINTEXT",
            role="broker",
            peer="",
            connection=None,
        )
        reply = await fetch.handle(self.node, context, request)
        assert isinstance(reply, list)
        frame = b"".join(bytes(each) for each in reply)[4:]
        _, offset = decode_response_header(ApiKey.FETCH, version, frame)
        return decode_response(ApiKey.FETCH, version, frame, offset)


def told(answer: Struct) -> dict[int, tuple[int, int]]:
    """{partition: (error, high watermark)} of an answer without an error of its own."""
    assert answer.error_code == ErrorCode.none
    return {
        each.partition_index: (int(each.error_code), each.high_watermark)
        for topic in answer.responses
        for each in topic.partitions
    }


@pytest.fixture
def fetcher() -> Fetcher:
    found = Fetcher()
    for index in range(3):
        found.logs.has(index)
    return found


async def test_only_what_changed_is_told(fetcher: Fetcher) -> None:
    first = await fetcher({0: 5, 1: 5, 2: 5})
    assert told(first) == {0: (0, 5), 1: (0, 5), 2: (0, 5)}
    session = first.session_id
    assert session > 0
    assert told(await fetcher(session=session, epoch=1)) == {}
    assert fetcher.logs.asked == [(0, 5), (1, 5), (2, 5)]
    fetcher.logs.has(1, mark=6)
    fetcher.logs.has(2, start=1)
    answer = await fetcher(session=session, epoch=2)
    assert told(answer) == {1: (0, 6), 2: (0, 5)}
    assert answer.session_id == session
    assert told(await fetcher(session=session, epoch=3)) == {}


async def test_records_are_told_every_time_and_their_partition_goes_to_the_end(
    fetcher: Fetcher,
) -> None:
    session = (await fetcher({0: 5, 1: 5, 2: 5})).session_id
    fetcher.logs.has(0, records=b"abc")
    for epoch in (1, 2):
        assert told(await fetcher(session=session, epoch=epoch)) == {0: (0, 5)}
    assert fetcher.logs.asked == [(1, 5), (2, 5), (0, 5)]


async def test_an_error_and_what_comes_after_it_are_told(fetcher: Fetcher) -> None:
    session = (await fetcher({0: 5, 1: 5})).session_id
    fetcher.logs.fails(0, ErrorCode.not_leader_or_follower)
    moved = int(ErrorCode.not_leader_or_follower)
    assert told(await fetcher(session=session, epoch=1)) == {0: (moved, -1)}
    assert told(await fetcher(session=session, epoch=2)) == {0: (moved, -1)}
    fetcher.logs.has(0)
    assert told(await fetcher(session=session, epoch=3)) == {0: (0, 5)}


async def test_what_comes_after_a_divergence_is_told(fetcher: Fetcher) -> None:
    """Whoever is to cut its log takes nothing else from that answer."""
    session = (await fetcher({0: 5, 1: 5})).session_id
    fetcher.logs.diverging[0] = (3, 4)
    assert told(await fetcher(session=session, epoch=1)) == {0: (0, 5)}
    fetcher.logs.diverging.clear()
    assert told(await fetcher({0: 4}, session=session, epoch=2)) == {0: (0, 5)}
    assert told(await fetcher(session=session, epoch=3)) == {}


async def test_another_leader_epoch_is_told_everything_again(fetcher: Fetcher) -> None:
    """An answer to what was asked in the epoch before was perhaps dropped."""
    session = (await fetcher({0: 5, 1: 5}, leader_epoch=7)).session_id
    assert told(await fetcher({0: 5}, leader_epoch=7, session=session, epoch=1)) == {}
    assert told(await fetcher({0: 5}, leader_epoch=8, session=session, epoch=2)) == {0: (0, 5)}
    assert told(await fetcher(session=session, epoch=3)) == {}


async def test_requests_add_change_and_forget_partitions(fetcher: Fetcher) -> None:
    session = (await fetcher({0: 5, 1: 5})).session_id
    assert told(await fetcher({2: 4, 1: 6}, session=session, epoch=1)) == {2: (0, 5)}
    assert fetcher.logs.asked == [(0, 5), (1, 6), (2, 4)]
    await fetcher(session=session, epoch=2, forget=(0, 1, 9))
    assert fetcher.logs.asked == [(2, 4)]


async def test_a_session_without_partitions_ends(fetcher: Fetcher) -> None:
    session = (await fetcher({0: 5})).session_id
    answer = await fetcher(session=session, epoch=1, forget=(0,))
    assert (told(answer), answer.session_id) == ({}, 0)
    assert len(fetcher.sessions) == 0
    answer = await fetcher(session=session, epoch=2)
    assert answer.error_code == ErrorCode.fetch_session_id_not_found


async def test_wrong_ids_and_epochs(fetcher: Fetcher) -> None:
    session = (await fetcher({0: 5})).session_id
    for wrong in (2, 7):
        answer = await fetcher(session=session, epoch=wrong)
        assert answer.error_code == ErrorCode.invalid_fetch_session_epoch
        assert answer.session_id == 0
    assert (await fetcher(session=session + 1, epoch=1)).error_code == (
        ErrorCode.fetch_session_id_not_found
    )
    assert (await fetcher(session=0, epoch=1)).error_code == ErrorCode.fetch_session_id_not_found
    # The session itself took no harm.
    assert told(await fetcher(session=session, epoch=1)) == {}


async def test_topic_ids_and_names_do_not_mix_in_a_session(fetcher: Fetcher) -> None:
    by_id = (await fetcher({0: 5})).session_id
    answer = await fetcher({0: 5}, session=by_id, epoch=1, version=12)
    assert answer.error_code == ErrorCode.fetch_session_topic_id_error
    by_name = (await fetcher({0: 5}, version=12)).session_id
    answer = await fetcher({0: 5}, session=by_name, epoch=1, version=13)
    assert answer.error_code == ErrorCode.fetch_session_topic_id_error
    assert told(await fetcher(session=by_name, epoch=1, version=12)) == {}


async def test_a_full_request_replaces_or_ends_the_session_it_names(fetcher: Fetcher) -> None:
    old = (await fetcher({0: 5})).session_id
    new = (await fetcher({0: 5, 1: 5}, session=old, epoch=0)).session_id
    assert new not in (0, old)
    assert len(fetcher.sessions) == 1
    answer = await fetcher({0: 5}, session=new, epoch=-1)
    assert (told(answer), answer.session_id) == ({0: (0, 5)}, 0)
    assert len(fetcher.sessions) == 0


async def test_no_session_is_made_for_those_who_want_none(fetcher: Fetcher) -> None:
    assert (await fetcher({0: 5}, epoch=-1)).session_id == 0
    assert told(await fetcher({0: 5}, version=4)) == {0: (0, 5)}
    assert len(fetcher.sessions) == 0


async def test_a_topic_id_that_becomes_known(fetcher: Fetcher) -> None:
    late = UUID(int=8)
    answer = await fetcher({0: 5}, topic_id=late)
    assert told(answer) == {0: (int(ErrorCode.unknown_topic_id), -1)}
    fetcher.names[late] = "late"
    assert told(await fetcher(session=answer.session_id, epoch=1)) == {0: (0, 5)}


async def test_a_request_that_was_overtaken_gets_no_records(fetcher: Fetcher) -> None:
    session = (await fetcher({0: 5})).session_id
    fetcher.logs.has(0, records=b"abc")
    inner: list[Struct] = []

    async def overtake() -> None:
        inner.append(await fetcher(session=session, epoch=2))

    fetcher.logs.during = overtake
    answer = await fetcher(session=session, epoch=1)
    assert answer.error_code == ErrorCode.invalid_fetch_session_epoch
    assert told(inner[0]) == {0: (0, 5)}


async def test_a_full_cache_gives_no_sessions_until_one_goes_quiet() -> None:
    fetcher = Fetcher(slots=2)
    for index in range(3):
        fetcher.logs.has(index)
    first = (await fetcher({0: 5})).session_id
    second = (await fetcher({0: 5, 1: 5})).session_id
    assert first
    assert second
    assert (await fetcher({0: 5, 1: 5, 2: 5})).session_id == 0
    fetcher.now_ms += IDLE_MS_MAX
    await fetcher(session=second, epoch=1)
    fetcher.now_ms += 1
    third = (await fetcher({0: 5})).session_id
    assert third
    assert (await fetcher(session=first, epoch=1)).error_code == (
        ErrorCode.fetch_session_id_not_found
    )
    assert told(await fetcher(session=second, epoch=2)) == {}


async def test_followers_take_the_room_of_consumers() -> None:
    fetcher = Fetcher(slots=1)
    fetcher.logs.has(0)
    consumer = (await fetcher({0: 5})).session_id
    follower = (await fetcher({0: 5}, replica=2)).session_id
    assert consumer
    assert follower
    assert (await fetcher({0: 5})).session_id == 0
    assert told(await fetcher(session=follower, epoch=1, replica=2)) == {}


def test_a_larger_session_replaces_a_smaller_one_that_is_old_enough() -> None:
    sessions = FetchSessions(1, random.Random(1))

    def create(size: int, now_ms: int) -> int:
        wanted = [FetchPartition("t", index, 0, 100) for index in range(size)]
        return sessions.create(wanted, [], size=size, privileged=False, by_id=False, now_ms=now_ms)

    first = create(2, 0)
    used = sessions.find(first, 1, by_id=False, now_ms=IDLE_MS_MAX)
    assert not isinstance(used, ErrorCode)
    assert create(3, IDLE_MS_MAX) == 0, "young sessions are left alone"
    assert create(1, IDLE_MS_MAX + 1) == 0, "a smaller one is worth less"
    assert create(3, IDLE_MS_MAX + 1) > 0
    assert sessions.find(first, 2, by_id=False, now_ms=0) is ErrorCode.fetch_session_id_not_found


def test_no_slots_means_no_sessions() -> None:
    sessions = FetchSessions(0, random.Random(1))
    made = sessions.create([], [], size=1, privileged=True, by_id=True, now_ms=0)
    assert made == 0


def test_epochs_wrap_around_to_one() -> None:
    assert [next_epoch(each) for each in (0, 1, 2**31 - 1)] == [1, 2, 1]
