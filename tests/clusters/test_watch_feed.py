"""The feed: follows the metadata log, moves on when a controller dies, misses and repeats nothing."""

import asyncio
import uuid
from contextlib import asynccontextmanager

import pytest

from broker.protocol import metadata_records as rec
from broker.protocol.api_keys import ApiKey
from broker.protocol.batch import (
    Record,
    encode_batch,
    encode_snapshot_footer,
    encode_snapshot_header,
)
from broker.protocol.errors import ErrorCode
from broker.protocol.metadata_records import encode_record
from clusters.watch import ClusterFeed, EventKind
from tests.own_time import own_s

ID = uuid.UUID(int=5)


def topic():
    return [
        rec.TopicRecord(name="orders", topic_id=ID),
        rec.PartitionRecord(
            partition_id=0,
            topic_id=ID,
            replicas=(1, 2, 3),
            isr=(1, 2, 3),
            removing_replicas=(),
            adding_replicas=(),
            leader=1,
            leader_epoch=0,
            partition_epoch=0,
            directories=(),
        ),
    ]


def change(**fields):
    return rec.PartitionChangeRecord(partition_id=0, topic_id=ID, **fields)


class Watcher:
    """Collects updates; every wait has a limit."""

    def __init__(self, feed):
        self.feed, self.updates = feed, []
        self._changed = asyncio.Event()
        self._task = asyncio.ensure_future(self._collect())

    async def _collect(self):
        async for update in self.feed.updates():
            self.updates.append(update)
            self._changed.set()

    @property
    def events(self):
        return [event for update in self.updates for event in update.events]

    async def until(self, condition, seconds=60.0):
        async with asyncio.timeout(seconds):
            while True:
                self._changed.clear()
                found = next((update for update in self.updates if condition(update)), None)
                if found is not None:
                    return found
                await self._changed.wait()

    async def event(self, kind, seconds=60.0):
        await self.until(lambda update: any(e.kind == kind for e in update.events), seconds)
        return next(event for event in self.events if event.kind == kind)

    async def live(self, seconds=60.0):
        return await self.until(lambda update: update.status.mode == "live", seconds)


@asynccontextmanager
async def watching(bootstrap, **options):
    async with ClusterFeed(bootstrap, **options) as feed:
        watcher = Watcher(feed)
        try:
            yield watcher
        finally:
            watcher._task.cancel()


async def test_the_first_live_update_is_the_state_and_then_come_events_at_once(fake_cluster):
    fake_cluster.elect(1)
    fake_cluster.append(*topic())
    async with watching(fake_cluster.bootstrap) as watcher:
        first = await watcher.live()
        assert first.image.partition("orders", 0).leader == 1
        assert (first.events, first.replaying) == ((), False)
        assert first.status.source == fake_cluster.controllers[1].address
        assert first.status.controller_id == 1
        began = own_s()
        offset = fake_cluster.append(change(leader=2, isr=(2, 3)))
        moved = await watcher.event(EventKind.LEADER_MOVED)
        assert own_s() - began < 0.5
        assert (moved.offset, moved.before, moved.after) == (offset, 1, 2)
        assert watcher.feed.image.partition("orders", 0).leader == 2


async def test_nothing_uncommitted_is_told(fake_cluster):
    fake_cluster.append(*topic())
    async with watching(fake_cluster.bootstrap) as watcher:
        await watcher.live()
        fake_cluster.append(change(leader=2), commit=False)
        with pytest.raises(TimeoutError):
            await watcher.event(EventKind.LEADER_MOVED, seconds=0.3)
        fake_cluster.commit()
        await watcher.event(EventKind.LEADER_MOVED)


async def test_from_start_replays_history_and_says_so(fake_cluster):
    fake_cluster.append(*topic())
    fake_cluster.append(change(leader=2))
    async with watching(fake_cluster.bootstrap, from_start=True) as watcher:
        await watcher.live()
        assert [event.kind for event in watcher.events] == [
            EventKind.TOPIC_CREATED,
            EventKind.LEADER_MOVED,
        ]
        assert all(update.replaying for update in watcher.updates if update.events)
        fake_cluster.append(change(leader=3))
        await watcher.until(lambda update: update.events and not update.replaying)


