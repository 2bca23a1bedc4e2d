"""Incremental fetch sessions (KIP-227): a fetcher names its partitions once, then only changes.

A session remembers what its fetcher asked for and what it was told last, so that an answer leaves
out what has not changed. Sessions are a cache: one may vanish at any time, and its fetcher begins
anew. It must never leave out records, an error, or a moved watermark or log start.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from random import Random
from typing import Final
from uuid import UUID

from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from broker.runtime.replica_requests import FetchPartition, FetchResult

INITIAL_EPOCH: Final = 0
FINAL_EPOCH: Final = -1
NO_SESSION: Final = 0
IDLE_MS_MAX: Final = 120_000
_INT_MAX: Final = 2**31 - 1

# A topic's id, or its name where ids are not spoken, and the partition's index.
SessionKey = tuple[UUID | str, int]


class SessionPartition:
    """One partition of a session: what was asked, and what was answered last."""

    __slots__ = ("high_watermark", "log_start_offset", "wanted")

    def __init__(self, wanted: FetchPartition) -> None:
        self.wanted = wanted
        self.high_watermark = -1
        self.log_start_offset = -1

    def is_news(self, result: FetchResult) -> bool:
        """Whether the answer must carry this result; remembers what it says."""
        news = len(result.records) > 0 or result.preferred_read_replica >= 0
        if result.high_watermark != self.high_watermark:
            self.high_watermark = result.high_watermark
            news = True
        if result.log_start_offset != self.log_start_offset:
            self.log_start_offset = result.log_start_offset
            news = True
        if result.error or result.diverging_epoch is not None:
            # Whatever comes after must be told, too: whoever cuts its log takes nothing else.
            self.high_watermark = self.log_start_offset = -1
            news = True
        self.wanted.told_high_watermark = self.high_watermark
        return news

    def change(self, wanted: FetchPartition) -> None:
        """Ask otherwise from now on.

        Whoever changes to another leader epoch takes no answer to what it asked in the one before:
        what that one told is told again.
        """
        if wanted.current_leader_epoch != self.wanted.current_leader_epoch:
            self.high_watermark = self.log_start_offset = -1
            wanted.told_high_watermark = -1
        else:
            wanted.told_high_watermark = self.wanted.told_high_watermark
        self.wanted = wanted


class FetchSession:
    """One fetcher's session. ``epoch`` is that of the request that must come next."""

    __slots__ = (
        "by_id",
        "created_ms",
        "epoch",
        "id",
        "last_used_ms",
        "partitions",
        "privileged",
        "unresolved",
    )

    def __init__(self, session_id: int, *, privileged: bool, by_id: bool, now_ms: int) -> None:
        self.id = session_id
        self.privileged = privileged
        self.by_id = by_id
        self.created_ms = self.last_used_ms = now_ms
        self.epoch = next_epoch(INITIAL_EPOCH)
        # In the order in which they are read: what gave records goes to the end.
        self.partitions: dict[SessionKey, SessionPartition] = {}
        # Whether a topic id may be among them that was not known yet.
        self.unresolved = False

    def update(self, wanted: Iterable[FetchPartition], forgotten: Iterable[SessionKey]) -> None:
        """Take what a request adds, changes and forgets."""
        partitions = self.partitions
        for each in wanted:
            key = self._key(each.topic_id, each.topic, each.index)
            known = partitions.get(key)
            if known is None:
                partitions[key] = SessionPartition(each)
            else:
                known.change(each)
            if not each.topic:
                self.unresolved = True
        for key in forgotten:
            partitions.pop(key, None)

    def resolve_names(self, name_of: Callable[[UUID], str | None]) -> None:
        """Look up again the ids of topics that were not known when they were asked for."""
        if not self.unresolved:
            return
        self.unresolved = False
        for each in self.partitions.values():
            if not each.wanted.topic:
                each.wanted.topic = name_of(each.wanted.topic_id) or ""
                self.unresolved = self.unresolved or not each.wanted.topic

    def asked(self) -> list[FetchPartition]:
        """Every partition of the session."""
        return [each.wanted for each in self.partitions.values()]

    def remember(self, results: Iterable[FetchResult]) -> list[FetchResult]:
        """What of the results is news; what gave records is read last next time."""
        partitions = self.partitions
        news = []
        for result in results:
            key = self._key(result.topic_id, result.topic, result.index)
            known = partitions.get(key)
            if known is None or not known.is_news(result):
                continue
            news.append(result)
            if len(result.records):
                partitions[key] = partitions.pop(key)
        return news

    def _key(self, topic_id: UUID, topic: str, index: int) -> SessionKey:
        return (topic_id if self.by_id else topic), index


