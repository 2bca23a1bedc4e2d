"""The projector: events mean what happened, and no cut or reconnect changes them."""

import random
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.protocol import metadata_records as rec
from broker.protocol.batch import Record, encode_batch, encode_leader_change
from broker.protocol.image import EMPTY_IMAGE, apply, image_records, same_contents
from broker.protocol.metadata_records import encode_record
from broker.protocol.struct import ZERO_UUID
from clusters.watch.events import EventKind, iso_time
from clusters.watch.log_reader import read_committed
from clusters.watch.projector import Entry, ProjectionError, Projector


def topic_id(number: int) -> uuid.UUID:
    return uuid.UUID(int=100 + number)


def register(node: int, epoch: int, incarnation: int, fenced: bool = True):
    return rec.RegisterBrokerRecord(
        broker_id=node,
        incarnation_id=uuid.UUID(int=incarnation),
        broker_epoch=epoch,
        end_points=(rec.BrokerEndpoint(name="P", host="h", port=9000 + node, security_protocol=0),),
        features=(),
        rack=None,
        fenced=fenced,
    )


def new_partition(topic: int, index: int, replicas=(1, 2, 3)):
    return rec.PartitionRecord(
        partition_id=index,
        topic_id=topic_id(topic),
        replicas=replicas,
        isr=replicas,
        removing_replicas=(),
        adding_replicas=(),
        leader=replicas[0],
        leader_epoch=0,
        partition_epoch=0,
        directories=(),
    )


def change(topic: int, index: int, **fields):
    return rec.PartitionChangeRecord(partition_id=index, topic_id=topic_id(topic), **fields)


def create(topic: int, partitions: int):
    return [
        rec.TopicRecord(name=f"t{topic}", topic_id=topic_id(topic)),
        rec.ConfigRecord(
            resource_type=2, resource_name=f"t{topic}", name="retention.ms", value="9"
        ),
        *(new_partition(topic, index) for index in range(partitions)),
    ]


def project(*decisions):
    projector, events, offset = Projector(), [], 0
    for decision in decisions:
        entries = [
            Entry(offset + i, 1, 1_000 + offset + i, record) for i, record in enumerate(decision)
        ]
        events += projector.apply_batch(entries)
        offset += len(decision)
    return projector, events


def test_a_topic_is_created_with_its_size_at_its_own_offset():
    _, events = project([rec.NoOpRecord()], create(1, 3))
    assert [(each.kind, each.offset) for each in events] == [
        (EventKind.TOPIC_CREATED, 1),
        (EventKind.CONFIG_CHANGED, 2),
    ]
    assert events[0].after == {"partitions": 3, "replication_factor": 3}
    assert events[1].after == "retention.ms=9"


def test_a_topic_with_a_record_between_that_is_not_known_is_created_whole():
    topic, setting, *partitions = create(1, 3)
    # As Apache Kafka 4 writes it: ClearElrRecord before the partitions (KIP-966).
    unknown = rec.UnknownRecord(api_key=28, version=0, body=b"")
    _, events = project([topic, setting, unknown, *partitions])
    assert [(e.kind, e.topic) for e in events] == [
        (EventKind.TOPIC_CREATED, "t1"),
        (EventKind.CONFIG_CHANGED, "t1"),
    ]
    assert events[0].after == {"partitions": 3, "replication_factor": 3}


def test_a_leader_move_and_a_shrink_tell_before_after_and_epochs():
    _, events = project(create(1, 1), [change(1, 0, leader=2, isr=(2, 3))])
    moved, shrunk = events[-2:]
    assert (moved.kind, moved.before, moved.after) == (EventKind.LEADER_MOVED, 1, 2)
    assert (moved.topic, moved.partition, moved.leader_epoch, moved.partition_epoch) == (
        "t1",
        0,
        1,
        1,
    )
    assert (shrunk.kind, shrunk.before, shrunk.after) == (
        EventKind.ISR_SHRUNK,
        [1, 2, 3],
        [2, 3],
    )
    assert list(moved.to_json()) == [
        "at", "offset", "kind", "topic", "partition", "broker", "before", "after",
        "leader_epoch", "partition_epoch",
    ]  # fmt: skip
    assert moved.to_json()["at"] == iso_time(1_000 + moved.offset)


def test_two_changes_of_one_partition_in_one_batch_are_two_events():
    _, events = project(create(1, 1), [change(1, 0, isr=(1, 2)), change(1, 0, isr=(1, 2, 3))])
    assert [(each.kind, each.offset) for each in events[-2:]] == [
        (EventKind.ISR_SHRUNK, 3),
        (EventKind.ISR_EXPANDED, 4),
    ]


