"""The feed against any history and any trouble: it shows what is committed, each change once.

A controller that cuts answers anywhere, tells a high watermark that lags, drops connections, dies,
loses an uncommitted tail to its successor and trims its log under the reader.
"""

import asyncio
import contextlib
import random
import uuid

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from broker.protocol import metadata_records as rec
from broker.protocol.api_keys import METADATA_TOPIC, METADATA_TOPIC_ID, ApiKey
from broker.protocol.batch import (
    Record,
    encode_batch,
    encode_snapshot_footer,
    encode_snapshot_header,
    read_header,
)
from broker.protocol.errors import ErrorCode
from broker.protocol.image import EMPTY_IMAGE, apply, delta_between, image_records, same_contents
from broker.protocol.metadata_records import encode_record
from broker.protocol.struct import Struct
from clusters.watch import ClusterFeed, EventKind
from clusters.watch.differences import Stamp, events_of
from clusters.watch.log_reader import read_committed
from clusters.watch.projector import Projector

NODES = (1, 2, 3, 4)


def decision(rng: random.Random, image, offset: int) -> list:
    """Records that are valid after what an image holds."""
    topics = sorted(image.topics)
    kind = rng.choice(
        ["create", "change", "change", "change", "grow", "config", "broker", "delete"]
    )
    if kind == "create" or not topics:
        topic_id, name = uuid.UUID(int=1_000 + offset), f"t{rng.randint(1, 6)}"
        if name in image.topics:
            return [rec.NoOpRecord()]
        return [
            rec.TopicRecord(name=name, topic_id=topic_id),
            *(partition(rng, topic_id, index) for index in range(rng.randint(1, 4))),
        ]
    topic = image.topics[rng.choice(topics)]
    if kind == "change":
        count = rng.randint(1, 4)
        return [change(rng, topic, rng.randrange(len(topic.partitions))) for _ in range(count)]
    if kind == "grow":
        return [partition(rng, topic.id, len(topic.partitions))]
    if kind == "delete":
        return [rec.RemoveTopicRecord(topic_id=topic.id)]
    if kind == "config":
        value = rng.choice(["1", "2", None])
        where = rng.choice([(2, topic.name), (4, "1"), (4, "")])
        return [
            rec.ConfigRecord(resource_type=where[0], resource_name=where[1], name="k", value=value)
        ]
    return [broker(rng, image, offset)]


def partition(rng: random.Random, topic_id: uuid.UUID, index: int) -> rec.PartitionRecord:
    replicas = tuple(rng.sample(NODES, 3))
    return rec.PartitionRecord(
        partition_id=index, topic_id=topic_id, replicas=replicas, isr=replicas,
        removing_replicas=(), adding_replicas=(), leader=replicas[0], leader_epoch=0,
        partition_epoch=0, directories=(),
    )  # fmt: skip


def change(rng: random.Random, topic, index: int) -> rec.PartitionChangeRecord:
    replicas = topic.partitions[index].replicas
    isr = tuple(rng.sample(replicas, rng.randint(1, len(replicas))))
    fields = {"isr": isr, "leader": rng.choice([*isr, -1, -2])}
    if rng.random() < 0.2:  # a move of replicas begins, or ends
        joins = tuple(node for node in NODES if node not in replicas)
        fields |= {"replicas": (*replicas, *joins), "adding_replicas": joins}
    elif rng.random() < 0.2:
        fields |= {"replicas": isr, "adding_replicas": (), "removing_replicas": ()}
    return rec.PartitionChangeRecord(partition_id=index, topic_id=topic.id, **fields)


def broker(rng: random.Random, image, offset: int):
    node = rng.choice(NODES)
    known = image.brokers.get(node)
    if known is not None and rng.random() < 0.7:
        epoch = known.epoch
        return rng.choice(
            [
                rec.FenceBrokerRecord(id=node, epoch=epoch),
                rec.UnfenceBrokerRecord(id=node, epoch=epoch),
                rec.BrokerRegistrationChangeRecord(broker_id=node, broker_epoch=epoch, fenced=1),
                rec.UnregisterBrokerRecord(broker_id=node, broker_epoch=epoch),
            ]
        )
    end_points = (rec.BrokerEndpoint(name="P", host="h", port=9_000 + node, security_protocol=0),)
    return rec.RegisterBrokerRecord(
        broker_id=node, incarnation_id=uuid.UUID(int=1 + offset), broker_epoch=offset,
        end_points=end_points, features=(), rack=None, fenced=True,
    )  # fmt: skip