class FetchSessions:
    """The sessions of one broker, at most ``slots`` of them."""

    def __init__(self, slots: int, rng: Random, idle_ms_max: int = IDLE_MS_MAX) -> None:
        self._slots = slots
        self._rng = rng
        self._idle_ms_max = idle_ms_max
        # Least recently used first.
        self._sessions: OrderedDict[int, FetchSession] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def find(
        self, session_id: int, epoch: int, *, by_id: bool, now_ms: int
    ) -> FetchSession | ErrorCode:
        """The session that a request goes on with, its epoch moved on, or why it cannot."""
        session = self._sessions.get(session_id)
        if session is None:
            return ErrorCode.fetch_session_id_not_found
        if session.epoch != epoch:
            return ErrorCode.invalid_fetch_session_epoch
        if session.by_id != by_id:
            return ErrorCode.fetch_session_topic_id_error
        session.epoch = next_epoch(epoch)
        session.last_used_ms = now_ms
        self._sessions.move_to_end(session_id)
        return session

    def create(
        self,
        wanted: Iterable[FetchPartition],
        results: Iterable[FetchResult],
        *,
        size: int,
        privileged: bool,
        by_id: bool,
        now_ms: int,
    ) -> int:
        """A new session that knows these answers; NO_SESSION when there is no room for it."""
        if len(self._sessions) >= self._slots and not self._evict(size, now_ms, privileged):
            return NO_SESSION
        session_id = self._rng.randint(1, _INT_MAX)
        while session_id in self._sessions:
            session_id = self._rng.randint(1, _INT_MAX)
        session = FetchSession(session_id, privileged=privileged, by_id=by_id, now_ms=now_ms)
        session.update(wanted, ())
        session.remember(results)
        self._sessions[session_id] = session
        return session_id

    def remove(self, session_id: int) -> None:
        """End a session, if it is there."""
        self._sessions.pop(session_id, None)

    def _evict(self, size: int, now_ms: int, privileged: bool) -> bool:
        """Make room: by one that went quiet, else by one that is worth less than the new one.

        Followers' sessions are worth more than consumers', larger ones more than smaller; young
        ones are left alone, unless a follower needs the room of a consumer.
        """
        if not self._sessions:
            return False
        oldest = next(iter(self._sessions.values()))
        if now_ms - oldest.last_used_ms > self._idle_ms_max:
            del self._sessions[oldest.id]
            return True
        candidates = [
            each
            for each in self._sessions.values()
            if now_ms - each.created_ms > self._idle_ms_max or (privileged and not each.privileged)
        ]
        if not candidates:
            return False
        least = min(candidates, key=lambda each: (each.privileged, len(each.partitions), each.id))
        if (privileged, size) < (least.privileged, len(least.partitions)):
            return False
        del self._sessions[least.id]
        return True


def next_epoch(epoch: int) -> int:
    """The epoch after this one; 0 and -1 mean other things, so it goes from the largest to 1."""
    return 1 if epoch >= _INT_MAX else epoch + 1


def forgotten_keys(request: Struct, *, by_id: bool) -> list[SessionKey]:
    """What a Fetch request takes out of its session."""
    return [
        (topic.topic_id if by_id else topic.topic, index)
        for topic in request.forgotten_topics_data
        for index in topic.partitions
    ]