async def test_a_dead_controller_is_replaced_without_missing_or_repeating(fake_cluster):
    fake_cluster.append(*topic())
    async with watching(fake_cluster.bootstrap) as watcher:
        await watcher.live()
        fake_cluster.append(change(leader=2))
        await watcher.event(EventKind.LEADER_MOVED)
        old = fake_cluster.controllers[1].address
        began = own_s()
        await fake_cluster.controllers[1].stop()
        lost = await watcher.until(
            lambda update: update.status.mode != "live" and update.image.topics
        )
        assert own_s() - began < 1
        assert old in lost.status.message
        fake_cluster.elect(3)
        fake_cluster.append(change(leader=3))
        await watcher.until(
            lambda update: any(
                event.after == 3 and event.kind == EventKind.LEADER_MOVED for event in update.events
            )
        )
        status = watcher.feed.status
        assert status.source == fake_cluster.controllers[3].address
        assert status.controller_id == 3
        assert "moved from" in status.message
        assert old in status.message
        assert [(event.kind, event.after) for event in watcher.events] == [
            (EventKind.LEADER_MOVED, 2),
            (EventKind.CONTROLLER_CHANGED, 3),
            (EventKind.LEADER_MOVED, 3),
        ]


async def test_a_controller_that_hangs_is_noticed_within_about_a_second(fake_cluster):
    fake_cluster.append(*topic())
    async with watching(fake_cluster.bootstrap) as watcher:
        await watcher.live()
        began = own_s()
        fake_cluster.controllers[1].silent = True
        await watcher.until(lambda update: update.status.mode != "live" and update.image.topics)
        assert own_s() - began < 1.6
        fake_cluster.elect(2)
        await watcher.event(EventKind.CONTROLLER_CHANGED)


async def test_the_controller_that_is_named_as_lost_is_the_one_that_was_followed(fake_cluster):
    """Also where the feed went on at it without losing the one before first."""
    fake_cluster.append(*topic())
    async with watching(fake_cluster.bootstrap) as watcher:
        await watcher.live()
        fake_cluster.controllers[1].silent = True
        fake_cluster.elect(2)
        second = fake_cluster.controllers[2].address
        await watcher.until(
            lambda update: update.status.mode == "live" and update.status.source == second
        )
        seen = len(watcher.updates)
        await fake_cluster.controllers[2].stop()
        await watcher.until(
            lambda _: any(each.status.mode == "connecting" for each in watcher.updates[seen:])
        )
        messages = [update.status.message for update in watcher.updates[seen:]]
        assert any(message.startswith(f"{second}: ") for message in messages), messages
        fake_cluster.elect(3)
        third = fake_cluster.controllers[3].address
        moved = await watcher.until(lambda update: update.status.source == third)
        assert f"moved from {second} to {third}" in moved.status.message


async def test_late_answers_are_told_as_slow_and_nothing_is_given_up(fake_cluster):
    fake_cluster.append(*topic())
    async with watching(fake_cluster.bootstrap) as watcher:
        await watcher.live()
        fake_cluster.controllers[1].delay_s = 1.2
        slow = await watcher.until(lambda update: update.status.mode == "slow")
        assert fake_cluster.controllers[1].address in slow.status.message
        assert "late" in slow.status.message
        fake_cluster.append(change(leader=2))
        await watcher.event(EventKind.LEADER_MOVED)
        fake_cluster.append(change(leader=3))
        await watcher.until(lambda update: any(event.after == 3 for event in update.events))
        fake_cluster.controllers[1].delay_s = 0.0
        fake_cluster.append(change(leader=1))
        await watcher.until(lambda update: any(event.after == 1 for event in update.events))
        fake_cluster.append(change(leader=2))
        await watcher.until(
            lambda update: update.status.mode == "live" and len(watcher.events) == 4
        )
        assert {update.status.mode for update in watcher.updates} == {"live", "slow"}
        assert [event.after for event in watcher.events] == [2, 3, 1, 2]


async def test_a_dead_bootstrap_broker_is_passed_over_and_named(fake_cluster):
    dead = fake_cluster.brokers[1].address
    await fake_cluster.brokers[1].stop()
    async with watching(fake_cluster.bootstrap) as watcher:
        live = await watcher.live()
        assert live.status.mode == "live"
    async with watching([dead]) as watcher:
        lost = await watcher.until(lambda update: update.status.mode == "lost")
        assert dead in lost.status.message
        assert "refused" in lost.status.message


