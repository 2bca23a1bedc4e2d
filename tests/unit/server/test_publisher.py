"""Committed batches become images, in order, also while something has to be prepared first."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from broker.protocol import metadata_records as rec
from broker.protocol.image import ImageDelta, MetadataImage, image_records
from broker.runtime.committed_images import CommittedImages
from broker.runtime.publisher import MetadataPublisher


@dataclass(frozen=True)
class Batch:
    base_offset: int
    records: tuple[Any, ...]
    epoch: int = 1

    @property
    def last_offset(self) -> int:
        return self.base_offset + max(len(self.records), 1) - 1


def topic(number: int) -> rec.TopicRecord:
    return rec.TopicRecord(name=f"topic-{number}", topic_id=UUID(int=number))


class Watcher:
    """A subscriber that notes offsets and new topics."""

    def __init__(self, publisher: MetadataPublisher) -> None:
        self.seen: list[tuple[int, list[str]]] = []
        publisher.subscribe(self.note)

    def note(self, image: MetadataImage, delta: ImageDelta) -> None:
        self.seen.append((image.offset, [name for name, _ in delta.topics_created]))


def make() -> tuple[MetadataPublisher, Watcher, list[str]]:
    faults: list[str] = []
    publisher = MetadataPublisher(faults.append)
    return publisher, Watcher(publisher), faults


def test_batches_are_published_in_order_with_what_they_changed() -> None:
    publisher, watcher, faults = make()
    publisher.on_committed(Batch(0, (topic(1), topic(2))))
    publisher.on_committed(Batch(2, ()))
    publisher.on_committed(Batch(3, (topic(3),)))
    assert watcher.seen == [(1, ["topic-1", "topic-2"]), (2, []), (3, ["topic-3"])]
    assert sorted(publisher.image.topics) == ["topic-1", "topic-2", "topic-3"]
    assert faults == []


def test_a_snapshot_is_published_as_its_difference() -> None:
    source, _, _ = make()
    source.on_committed(Batch(0, (topic(1), topic(2), topic(3))))
    publisher, watcher, _ = make()
    publisher.on_committed(Batch(0, (topic(1),)))
    publisher.on_snapshot(10, 2, image_records(source.image))
    assert watcher.seen == [(0, ["topic-1"]), (9, ["topic-2", "topic-3"])]
    assert (publisher.image.offset, publisher.image.epoch) == (9, 2)


def test_a_record_that_does_not_fit_stops_everything() -> None:
    publisher, watcher, faults = make()
    publisher.on_committed(Batch(0, (topic(1),)))
    publisher.on_committed(Batch(1, (topic(1),)))
    publisher.on_committed(Batch(2, (topic(2),)))
    assert watcher.seen == [(0, ["topic-1"])]
    (fault,) = faults
    assert "metadata offset 1 cannot be applied" in fault


def test_leader_changes_reach_the_watchers() -> None:
    publisher, _, _ = make()
    leaders: list[int] = []
    publisher.watch_leader(lambda leader: leaders.append(leader.leader_id))
    publisher.on_leader_change(SimpleNamespace(leader_id=2, epoch=1))
    assert leaders == [2]


async def test_waiting_for_an_image() -> None:
    publisher, _, _ = make()
    waiting = asyncio.ensure_future(publisher.wait_until(lambda image: image.offset >= 1, 5000))
    publisher.on_committed(Batch(0, (topic(1),)))
    await asyncio.sleep(0)
    assert not waiting.done()
    publisher.on_committed(Batch(1, (topic(2),)))
    async with asyncio.timeout(60):
        assert await waiting is True
    assert await publisher.wait_until(lambda image: image.offset >= 9, 10) is False
    assert await publisher.wait_until(lambda image: image.offset >= 1, 0) is True


class Preparer:
    """Work for every batch that creates a topic; the test says when it is done."""

    def __init__(self) -> None:
        self.gates: list[asyncio.Event] = []
        self.fails = False

    def __call__(self, image: MetadataImage, delta: ImageDelta) -> Awaitable[None] | None:
        if not delta.topics_created:
            return None
        gate = asyncio.Event()
        self.gates.append(gate)
        return self.work(gate)

    async def work(self, gate: asyncio.Event) -> None:
        await gate.wait()
        if self.fails:
            raise OSError("no space")


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_is_committed_while_something_is_prepared_waits_its_turn() -> None:
    publisher, watcher, _ = make()
    preparer = publisher.prepare = Preparer()
    publisher.on_committed(Batch(0, (topic(1),)))
    publisher.on_committed(Batch(1, ()))
    publisher.on_committed(Batch(2, (topic(2),)))
    await settle()
    assert watcher.seen == []
    assert publisher.image.offset == -1
    preparer.gates[0].set()
    await settle()
    assert watcher.seen == [(0, ["topic-1"]), (1, [])]
    preparer.gates[1].set()
    await settle()
    assert watcher.seen[2:] == [(2, ["topic-2"])]
    publisher.on_committed(Batch(3, ()))
    assert publisher.image.offset == 3, "nothing to prepare: published at once again"


async def test_preparation_that_fails_stops_everything_and_closing_ends_it() -> None:
    publisher, watcher, faults = make()
    preparer = publisher.prepare = Preparer()
    preparer.fails = True
    publisher.on_committed(Batch(0, (topic(1),)))
    await settle()
    preparer.gates[0].set()
    await settle()
    assert watcher.seen == []
    assert "no space" in faults[0]
    closing, watcher, faults = make()
    closing.prepare = Preparer()
    closing.on_committed(Batch(0, (topic(1),)))
    await settle()
    await closing.close()
    closing.on_committed(Batch(1, ()))
    assert watcher.seen == []
    assert faults == []


def many_partitions(count: int) -> tuple[Any, ...]:
    return (
        topic(1),
        *(
            rec.PartitionRecord(
                partition_id=index, topic_id=UUID(int=1), replicas=(1,), isr=(1,), leader=1
            )
            for index in range(count)
        ),
    )


async def test_a_change_of_many_partitions_is_published_in_pieces_between_which_others_run() -> (
    None
):
    publisher, watcher, faults = make()
    pieces: list[tuple[int, list[int], int]] = []
    turns = 0

    def note(image: MetadataImage, delta: ImageDelta) -> None:
        indexes = [index for _, index, _, _ in delta.partitions_changed]
        pieces.append((image.offset, indexes, publisher.image.offset))

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    publisher.subscribe(note)
    work = publisher.on_committed(Batch(0, many_partitions(500)))
    assert work is not None, "so many records are not applied in one turn"
    assert sum(1 for _ in work) > 5
    beside = asyncio.ensure_future(others())
    later = publisher.on_committed(Batch(501, (topic(2),)))
    assert later is None
    assert await publisher.wait_until(lambda image: image.offset == 501, 60_000)
    beside.cancel()
    assert turns > 10
    assert max(len(indexes) for _, indexes, _ in pieces) <= 32
    assert [index for _, indexes, _ in pieces for index in indexes] == list(range(500))
    assert {offset for offset, _, _ in pieces[:-1]} == {500}
    assert [published for _, _, published in pieces[:-2]] == [-1] * (len(pieces) - 2)
    assert watcher.seen[0] == (500, ["topic-1"]), "the topic comes with its first partitions"
    assert watcher.seen[-1] == (501, ["topic-2"]), "what is committed meanwhile waits its turn"
    assert faults == []


def test_two_that_follow_one_log_apply_each_batch_once() -> None:
    images = CommittedImages()
    first, second = (MetadataPublisher(lambda reason: None, images) for _ in range(2))
    for batch in (Batch(0, (topic(1),)), Batch(1, (topic(2),))):
        first.on_committed(batch)
        second.on_committed(batch)
        assert second.image is first.image
    late, _, _ = make()
    late.on_committed(Batch(0, (topic(3),)))
    first.on_committed(Batch(2, (topic(4),)))
    assert sorted(first.image.topics) == ["topic-1", "topic-2", "topic-4"]
    assert sorted(late.image.topics) == ["topic-3"]
