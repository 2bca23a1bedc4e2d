"""The follower's half of a fetch session (KIP-227): what its leader has been told.

A request names only the partitions whose position changed since. After anything went wrong the
next request is a full one, which also ends the old session. It must never take for told what the
leader may not have heard.
"""

from uuid import UUID

from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from broker.replication import FetchPosition
from broker.runtime.fetch_sessions import INITIAL_EPOCH, NO_SESSION, next_epoch

SlotKey = tuple[UUID, int]

_BROKEN = frozenset(
    {
        ErrorCode.fetch_session_id_not_found,
        ErrorCode.invalid_fetch_session_epoch,
        ErrorCode.fetch_session_topic_id_error,
    }
)


class FollowerSession:
    """One follower's session with one leader."""

    __slots__ = ("_forgotten", "_told", "epoch", "id", "is_refused")

    def __init__(self) -> None:
        self.id = NO_SESSION
        self.epoch = INITIAL_EPOCH
        # Whether the leader kept none when it was last asked: each request stands alone then.
        self.is_refused = False
        self._told: dict[SlotKey, FetchPosition] = {}
        self._forgotten: dict[SlotKey, None] = {}

    @property
    def is_full(self) -> bool:
        """Whether the next request must name everything."""
        return self.epoch == INITIAL_EPOCH

    def reset(self) -> None:
        """Nobody knows whether the leader saw the last request: begin anew."""
        self.epoch = INITIAL_EPOCH
        self._told.clear()
        self._forgotten.clear()

    def forget(self, key: SlotKey) -> None:
        """Leave a partition out from the next request on."""
        if self._told.pop(key, None) is not None:
            self._forgotten[key] = None

    def must_tell(self, key: SlotKey, position: FetchPosition) -> bool:
        """Whether the next request must name the partition; it is taken for told then."""
        if self._told.get(key) == position:
            return False
        self._told[key] = position
        self._forgotten.pop(key, None)
        return True

    def forgotten(self) -> list[Struct]:
        """What the next request takes out of the session."""
        topics: dict[UUID, Struct] = {}
        for topic_id, index in self._forgotten:
            topic = topics.get(topic_id)
            if topic is None:
                topic = topics[topic_id] = Struct(topic="", topic_id=topic_id, partitions=[])
            topic.partitions.append(index)
        self._forgotten.clear()
        return list(topics.values())

    def answered(self, response: Struct) -> bool:
        """Note the answer to the last request; False when it only says to begin anew."""
        if response.error_code in _BROKEN:
            self.id = NO_SESSION
            self.reset()
            return False
        if response.error_code:
            return True
        if self.is_full:
            self.is_refused = response.session_id == NO_SESSION
        if response.session_id == NO_SESSION:
            # The leader has no room for it, or ended it.
            self.id = NO_SESSION
            self.reset()
        elif self.is_full:
            self.id = response.session_id
            self.epoch = next_epoch(INITIAL_EPOCH)
        else:
            self.epoch = next_epoch(self.epoch)
        return True