async def test_when_everything_is_gone_it_says_so_and_comes_back(fake_cluster):
    fake_cluster.append(*topic())
    async with watching(fake_cluster.bootstrap) as watcher:
        await watcher.live()
        await fake_cluster.stop()
        lost = await watcher.until(lambda update: update.status.mode == "lost")
        assert lost.image.partition("orders", 0) is not None
        for server in [*fake_cluster.brokers.values(), *fake_cluster.controllers.values()]:
            await server.start()
        fake_cluster.append(change(leader=2))
        await watcher.event(EventKind.LEADER_MOVED)
        assert len(watcher.events) == 1


async def test_a_long_election_is_waited_for_and_misses_nothing(fake_cluster, monkeypatch):
    """Brokers that know no leader of the quorum cannot say where the controllers are."""
    monkeypatch.setattr("clusters.watch.feed.REDISCOVER_MS", 100)
    fake_cluster.append(*topic())
    async with watching(fake_cluster.bootstrap) as watcher:
        await watcher.live()
        await fake_cluster.controllers[1].stop()
        fake_cluster.leader_id = -1
        fake_cluster.quorum_error = ErrorCode.broker_not_available
        asked = len(fake_cluster.brokers[2].requests)
        async with asyncio.timeout(10):
            while len(fake_cluster.brokers[2].requests) < asked + 12:
                await asyncio.sleep(0.01)
        assert watcher.feed.status.mode == "connecting"
        fake_cluster.elect(3)
        fake_cluster.append(change(leader=3))
        await watcher.event(EventKind.LEADER_MOVED)
        assert {update.status.mode for update in watcher.updates} == {"connecting", "live"}
        kinds = [event.kind for event in watcher.events]
        assert kinds == [EventKind.CONTROLLER_CHANGED, EventKind.LEADER_MOVED]


def trim_to_a_snapshot(cluster, records):
    """The log is gone up to its end; a snapshot holds `records`, without who leads."""
    epoch = cluster.epoch
    content = b"".join(
        [
            encode_snapshot_header(
                base_offset=0, leader_epoch=epoch, timestamp_ms=1, last_contained_log_timestamp=1
            ),
            encode_batch(
                [Record(1 + i, 1, None, encode_record(each)) for i, each in enumerate(records)],
                base_offset=1,
                leader_epoch=epoch,
            ),
            encode_snapshot_footer(
                base_offset=1 + len(records), leader_epoch=epoch, timestamp_ms=1
            ),
        ]
    )
    cluster.snapshot = (cluster.end_offset, epoch, content)
    cluster.log_start = cluster.end_offset
    cluster.batches.clear()


async def test_a_trimmed_log_starts_from_its_snapshot(fake_cluster):
    fake_cluster.append(*topic())
    end = fake_cluster.end_offset
    trim_to_a_snapshot(fake_cluster, topic())
    async with watching(fake_cluster.bootstrap) as watcher:
        first = await watcher.live()
        assert first.image.partition("orders", 0).replicas == (1, 2, 3)
        assert first.status.controller_id == 1, "the answer told, the snapshot cannot"
        assert watcher.events == []
        fake_cluster.append(change(leader=3))
        moved = await watcher.event(EventKind.LEADER_MOVED)
        assert moved.offset == end


async def test_what_is_still_being_caught_up_with_is_not_called_live(fake_cluster):
    """After a pause there may be a snapshot to load, or more than one answer to read."""
    fake_cluster.append(*topic())
    async with watching(fake_cluster.bootstrap) as watcher:
        await watcher.live()
        await fake_cluster.stop()
        fake_cluster.append(change(leader=2))
        trim_to_a_snapshot(fake_cluster, [*topic(), change(leader=2)])
        fake_cluster.append(change(leader=3))
        end = fake_cluster.end_offset
        seen = len(watcher.updates)
        for server in [*fake_cluster.brokers.values(), *fake_cluster.controllers.values()]:
            await server.start()
        await watcher.until(lambda update: update.image.offset == end - 1)
        await watcher.until(lambda _: watcher.updates[-1].status.mode == "live")
        for update in watcher.updates[seen:]:
            assert update.status.mode != "live" or update.image.offset == end - 1
        moves = [each.after for each in watcher.events if each.kind == EventKind.LEADER_MOVED]
        assert moves == [2, 3]