class Quorum:
    """What the controllers of a fake cluster hold, and how unpleasantly they answer."""

    def __init__(self, cluster, seed: int) -> None:
        self.cluster = cluster
        self.rng, self.server_rng = random.Random(seed), random.Random(seed + 1)
        self.full: list[tuple[int, int, bytes]] = []  # committed, and never trimmed
        self.decided: list[tuple[int, list]] = []  # committed, with their offsets
        self.tail: list[tuple[int, list]] = []
        self.committed = self.image = EMPTY_IMAGE
        self.images = {0: EMPTY_IMAGE}  # by the offset after it
        self.calm, self.honest = True, False
        # One that never fails: who has not caught up yet, and finds nobody, rightly samples.
        self.steady: int | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.asked_offset = self.answers = 0
        self._answered = asyncio.Event()
        self.faults: list[str] = []
        # (from, to, who led, in which epoch) of each jump over a snapshot
        self.jumps: list[tuple[int, int, int, int]] = []
        self._jump: tuple[int, int, int, int] | None = None
        self.snapshots: dict[int, tuple[int, int, bytes]] = {}  # old ones are kept for a while
        # Parts of snapshots after the first that were asked for, and those that were refused.
        self.parts = self.cut = 0
        for node, server in cluster.controllers.items():
            server.serve(
                ApiKey.FETCH_SNAPSHOT, 0, 1, lambda body, _, node=node: self.part(node, body)
            )
            server.serve(ApiKey.FETCH, 4, 17, lambda body, _, node=node: self.fetch(node, body))

    # History

    def append(self, records: list, *, commit: bool) -> None:
        base = self.cluster.append(*records, at_ms=5_000 + self.cluster.end_offset, commit=False)
        self.tail.append((base, records))
        if commit:
            self.commit()

    def step(self, *, commit: bool) -> None:
        offset = self.cluster.end_offset
        records = decision(self.rng, self.image, offset)
        if self.rng.random() < 0.15:
            # One batch each: an answer may end within the transaction (KIP-868).
            aborted = self.rng.random() < 0.3
            last = rec.AbortTransactionRecord(reason="") if aborted else rec.EndTransactionRecord()
            records = decision(self.rng, self.image, offset + 1)
            self.append([rec.BeginTransactionRecord(name="x")], commit=False)
            self.append(records, commit=False)
            self.append([last], commit=False)
            if aborted:
                self.tail[-2] = (offset + 1, [])
                records = []
        else:
            self.append(records, commit=False)
        self.image, _ = apply(self.image, offset, self.cluster.epoch, records)
        if commit:
            self.commit()

    def commit(self) -> None:
        known = self.full[-1][1] if self.full else -1
        self.full += [batch for batch in self.cluster.batches if batch[1] > known]
        self.decided += self.tail
        self.tail, self.committed = [], self.image
        self.images[self.cluster.end_offset] = self.committed
        self.cluster.commit()

    def elect(self) -> None:
        """Another controller leads; it may never have had what was not committed."""
        cluster = self.cluster
        if self.rng.random() < 0.6:
            cluster.batches = [each for each in cluster.batches if each[1] < cluster.high_watermark]
            cluster.end_offset = cluster.high_watermark
            self.tail, self.image = [], self.committed
        cluster.elect(self.rng.choice([node for node in (1, 2, 3) if node != cluster.leader_id]))
        self.commit()

    def trim(self) -> None:
        """Write a snapshot of a committed state, and drop the log up to it."""
        end = self.rng.choice(sorted(self.images)[-4:])
        if end <= max(0, self.cluster.log_start):
            return
        epoch = self.epoch_at(end - 1)
        records = image_records(self.images[end])
        entries = [Record(1 + i, 9, None, encode_record(each)) for i, each in enumerate(records)]
        body = encode_batch(entries, base_offset=1, leader_epoch=epoch) if entries else b""
        content = b"".join(
            [
                encode_snapshot_header(
                    base_offset=0,
                    leader_epoch=epoch,
                    timestamp_ms=9,
                    last_contained_log_timestamp=9,
                ),
                body,
                encode_snapshot_footer(
                    base_offset=1 + len(records), leader_epoch=epoch, timestamp_ms=9
                ),
            ]
        )
        if self.rng.random() < 0.5:
            self.snapshots.clear()
        self.cluster.snapshot = self.snapshots[end] = (end, epoch, content)
        self.cluster.log_start = end
        self.cluster.batches = [each for each in self.cluster.batches if each[1] >= end]

    def epoch_at(self, offset: int) -> int:
        found = next(content for _, last, content in self.full if last >= offset)
        return read_header(found).leader_epoch

    # Answers

    def drop(self) -> None:
        if self.cluster.leader_id == self.steady:
            return
        for transport in list(self.cluster.controllers[self.cluster.leader_id]._transports):
            transport.abort()

    def note(self, offset: int) -> None:
        if offset < self.asked_offset:
            self.faults.append(f"asked for {offset} after {self.asked_offset}")
        if self._jump is not None and offset == self._jump[1]:
            self.jumps.append(self._jump)
        self._jump = None
        self.asked_offset = offset

    async def some_answers(self, count: int) -> None:
        """Let the reader get on; not for long, as it may have nothing to ask for."""
        until = self.answers + count
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                while self.answers < until:
                    self._answered.clear()
                    await self._answered.wait()

    async def fetch(self, node: int, body: Struct) -> Struct:
        cluster, rng = self.cluster, self.server_rng
        asked = body.topics[0].partitions[0]
        answer = Struct(partition_index=0, error_code=0, high_watermark=-1, records=b"")
        if node == cluster.leader_id:
            await self.open.wait()
        fails = node == cluster.leader_id != self.steady and not self.calm
        if fails and rng.random() < 0.15:
            self.drop()
            await asyncio.Event().wait()
        leads = (cluster.leader_id, cluster.epoch) == (node, asked.current_leader_epoch)
        if leads and asked.fetch_offset >= cluster.end_offset and body.max_wait_ms:
            self.note(asked.fetch_offset)
            news = asyncio.ensure_future(cluster.news.wait())
            await asyncio.wait([news], timeout=body.max_wait_ms / 1000)
            news.cancel()
        if node != cluster.leader_id:
            answer.error_code = ErrorCode.not_leader_or_follower
        elif asked.current_leader_epoch != cluster.epoch:
            older = asked.current_leader_epoch < cluster.epoch
            answer.error_code = (
                ErrorCode.fenced_leader_epoch if older else ErrorCode.unknown_leader_epoch
            )
        else:
            self.note(asked.fetch_offset)
            self._answer(asked, answer)
        answer.current_leader = Struct(leader_id=cluster.leader_id, leader_epoch=cluster.epoch)
        responses = [Struct(topic=METADATA_TOPIC, topic_id=METADATA_TOPIC_ID, partitions=[answer])]
        self.answers += 1
        self._answered.set()
        return Struct(responses=responses)

    async def part(self, node: int, body: Struct) -> Struct:
        """A part of the snapshot that is asked for, though there may be a newer one by now.

        It may come late, the connection or the leader may go in the middle of it, and it may be
        deleted because a newer one is there.
        """
        cluster, rng = self.cluster, self.server_rng
        asked = body.topics[0].partitions[0]
        leads = node == cluster.leader_id
        if leads:
            await self.open.wait()
        if node == cluster.leader_id != self.steady and not self.calm:
            if rng.random() < 0.05:
                self.drop()
                await asyncio.Event().wait()
            for _ in range(rng.choice([0, 0, 0, 20])):
                await asyncio.sleep(0)
            self.parts += asked.position > 0
        leader = Struct(leader_id=cluster.leader_id, leader_epoch=cluster.epoch)
        wanted = self.snapshots.get(asked.snapshot_id.end_offset)
        error = 0
        if node != cluster.leader_id:
            error = ErrorCode.not_leader_or_follower
        elif asked.current_leader_epoch != cluster.epoch:
            older = asked.current_leader_epoch < cluster.epoch
            error = ErrorCode.fenced_leader_epoch if older else ErrorCode.unknown_leader_epoch
        elif wanted is None:
            error = ErrorCode.snapshot_not_found
        if error:
            self.cut += asked.position > 0
            refused = Struct(
                index=0,
                error_code=error,
                snapshot_id=asked.snapshot_id,
                current_leader=leader,
                size=0,
                position=0,
                unaligned_records=b"",
            )
            return Struct(topics=[Struct(name=METADATA_TOPIC, partitions=[refused])])
        newest, cluster.snapshot = cluster.snapshot, wanted
        try:
            return cluster._fetch_snapshot(body)
        finally:
            cluster.snapshot = newest

    def _answer(self, asked: Struct, answer: Struct) -> None:
        cluster, rng, offset = self.cluster, self.server_rng, asked.fetch_offset
        answer.high_watermark = cluster.high_watermark
        if offset < cluster.log_start:
            end_offset, epoch, _ = cluster.snapshot
            self._jump = (offset, end_offset, cluster.leader_id, cluster.epoch)
            answer.snapshot_id = Struct(end_offset=end_offset, epoch=epoch)
            return
        if offset > cluster.high_watermark or (
            offset > 0 and asked.last_fetched_epoch != self.epoch_at(offset - 1)
        ):
            answer.diverging_epoch = Struct(epoch=cluster.epoch, end_offset=cluster.high_watermark)
            return
        batches = cluster.batches
        first = next((i for i, batch in enumerate(batches) if batch[1] >= offset), len(batches))
        if self.calm:
            answer.records = b"".join(content for _, _, content in batches[first:])
            return
        # It may begin further back, is torn anywhere at its end, and may not know what is committed.
        first = max(0, first - rng.randint(0, 2))
        content = b"".join(each for _, _, each in batches[first : first + rng.randint(1, 6)])
        answer.records = content[: len(content) - rng.choice([0, 0, 1, 30])]
        if rng.random() < 0.3 and not self.honest:
            answer.high_watermark = rng.randint(-1, cluster.high_watermark)


