"""Metadata written by hand: the codec's bytes at every version, and pieces that never grow old."""

import random
from typing import Any
from uuid import UUID

import pytest

from broker.api.node import INTERNAL_TOPICS
from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import encode_response
from broker.protocol.headers import encode_response_frame
from broker.protocol.image import PartitionState, TopicImage
from broker.protocol.metadata_answer import (
    VERSIONS,
    encode_metadata_response,
    encode_partition,
    encode_topic,
    topic_end,
)
from broker.protocol.struct import Struct
from broker.runtime.metadata_pieces import Liveness, MetadataPieces


def random_topics(rng: random.Random) -> list[dict[str, Any]]:
    def nodes() -> list[int]:
        return [rng.randrange(2**31) for _ in range(rng.choice((0, 1, 3, 20)))]

    return [
        {
            "error_code": rng.choice((0, 3, 5)),
            "name": rng.choice(("t", "x" * 200, "é")),
            "topic_id": UUID(int=rng.getrandbits(128)),
            "is_internal": rng.random() < 0.5,
            "partitions": [
                {
                    "error_code": rng.choice((0, 5)),
                    "partition_index": index,
                    "leader_id": rng.choice((-1, 7)),
                    "leader_epoch": rng.randrange(9),
                    "replica_nodes": nodes(),
                    "isr_nodes": nodes(),
                    "offline_replicas": nodes(),
                }
                for index in range(rng.choice((0, 1, 200)))
            ],
            "topic_authorized_operations": 3576,
        }
        for _ in range(rng.choice((0, 1, 130)))
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_bytes_are_those_of_the_codec(version: int) -> None:
    rng = random.Random(version)
    for _ in range(4):
        topics = random_topics(rng)
        brokers = [(1, "a", 9092, None), (2, "bb", 65535, "rack")]
        fields: dict[str, Any] = {"cluster_id": rng.choice((None, "c")), "controller_id": 2}
        pieces = []
        for topic in topics:
            partitions = [
                encode_partition(
                    version,
                    each["partition_index"],
                    each["error_code"],
                    each["leader_id"],
                    each["leader_epoch"],
                    each["replica_nodes"],
                    each["isr_nodes"],
                    each["offline_replicas"],
                )
                for each in topic["partitions"]
            ]
            block = encode_topic(
                version,
                topic["error_code"],
                topic["name"],
                topic["topic_id"],
                is_internal=topic["is_internal"],
                partitions=partitions,
            )
            pieces += [block, topic_end(version, 3576)]
        written = encode_metadata_response(
            version,
            77,
            brokers=brokers,
            topics=pieces,
            topics_count=len(topics),
            cluster_operations=8080,
            **fields,
        )
        body = Struct(
            brokers=[Struct(node_id=i, host=h, port=p, rack=r) for i, h, p, r in brokers],
            topics=topics,
            cluster_authorized_operations=8080,
            **fields,
        )
        data = encode_response(ApiKey.METADATA, version, body)
        assert b"".join(written) == encode_response_frame(ApiKey.METADATA, version, 77, data)


def state(leader: int = 1, **fields: Any) -> PartitionState:
    return PartitionState(replicas=(1, 2), isr=(1, 2), leader=leader, **fields)


class Keeper:
    """Asks kept pieces and fresh ones the same, and compares."""

    def __init__(self) -> None:
        self.kept = MetadataPieces()

    def agrees(
        self, liveness: Liveness, topics: list[TopicImage], version: int = 12
    ) -> list[bytes]:
        def ask(pieces: MetadataPieces) -> list[bytes]:
            return pieces.topics(
                "PLAINTEXT",
                version,
                liveness,
                topics,
                internal=INTERNAL_TOPICS,
                present={topic.name: topic for topic in topics},
            )

        blocks = ask(self.kept)
        assert blocks == ask(MetadataPieces())
        return blocks


def test_pieces_follow_every_change() -> None:
    keeper = Keeper()
    both = Liveness(frozenset({1, 2}), frozenset({1, 2}))
    first = TopicImage("t", UUID(int=1), (state(), state(2)))
    before = keeper.agrees(both, [first])
    assert keeper.agrees(both, [first]) == before
    # One partition of the topic.
    moved = TopicImage("t", UUID(int=1), (first.partitions[0], state(1, leader_epoch=9)))
    assert keeper.agrees(both, [moved]) != before
    # More partitions, fewer, other topics.
    grown = TopicImage("t", UUID(int=1), (*moved.partitions, state(2)))
    keeper.agrees(both, [grown])
    keeper.agrees(both, [first, TopicImage("__consumer_offsets", UUID(int=3), (state(),))])
    keeper.agrees(both, [first])
    # The same name made again, even with the same partitions.
    again = TopicImage("t", UUID(int=2), first.partitions)
    assert keeper.agrees(both, [again]) != before


def test_pieces_follow_the_brokers() -> None:
    keeper = Keeper()
    topic = TopicImage("t", UUID(int=1), (state(), state(2)))
    both = Liveness(frozenset({1, 2}), frozenset({1, 2}))
    before = keeper.agrees(both, [topic])
    assert keeper.agrees(Liveness(frozenset({2}), frozenset({2})), [topic]) != before
    assert keeper.agrees(Liveness(frozenset({1, 2}), frozenset({2})), [topic]) != before
    assert keeper.agrees(both, [topic]) == before


def test_what_is_kept_goes_with_its_topic() -> None:
    keeper = Keeper()
    alive = Liveness(frozenset({1}), frozenset({1}))
    topics = [TopicImage(f"t{index}", UUID(int=index), (state(),)) for index in range(50)]
    keeper.agrees(alive, topics)
    keeper.agrees(alive, topics[:1])
    ((_, kept),) = keeper.kept._views.values()
    assert list(kept) == ["t0"]