async def test_a_snapshot_on_the_same_connection_is_not_the_end_of_the_log(fake_cluster):
    fake_cluster.append(*topic())
    server, gate = fake_cluster.controllers[1], asyncio.Event()
    whole = server.handlers[ApiKey.FETCH]
    asked = 0

    async def gated(body, version):
        nonlocal asked
        asked += 1
        await gate.wait()
        if asked == 2:
            fake_cluster.append(change(leader=1))
            trim_to_a_snapshot(fake_cluster, [*topic(), change(leader=2), change(leader=1)])
            fake_cluster.append(change(leader=3))
        return await whole(body, version)

    async with watching(fake_cluster.bootstrap) as watcher:
        await watcher.live()
        server.handlers[ApiKey.FETCH] = gated
        await watcher.until(lambda update: update.status.mode == "slow")
        seen = len(watcher.updates)
        fake_cluster.append(change(leader=2))
        gate.set()
        await watcher.until(lambda update: update.image.partition("orders", 0).leader == 3)
        await watcher.until(lambda _: watcher.updates[-1].status.mode == "live")
        for update in watcher.updates[seen:]:
            leader = update.image.partition("orders", 0).leader
            assert update.status.mode != "live" or leader == 3
        assert [each.after for each in watcher.events] == [2, 1, 3]


async def test_an_answer_that_is_not_all_there_is_makes_nothing_live(fake_cluster):
    """Brokers answer with one segment at a time, however little is in it."""
    fake_cluster.append(*topic())
    whole = fake_cluster.controllers[1].handlers[ApiKey.FETCH]

    async def one_batch(body, version):
        answer = await whole(body, version)
        offset = body.topics[0].partitions[0].fetch_offset
        left = [content for _, last, content in fake_cluster.batches if last >= offset]
        answer.responses[0].partitions[0].records = b"".join(left[:1])
        return answer

    async with watching(fake_cluster.bootstrap) as watcher:
        await watcher.live()
        for server in fake_cluster.controllers.values():
            server.handlers[ApiKey.FETCH] = one_batch
        await fake_cluster.stop()
        leaders = [2, 3, 1, 2, 3]
        for leader in leaders:
            fake_cluster.append(change(leader=leader))
        seen, end = len(watcher.updates), fake_cluster.end_offset
        for server in [*fake_cluster.brokers.values(), *fake_cluster.controllers.values()]:
            await server.start()
        await watcher.until(lambda update: update.image.offset == end - 1)
        await watcher.until(lambda _: watcher.updates[-1].status.mode == "live")
        for update in watcher.updates[seen:]:
            assert update.status.mode != "live" or update.image.offset == end - 1
        assert [event.after for event in watcher.events] == leaders


async def test_a_jump_over_a_snapshot_tells_the_new_controller(fake_cluster):
    fake_cluster.elect(1)
    fake_cluster.append(*topic())
    async with watching(fake_cluster.bootstrap) as watcher:
        first = await watcher.live()
        assert first.status.controller_id == 1
        await fake_cluster.stop()
        end = fake_cluster.elect(2) + 1
        trim_to_a_snapshot(fake_cluster, topic())
        for server in [*fake_cluster.brokers.values(), *fake_cluster.controllers.values()]:
            await server.start()
        told = await watcher.event(EventKind.CONTROLLER_CHANGED)
        assert (told.offset, told.before, told.after) == (end - 1, 1, 2)
        status = watcher.feed.status
        assert (status.controller_id, status.controller_epoch) == (2, fake_cluster.epoch)
        fake_cluster.append(change(leader=3))
        await watcher.event(EventKind.LEADER_MOVED)
        assert len(watcher.events) == 2


async def test_a_cluster_made_anew_is_read_from_the_beginning(fake_cluster):
    fake_cluster.append(*topic())
    fake_cluster.append(change(leader=2))
    async with watching(fake_cluster.bootstrap) as watcher:
        await watcher.live()
        await fake_cluster.controllers[1].stop()
        fake_cluster.batches.clear()
        fake_cluster.end_offset = fake_cluster.high_watermark = 0
        fake_cluster.append(rec.NoOpRecord())
        await fake_cluster.controllers[1].start()
        deleted = await watcher.event(EventKind.TOPIC_DELETED)
        assert deleted.topic == "orders"
        assert watcher.feed.image.topics == {}


