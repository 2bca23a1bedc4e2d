"""Long work of the feed: keys are not kept waiting, and nothing half-done is ever shown."""

import asyncio
import gc
import time
import uuid
from typing import Self

from broker.protocol import metadata_records as rec
from broker.protocol.image import delta_between, image_records, same_contents
from clusters.watch import ClusterFeed, Entry, EventKind, Projector
from clusters.watch.differences import Stamp, comparing, events_of
from clusters.watch.slices import at_once

TOPICS, PARTITIONS = 30, 100
WHOLE = TOPICS * PARTITIONS
# Processor time, so that a busy machine does not count; a turn of all took 200 ms.
TURN_S_MAX = 0.02
IDS = [uuid.UUID(int=100 + number) for number in range(TOPICS)]


def creation() -> list:
    return [
        record
        for number, topic_id in enumerate(IDS)
        for record in [
            rec.TopicRecord(name=f"t{number:02}", topic_id=topic_id),
            *(
                rec.PartitionRecord(
                    partition_id=index, topic_id=topic_id, replicas=(1, 2, 3), isr=(1, 2, 3),
                    removing_replicas=(), adding_replicas=(), leader=1, leader_epoch=0,
                    partition_epoch=0, directories=(),
                )
                for index in range(PARTITIONS)
            ),
        ]
    ]  # fmt: skip


def moves(leader: int) -> list:
    return [
        rec.PartitionChangeRecord(partition_id=index, topic_id=topic_id, leader=leader)
        for topic_id in IDS
        for index in range(PARTITIONS)
    ]


class Turns:
    """The longest turn of the event loop, in seconds of the processor."""

    async def __aenter__(self) -> Self:
        gc.collect()
        gc.disable()  # that is the dashboard's own business
        self.longest_s = 0.0
        self._task = asyncio.ensure_future(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        gc.enable()

    async def _watch(self) -> None:
        while True:
            began_s = time.thread_time()
            await asyncio.sleep(0)
            self.longest_s = max(self.longest_s, time.thread_time() - began_s)


async def test_a_batch_of_thousands_takes_short_turns_and_is_shown_whole(fake_cluster):
    fake_cluster.append(*creation())
    async with ClusterFeed(fake_cluster.bootstrap) as feed:
        updates = feed.updates()
        while (await anext(updates)).status.mode != "live":
            pass
        # As of a broker that died, and a transaction that is cut into batches (KIP-868).
        half = moves(3)
        fake_cluster.append(*moves(2))
        fake_cluster.append(rec.BeginTransactionRecord(name="x"), *half[: WHOLE // 2])
        fake_cluster.append(*half[WHOLE // 2 :], rec.EndTransactionRecord())
        told, shown = [], set()
        async with Turns() as turns, asyncio.timeout(60):
            while len(told) < 2 * WHOLE:
                update = await anext(updates)
                told += update.events
                leaders = [state.leader for _, _, state in update.image.iter_partitions()]
                shown.add(frozenset(leaders))
                seen = [state.leader for _, _, state in feed.image.iter_partitions()]
                shown.add(frozenset(seen))
    assert turns.longest_s < TURN_S_MAX
    assert shown <= {frozenset({1}), frozenset({2}), frozenset({3})}
    assert [event.kind for event in told] == [EventKind.LEADER_MOVED] * 2 * WHOLE
    assert [event.offset for event in told] == sorted({event.offset for event in told})


async def test_what_came_before_a_damaged_batch_is_told_once(fake_cluster, monkeypatch):
    """The place behind it is never asked for again."""
    fake_cluster.append(*creation()[: PARTITIONS + 1])
    async with ClusterFeed(fake_cluster.bootstrap) as feed:
        updates = feed.updates()
        while (await anext(updates)).status.mode != "live":
            pass
        first = fake_cluster.append(*moves(2)[:3])
        fake_cluster.append(*moves(3)[:1])
        base, last, good = fake_cluster.batches[-1]
        fake_cluster.batches[-1] = (base, last, good[:-1] + bytes([good[-1] ^ 1]))
        told, reasons = [], []
        async with asyncio.timeout(60):
            while len(told) < 4:
                update = await anext(updates)
                told += update.events
                reasons.append(update.status.message)
                if "checksum" in update.status.message:
                    fake_cluster.batches[-1] = (base, last, good)
    assert any(f"the batch at offset {base} has a wrong checksum" in each for each in reasons)
    moved = [(event.offset, event.partition, event.after) for event in told]
    assert moved == [(first, 0, 2), (first + 1, 1, 2), (first + 2, 2, 2), (base, 0, 3)]


def test_a_comparison_in_slices_tells_what_one_at_once_tells():
    before, after = Projector(), Projector()
    records = creation()
    before.apply_batch([Entry(i, 1, 5, each) for i, each in enumerate(records)])
    later = [
        *records[: -(PARTITIONS + 1)],
        *moves(2)[: WHOLE // 3],
        rec.RemoveTopicRecord(topic_id=IDS[3]),
        rec.ConfigRecord(resource_type=2, resource_name="t01", name="k", value="1"),
        rec.TopicRecord(name="zz", topic_id=uuid.UUID(int=9)),
    ]
    after.apply_batch([Entry(i, 1, 5, each) for i, each in enumerate(later)])
    stamp = Stamp(7, 9)
    delta = delta_between(before.image, after.image)
    expected = events_of(before.image, after.image, delta, lambda _: stamp)
    assert at_once(comparing(before.image, after.image, stamp)) == expected
    assert len(expected) > WHOLE // 4
    assert at_once(comparing(after.image, after.image, stamp)) == []
    loaded = Projector()
    loaded.load_snapshot(len(later), 1, 5, image_records(after.image))
    assert same_contents(loaded.image, after.image)