async def collect(feed: ClusterFeed, updates: list) -> None:
    """Gather updates until the end of the history was told."""
    async for update in feed.updates():
        updates.append(update)
        assert update.status.mode in ("connecting", "live"), update.status.message
        if any(event.topic == "the end" for event in update.events):
            return


async def trimmed(quorum: Quorum) -> None:
    """The log begins with a snapshot, in the middle of which leaders may go, two at once."""
    rng = quorum.rng
    quorum.trim()
    if rng.random() < 0.5:
        await quorum.some_answers(rng.randint(1, 3))
        for _ in range(rng.randint(1, 2)):
            quorum.elect()


async def trouble(quorum: Quorum, steps: int) -> None:
    """Let history happen, while everything that can go wrong does."""
    cluster, rng = quorum.cluster, quorum.rng
    for _ in range(steps):
        match rng.randrange(12):
            case 0:
                quorum.elect()
            case 1 if cluster.leader_id != quorum.steady:
                dead = cluster.controllers[cluster.leader_id]
                await dead.stop()
                quorum.elect()
                await dead.start()
            case 2:
                await trimmed(quorum)
            case 3:
                quorum.drop()
            case 4:
                quorum.open.clear()
            case 5:
                quorum.open.set()
            case 6 | 7:
                quorum.step(commit=False)
            case 8:
                quorum.commit()
            case _:
                quorum.step(commit=True)
        if quorum.open.is_set():
            await quorum.some_answers(rng.choice([0, 0, 0, 1, 2]))
    quorum.open.set()
    quorum.commit()