@pytest.mark.parametrize("obstacle", ["refused", "untold", "unreachable"])
async def test_where_the_log_cannot_be_read_it_polls_and_says_so(
    fake_cluster, make_partition, obstacle
):
    fake_cluster.add_topic("orders", [make_partition(0, 1, [1, 2], [1, 2])], ID)
    if obstacle == "refused":
        fake_cluster.refuse_fetch = True
    elif obstacle == "untold":
        fake_cluster.nodes_told = False
    else:
        for server in fake_cluster.controllers.values():
            await server.stop()
    async with watching(fake_cluster.bootstrap) as watcher:
        first = await watcher.until(lambda update: update.status.mode == "sampled")
        assert "sampled: may miss changes" in first.status.message
        # Metadata of Apache Kafka names any live broker: with a quorum it says nothing.
        assert first.status.controller_id == -1
        assert first.image.partition("orders", 0).isr == (1, 2)
        fake_cluster.topics["orders"] = [make_partition(0, 2, [1, 2], [2])]
        moved = await watcher.event(EventKind.LEADER_MOVED)
        assert (moved.offset, moved.before, moved.after) == (-1, 1, 2)
        assert [event.kind for event in watcher.events] == [
            EventKind.LEADER_MOVED,
            EventKind.ISR_SHRUNK,
        ]


async def test_a_sampled_cluster_tells_what_min_isr_its_topics_have_set(
    fake_cluster, make_partition, monkeypatch
):
    monkeypatch.setattr("clusters.watch.feed.SAMPLE_EVERY_S", 0.02)
    monkeypatch.setattr("clusters.watch.sampled_settings.ASK_EVERY_MS", 50)
    for name in ("orders", "plain"):
        fake_cluster.add_topic(name, [make_partition(0, 1, [1, 2], [1, 2])], ID)
    fake_cluster.min_isr["orders"] = "3"
    fake_cluster.refuse_fetch = True

    def told(update, topic: str) -> str | None:
        return update.image.configs.get((2, topic), {}).get("min.insync.replicas")

    async with watching(fake_cluster.bootstrap) as watcher:
        first = await watcher.until(lambda update: told(update, "orders") == "3")
        assert told(first, "plain") is None
        assert watcher.events == [], "what was only learned has not changed"
        fake_cluster.min_isr["plain"] = "2"
        event = await watcher.event(EventKind.CONFIG_CHANGED)
        assert (event.topic, event.after) == ("plain", "min.insync.replicas=2")
        del fake_cluster.min_isr["orders"]
        await watcher.until(lambda update: told(update, "orders") is None)


async def test_a_cluster_that_is_only_just_starting_is_followed_soon(fake_cluster, make_partition):
    """A broker that knows no leader of the quorum yet must not be polled for a minute."""
    fake_cluster.add_topic("orders", [make_partition(0, 1, [1, 2], [1, 2])], ID)
    fake_cluster.quorum_error = ErrorCode.broker_not_available
    async with watching(fake_cluster.bootstrap) as watcher:
        await watcher.until(lambda update: update.status.mode == "sampled")
        fake_cluster.quorum_error = ErrorCode.none
        fake_cluster.elect(1)
        live = await watcher.live()
        assert live.status.controller_id == 1


async def test_what_changed_on_the_way_to_polling_and_back_is_told(
    fake_cluster, make_partition, monkeypatch
):
    monkeypatch.setattr("clusters.watch.feed.SAMPLED_AFTER_MS", 200)
    monkeypatch.setattr("clusters.watch.feed.RETRY_LOG_EVERY_MS", 300)
    monkeypatch.setattr("clusters.watch.feed.SAMPLE_EVERY_S", 0.05)
    fake_cluster.append(*topic())
    hidden = uuid.UUID(int=6)
    fake_cluster.append(rec.TopicRecord(name="hidden", topic_id=hidden))
    sample = make_partition(0, 2, [1, 2, 3], [2, 3])
    sample.leader_epoch = 1
    fake_cluster.add_topic("orders", [sample], ID)
    async with watching(fake_cluster.bootstrap) as watcher:
        await watcher.live()
        for server in fake_cluster.controllers.values():
            await server.stop()
        await watcher.until(lambda update: update.status.mode == "sampled")
        assert [
            (event.kind, event.offset, event.before, event.after) for event in watcher.events
        ] == [
            (EventKind.LEADER_MOVED, -1, 1, 2),
            (EventKind.ISR_SHRUNK, -1, [1, 2, 3], [2, 3]),
        ]
        # The brokers are not asked once more before the log is read again.
        told = len(watcher.events)
        fake_cluster.append(change(leader=2, isr=(2, 3)))
        fake_cluster.append(change(leader=3))
        for server in fake_cluster.controllers.values():
            await server.start()
        await watcher.until(lambda update: any(event.after == 3 for event in update.events))
        back = watcher.events[told:]
        assert [(event.kind, event.before, event.after) for event in back] == [
            (EventKind.LEADER_MOVED, 2, 3)
        ]
        assert "hidden" in watcher.feed.image.topics, "what polls do not show is not told as gone"