def test_a_move_in_one_change_never_shows_a_partition_without_any_in_sync():
    _, events = project(create(1, 1), [change(1, 0, isr=(1,))], [change(1, 0, leader=3, isr=(3,))])
    assert [(each.kind, each.before, each.after) for each in events[-2:]] == [
        (EventKind.ISR_EXPANDED, [1], [1, 3]),
        (EventKind.ISR_SHRUNK, [1, 3], [3]),
    ]


def test_a_broker_that_comes_back_joins_fenced_and_is_unfenced():
    _, events = project(
        [register(1, 0, 1)],
        [rec.UnfenceBrokerRecord(id=1, epoch=0)],
        [register(1, 2, 2)],
        [rec.BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=2, fenced=-1)],
        [rec.UnregisterBrokerRecord(broker_id=1, broker_epoch=2)],
    )
    assert [each.kind for each in events] == [
        EventKind.BROKER_JOINED,
        EventKind.BROKER_UNFENCED,
        EventKind.BROKER_JOINED,
        EventKind.BROKER_FENCED,
        EventKind.BROKER_UNFENCED,
        EventKind.BROKER_LEFT,
    ]
    assert {each.broker for each in events} == {1}


def test_growth_deletion_and_settings():
    _, events = project(
        create(1, 1),
        [new_partition(1, 1), new_partition(1, 2)],
        [rec.ConfigRecord(resource_type=2, resource_name="t1", name="retention.ms", value=None)],
        [rec.ConfigRecord(resource_type=4, resource_name="3", name="ssl.key.password", value="pw")],
        [rec.RemoveTopicRecord(topic_id=topic_id(1))],
    )
    added, unset, secret, deleted = events[2:]
    assert (added.kind, added.before, added.after) == (EventKind.PARTITIONS_ADDED, 1, 3)
    assert (unset.before, unset.after) == ("retention.ms=9", None)
    assert (secret.broker, secret.after) == (3, "ssl.key.password=(hidden)")
    assert (deleted.kind, deleted.before) == (
        EventKind.TOPIC_DELETED,
        {"partitions": 3, "replication_factor": 3},
    )


def test_a_transaction_takes_effect_as_a_whole_or_not_at_all():
    projector, events = project(
        [rec.BeginTransactionRecord(name="x")],
        create(1, 1),
        [rec.AbortTransactionRecord(reason="")],
    )
    assert (events, projector.image.topics) == ([], {})
    projector, events = project(
        [rec.BeginTransactionRecord(name="x")],
        create(1, 1)[:2],
        create(1, 1)[2:],
        [rec.EndTransactionRecord()],
    )
    assert events[0].after == {"partitions": 1, "replication_factor": 3}


def test_a_batch_that_straddles_the_place_reached_is_applied_from_there_on():
    entries = [
        Entry(i, 1, i, record)
        for i, record in enumerate(
            [*create(1, 1), change(1, 0, isr=(1, 2)), change(1, 0, isr=(1, 2, 3))]
        )
    ]
    whole, cut = Projector(), Projector()
    expected = whole.apply_batch(entries)
    events = cut.apply_batch(entries[:4])
    events += cut.apply_batch(entries[2:])
    assert events == expected
    assert same_contents(cut.image, whole.image)
    assert cut.image.partition("t1", 0).partition_epoch == 2


def test_a_gap_is_never_passed_over():
    projector = Projector()
    with pytest.raises(ProjectionError, match="continues at offset 5, expected 0"):
        projector.apply_batch([Entry(5, 1, 0, rec.NoOpRecord())])