async def follow(cluster, seed: int, steps: int, from_start: bool) -> tuple[Quorum, int, list]:
    """(the quorum, the offset from which everything is told, all updates)."""
    quorum, updates = Quorum(cluster, seed), []
    for _ in range(quorum.rng.randint(1, 12)):
        quorum.step(commit=True)
    quorum.elect()
    if quorum.rng.random() < 0.5:
        quorum.trim()  # it begins with a snapshot
    begin = 0 if from_start else cluster.end_offset
    quorum.calm, quorum.honest = False, not from_start
    quorum.steady = 1 if from_start else None
    async with ClusterFeed(cluster.bootstrap, from_start=from_start) as feed:
        reader = asyncio.ensure_future(collect(feed, updates))
        while not from_start and feed.status.mode != "live":
            await asyncio.sleep(0)
        quorum.honest = False
        await trouble(quorum, steps)
        quorum.calm = True
        while quorum.asked_offset < cluster.end_offset and not reader.done():
            await asyncio.sleep(0.001)
        records = [rec.TopicRecord(name="the end", topic_id=uuid.UUID(int=9))]
        quorum.image, _ = apply(quorum.image, cluster.end_offset, cluster.epoch, records)
        quorum.append(records, commit=True)
        await reader
    return quorum, begin, updates


