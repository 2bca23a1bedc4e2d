"""Encoded topics of Metadata answers, kept until the topic or who is alive changes.

It must never give a piece that says other than the image: a topic is the same while it is the very
same object, and everything is dropped when the live brokers change.
"""

from collections.abc import Mapping

from broker.protocol.errors import ErrorCode
from broker.protocol.image import PartitionState, TopicImage
from broker.protocol.metadata_answer import encode_partition, encode_topic

LISTENER_NOT_FOUND_SINCE = 6


class Liveness:
    """Who is alive, and who of them the asking listener reaches."""

    __slots__ = ("live", "reachable")

    def __init__(self, live: frozenset[int], reachable: frozenset[int]) -> None:
        self.live = live
        self.reachable = reachable

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Liveness)
            and self.live == other.live
            and self.reachable == other.reachable
        )

    __hash__ = None  # type: ignore[assignment]

    def leader(self, state: PartitionState, version: int) -> tuple[ErrorCode, int]:
        """The error and the leader that a client is told."""
        leader = state.leader
        if leader in self.reachable:
            return ErrorCode.none, leader
        # Before version 6 clients did not know LISTENER_NOT_FOUND.
        if leader in self.live and version >= LISTENER_NOT_FOUND_SINCE:
            return ErrorCode.listener_not_found, -1
        return ErrorCode.leader_not_available, -1


class _Kept:
    """One topic as of an image: its partitions' bytes, and all of them joined."""

    __slots__ = ("block", "partitions", "topic")

    def __init__(self, topic: TopicImage, partitions: list[bytes], block: bytes) -> None:
        self.topic = topic
        self.partitions = partitions
        self.block = block


class MetadataPieces:
    """The encoded topics for each (listener, version) that was asked for."""

    def __init__(self) -> None:
        self._views: dict[tuple[str, int], tuple[Liveness, dict[str, _Kept]]] = {}

    def topics(
        self,
        listener: str,
        version: int,
        liveness: Liveness,
        topics: list[TopicImage],
        *,
        internal: frozenset[str],
        present: Mapping[str, TopicImage],
    ) -> list[bytes]:
        """Each topic without its end; ``present`` are all topics there are."""
        view = self._views.get((listener, version))
        if view is None or view[0] != liveness:
            view = self._views[listener, version] = (liveness, {})
        kept = view[1]
        blocks = []
        for topic in topics:
            found = kept.get(topic.name)
            if found is None or found.topic is not topic:
                found = kept[topic.name] = _encoded(
                    found, topic, version, liveness, is_internal=topic.name in internal
                )
            blocks.append(found.block)
        if len(kept) > len(present):
            for name in [name for name in kept if name not in present]:
                del kept[name]
        return blocks


def _encoded(
    before: _Kept | None,
    topic: TopicImage,
    version: int,
    liveness: Liveness,
    *,
    is_internal: bool,
) -> _Kept:
    """Encode a topic; partitions that are still the same objects keep their bytes."""
    old_states: tuple[PartitionState, ...] = ()
    old_pieces: list[bytes] = []
    if before is not None and before.topic.id == topic.id:
        old_states, old_pieces = before.topic.partitions, before.partitions
    pieces = []
    for index, state in enumerate(topic.partitions):
        if index < len(old_states) and old_states[index] is state:
            pieces.append(old_pieces[index])
            continue
        code, leader = liveness.leader(state, version)
        pieces.append(
            encode_partition(
                version,
                index,
                code,
                leader,
                state.leader_epoch,
                state.replicas,
                state.isr,
                [each for each in state.replicas if each not in liveness.live],
            )
        )
    block = encode_topic(
        version, 0, topic.name, topic.id, is_internal=is_internal, partitions=pieces
    )
    return _Kept(topic, pieces, block)