def history(seed: int, steps: int) -> list[list]:
    """Random decisions, each valid after the ones before."""
    rng = random.Random(seed)
    decisions: list[list] = []
    topics: dict[int, list[tuple[int, ...]]] = {}
    brokers: dict[int, int] = {}
    offset = topic_count = 0
    for _ in range(steps):
        kind = rng.randrange(8)
        records: list = [rec.NoOpRecord()]
        if kind == 0 or not topics:
            topic_count += 1
            count = rng.randint(1, 4)
            topics[topic_count] = [(1, 2, 3)] * count
            records = create(topic_count, count)
        elif kind in {1, 2, 3}:
            records = []
            for _ in range(rng.randint(1, 4)):
                topic = rng.choice(sorted(topics))
                index = rng.randrange(len(topics[topic]))
                isr = tuple(sorted(rng.sample((1, 2, 3), rng.randint(1, 3))))
                leader = rng.choice([*isr, -2])
                records.append(change(topic, index, isr=isr, leader=leader))
        elif kind == 4:
            topic = rng.choice(sorted(topics))
            records = [new_partition(topic, len(topics[topic]))]
            topics[topic].append((1, 2, 3))
        elif kind == 5:
            topic = rng.choice(sorted(topics))
            value = rng.choice(["1", "2", None])
            records = [
                rec.ConfigRecord(resource_type=2, resource_name=f"t{topic}", name="k", value=value)
            ]
        elif kind == 6:
            node = rng.randint(1, 3)
            if node in brokers and rng.random() < 0.6:
                record = rng.choice([rec.FenceBrokerRecord, rec.UnfenceBrokerRecord])
                records = [record(id=node, epoch=brokers[node])]
            else:
                records = [register(node, offset, offset)]
                brokers[node] = offset
        elif len(topics) > 1:
            topic = rng.choice(sorted(topics))
            del topics[topic]
            records = [rec.RemoveTopicRecord(topic_id=topic_id(topic))]
        decisions.append(records)
        offset += len(records)
    return decisions


def encoded(decisions: list[list], rng: random.Random) -> list[tuple[int, bytes]]:
    """(last offset, bytes) of batches, with leader changes strewn in."""
    batches, offset, epoch = [], 0, 1
    for records in decisions:
        if rng.random() < 0.2:
            epoch += 1
            content = encode_leader_change(
                base_offset=offset,
                leader_epoch=epoch,
                timestamp_ms=offset,
                leader_id=epoch % 3,
                voters={1: ZERO_UUID},
                granting_voters={},
            )
            batches.append((offset, content))
            offset += 1
        content = encode_batch(
            [
                Record(offset + i, 1_000 + offset + i, None, encode_record(record))
                for i, record in enumerate(records)
            ],
            base_offset=offset,
            leader_epoch=epoch,
        )
        offset += len(records)
        batches.append((offset - 1, content))
    return batches


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_no_cut_and_no_reconnect_changes_image_or_events(seed, steps):
    rng = random.Random(seed)
    decisions = history(seed, steps)
    batches = encoded(decisions, rng)
    whole = Projector()
    expected = read_committed(
        whole, b"".join(content for _, content in batches), batches[-1][0] + 1
    )
    cut, events = Projector(), []
    while cut.next_offset <= batches[-1][0]:
        # An answer starts with the batch that holds the offset, or further back after a reconnect,
        # is torn anywhere at its end, and tells a high watermark that may lag behind it.
        first = next(i for i, (last, _) in enumerate(batches) if last >= cut.next_offset)
        first = max(0, first - rng.randint(0, 2))
        answer = b"".join(content for _, content in batches[first : first + rng.randint(1, 6)])
        answer = answer[: len(answer) - rng.choice([0, 0, 1, 30])]
        high_watermark = rng.randint(0, batches[-1][0] + 1)
        events += read_committed(cut, answer, high_watermark)
        assert cut.next_offset <= max(high_watermark, cut.next_offset)
        assert cut.image.offset < cut.next_offset
    assert same_contents(cut.image, whole.image)
    assert events == expected
    assert [each.offset for each in events] == sorted(each.offset for each in events)
    # The image is what applying the records plainly gives.
    plain, offset = EMPTY_IMAGE, 0
    for records in decisions:
        plain, _ = apply(plain, offset, 1, records)
        offset += len(records)
    assert same_contents(plain, whole.image)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 30), st.integers(1, 7))
def test_cuts_anywhere_between_records_give_the_same_image(seed, steps, size):
    records = [record for decision in history(seed, steps) for record in decision]
    whole = Projector()
    whole.apply_batch([Entry(i, 1, i, record) for i, record in enumerate(records)])
    cut = Projector()
    for start in range(0, len(records), size):
        part = records[start : start + size]
        cut.apply_batch([Entry(start + i, 1, i, record) for i, record in enumerate(part)])
    assert same_contents(cut.image, whole.image)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 30))
def test_a_snapshot_tells_the_net_difference(seed, steps):
    decisions = history(seed, steps)
    full, _ = project(*decisions)
    half, _ = project(*decisions[: steps // 2])
    end_offset = full.next_offset
    events = half.load_snapshot(end_offset, 1, 5, image_records(full.image))
    assert same_contents(half.image, full.image)
    assert half.next_offset == end_offset
    assert all(each.offset == end_offset - 1 for each in events)
    assert half.load_snapshot(end_offset, 1, 5, image_records(full.image)) == []