def check(quorum: Quorum, begin: int, updates: list) -> None:
    assert quorum.faults == [], "what was read is never asked for again"
    told = [event for update in updates for event in update.events]
    whole = b"".join(content for _, _, content in quorum.full)
    oracle, expected = Projector(), []
    for at_offset, to_offset, *leader in quorum.jumps:
        if to_offset > begin:
            expected += read_committed(oracle, whole, at_offset)
            before, after = oracle.image, quorum.images[to_offset]
            records, stamp = image_records(after), Stamp(to_offset - 1, 9)
            oracle.load_snapshot(to_offset, quorum.epoch_at(to_offset - 1), 9, records)
            if at_offset > 0:
                delta = delta_between(before, after)
                expected += events_of(before, after, delta, lambda _, stamp=stamp: stamp)
            expected += oracle.learn_leader(*leader, 9)
    expected += read_committed(oracle, whole, quorum.cluster.high_watermark)
    assert told == [event for event in expected if event.offset >= begin]
    # The view is what applying the committed records plainly gives, at the end and on the way.
    assert same_contents(updates[-1].image, quorum.committed)
    for update in updates:
        plain = quorum.images.get(update.image.offset + 1)
        assert plain is None or same_contents(update.image, plain)
    if not quorum.jumps:
        moved = [event for event in told if event.kind == EventKind.LEADER_MOVED]
        assert [
            (each.offset, each.topic, each.partition, each.before, each.after) for each in moved
        ] == [each for each in leader_moves(quorum) if each[0] >= begin]


def leader_moves(quorum: Quorum) -> list[tuple]:
    """From the records alone, one by one."""
    image, found = EMPTY_IMAGE, []
    for base, records in quorum.decided:
        for offset, record in enumerate(records, base):
            before, (image, _) = image, apply(image, offset, 1, [record])
            if isinstance(record, rec.PartitionChangeRecord):
                name, index = before.topic_names[record.topic_id], record.partition_id
                was, now = before.partition(name, index), image.partition(name, index)
                if was.leader != now.leader:
                    found.append((offset, name, index, was.leader, now.leader))
    return found


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    # Time is real, so that a smaller example may well pass: the first that fails is the one to read.
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), steps=st.integers(5, 60), from_start=st.booleans())
async def test_any_history_with_any_trouble_is_told_once_and_in_order(
    make_fake_cluster, monkeypatch, seed, steps, from_start
):
    monkeypatch.setattr("clusters.watch.feed.PAUSE_S_MIN", 0.001)
    monkeypatch.setattr("clusters.watch.feed.PAUSE_S_MAX", 0.005)
    monkeypatch.setattr("clusters.watch.feed.UNCOMMITTED_PAUSE_S", 0)
    cluster = make_fake_cluster(3)
    await cluster.start()
    try:
        async with asyncio.timeout(60):
            quorum, begin, updates = await follow(cluster, seed, steps, from_start)
    finally:
        await cluster.stop()
    check(quorum, begin, updates)
