"""A leader that was deposed and elected again before it heard of the first: what it may still say.

Its log was never cut and nobody else wrote to it, so whoever waits goes on to wait, and its group
coordinator goes on, as in Apache Kafka. What its successor took meanwhile cannot be committed
without it while it is in the ISR, and once it is not it cannot be elected. The metadata of some
epochs comes as one change, as a snapshot brings it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.batch import Record, encode_batch
from broker.protocol.errors import ErrorCode, WireError
from broker.protocol.image import PartitionState
from broker.protocol.struct import Struct
from broker.runtime.group_shard import GroupShard
from broker.runtime.groups import OFFSETS_TOPIC
from broker.simulation.group_scenario import run_group_seed
from broker.simulation.late_metadata import LateMetadata
from broker.simulation.scenario import plan_of, run_plan
from broker.simulation.workload import Client, read_partition
from broker.simulation.world import CLIENT_PORT, SEPARATE, World
from tests.simulation.stories import TOPIC, play, until

pytestmark = pytest.mark.simulation

GROUP = "readers"
TIMEOUT_MS = 2_500
# A follower that reads nothing stays in the ISR for the whole story, or leaves it soon.
STAYS = {"replica.lag.time.max.ms": "60000"}
LEAVES = {"replica.lag.time.max.ms": "1000"}
OFFSETS = {
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "3",
    "offsets.commit.timeout.ms": str(TIMEOUT_MS),
    "min.insync.replicas": "2",
}


class Stage:
    """One partition, its three brokers, and metadata that one of them hears of late."""

    def __init__(self, world: World, topic: str) -> None:
        self.world, self.topic = world, topic
        self.client: Client = world.client()
        self.first = self.second = self.third = -1
        self._late: LateMetadata | None = None

    async def begin(self) -> None:
        """Wait until one leads and all are in sync."""
        world, topic = self.world, self.topic
        brokers = [node for node in world.nodes if node in world.topology.brokers]

        def seen() -> list[PartitionState | None]:
            running = [world.processes[node] for node in brokers]
            if not all(each.booted for each in running):
                return [None]
            return [each.broker.publisher.image.partition(topic, 0) for each in running]

        await until(lambda: all(s is not None and len(s.isr) == 3 for s in seen()))
        state = seen()[0]
        assert state is not None
        self.first, self.second, self.third = state.replicas
        await self.elect(self.first, of=brokers)

    def broker(self, node: int) -> Any:
        return self.world.processes[node].broker

    def state(self, node: int) -> PartitionState:
        """What a broker knows of the partition."""
        found = self.broker(node).publisher.image.partition(self.topic, 0)
        assert isinstance(found, PartitionState)
        return found

    def log(self, node: int) -> Any:
        return self.broker(node).logs.get(self.topic, 0)

    # -- metadata

    def deafen(self) -> None:
        """The first replica follows the metadata log and publishes nothing of it."""
        self._late = LateMetadata(self.broker(self.first).publisher)

    def tell_at_once(self) -> None:
        """It hears all that it missed as one change."""
        assert self._late is not None
        self._late.tell()

    async def elect(self, leader: int, *, of: list[int] | None = None) -> None:
        """Make it the preferred leader and have it elected; return when `of` know it."""
        await self.prefer(leader)
        observers = of or [self.second, self.third]
        await until(lambda: all(self.state(node).leader == leader for node in observers))

    async def prefer(self, leader: int) -> ErrorCode:
        """Make it the preferred leader and ask for an election; what was answered."""
        others = [n for n in (self.first, self.second, self.third) if n != leader]
        move = Struct(partition_index=0, replicas=[leader, *others])
        moves = [Struct(name=self.topic, partitions=[move])]
        body = Struct(timeout_ms=TIMEOUT_MS, topics=moves)
        await self.client.ask_any(ApiKey.ALTER_PARTITION_REASSIGNMENTS, body, 0)
        named = [Struct(topic=self.topic, partitions=[0])]
        body = Struct(election_type=0, topic_partitions=named, timeout_ms=TIMEOUT_MS)
        answer = await self.client.ask_any(ApiKey.ELECT_LEADERS, body, 2)
        (topic,) = answer.replica_election_results
        return ErrorCode(topic.partition_result[0].error_code)

    # -- records

    async def write(self, node: int, value: str, *, acks: int = -1) -> ErrorCode | None:
        """One record to one broker, whoever leads; None when there is no answer."""
        record = Record(offset=0, timestamp_ms=0, key=None, value=value.encode(), headers=())
        entry = Struct(index=0, records=encode_batch([record]))
        body = Struct(
            transactional_id=None,
            acks=acks,
            timeout_ms=TIMEOUT_MS,
            topic_data=[Struct(name=self.topic, partition_data=[entry])],
        )
        # Each on a connection of its own: a broker answers one after the other.
        answer = await ask(self.world.client(), node, ApiKey.PRODUCE, body, 8)
        if answer is None:
            return None
        return ErrorCode(answer.responses[0].partition_responses[0].error_code)

    async def same_everywhere(self) -> None:
        nodes = (self.first, self.second, self.third)

        def is_same() -> bool:
            logs = [self.log(node) for node in nodes]
            held = {each.read(0, 1 << 20, upto_offset=each.end_offset) for each in logs}
            return len(held) == 1 and all(len(self.state(node).isr) == 3 for node in nodes)

        await until(is_same)

    # -- groups

    async def commit(self, node: int, offset: int) -> ErrorCode | None:
        """Commit one offset of a group without members at one broker."""
        entry = Struct(partition_index=0, committed_offset=offset, committed_metadata=None)
        body = Struct(
            group_id=GROUP,
            generation_id_or_member_epoch=-1,
            member_id="",
            topics=[Struct(name=TOPIC, partitions=[entry])],
        )
        answer = await ask(self.world.client(), node, ApiKey.OFFSET_COMMIT, body, 8)
        return None if answer is None else ErrorCode(answer.topics[0].partitions[0].error_code)

    async def committed(self, node: int) -> int | None:
        """What one broker says is committed; None when it does not say."""
        group = Struct(group_id=GROUP, topics=[Struct(name=TOPIC, partition_indexes=[0])])
        body = Struct(groups=[group], require_stable=False)
        answer = await ask(self.world.client(), node, ApiKey.OFFSET_FETCH, body, 9)
        if answer is None or answer.groups[0].error_code:
            return None
        told = answer.groups[0].topics[0].partitions[0]
        return None if told.error_code else int(told.committed_offset)

    def shard(self, node: int) -> GroupShard | ErrorCode:
        found = self.broker(node).node.coordinators.find(GROUP)
        assert isinstance(found, GroupShard | ErrorCode)
        return found

    async def coordinates(self, node: int) -> GroupShard:
        await until(lambda: isinstance(self.shard(node), GroupShard))
        found = self.shard(node)
        assert isinstance(found, GroupShard)
        return found


async def ask(client: Client, node: int, key: ApiKey, body: Struct, version: int) -> Struct | None:
    try:
        return await client.ask((f"node{node}", CLIENT_PORT), key, body, version)
    except WireError:
        return None


def play_records(story: Callable[[Stage], Awaitable[None]], settings: dict[str, str]) -> None:
    async def whole(world: World) -> None:
        stage = Stage(world, TOPIC)
        await stage.client.create_topic(TOPIC, 1, 3)
        await stage.begin()
        assert await stage.write(stage.first, "of before") == ErrorCode.none
        await story(stage)

    play(whole, SEPARATE, **settings)


def play_group(story: Callable[[Stage], Awaitable[None]], settings: dict[str, str]) -> None:
    async def whole(world: World) -> None:
        stage = Stage(world, OFFSETS_TOPIC)
        await stage.client.create_topic(TOPIC, 1, 3)
        find = Struct(key_type=0, coordinator_keys=[GROUP])
        await stage.client.ask_any(ApiKey.FIND_COORDINATOR, find, 4)
        await stage.begin()
        await stage.coordinates(stage.first)
        assert await stage.commit(stage.first, 1) == ErrorCode.none
        await story(stage)

    play(whole, SEPARATE, **settings, **OFFSETS)


def test_what_waits_at_a_leader_that_is_elected_again_is_kept_and_its_successors_is_cut() -> None:
    async def story(stage: Stage) -> None:
        stage.deafen()
        await stage.elect(stage.second)
        kept = asyncio.create_task(stage.write(stage.first, "kept"))
        await until(lambda: stage.log(stage.first).end_offset == 2)
        # It stands where the other one does, on two of three brokers, and is not committed.
        assert await stage.write(stage.second, "cut", acks=1) == ErrorCode.none
        await until(lambda: stage.log(stage.third).end_offset == 2)
        other = asyncio.create_task(stage.write(stage.second, "cut, too"))
        await until(lambda: stage.log(stage.third).end_offset == 3)
        epoch = stage.state(stage.first).leader_epoch
        await stage.elect(stage.first)
        assert not kept.done()
        stage.tell_at_once()
        assert stage.state(stage.first).leader_epoch >= epoch + 2
        assert await kept == ErrorCode.none
        assert await other not in (ErrorCode.none, None)
        await stage.same_everywhere()
        found = await read_partition(stage.client, TOPIC, 0)
        assert [found[offset] for offset in sorted(found)] == ["of before", "kept"]

    play_records(story, STAYS)


def test_what_waits_is_refused_when_the_leader_heard_of_its_successor() -> None:
    """Though its successor is gone before anything was read from it, and nothing was cut."""

    async def story(stage: Stage) -> None:
        stage.deafen()
        await stage.elect(stage.second)
        kept = asyncio.create_task(stage.write(stage.first, "kept"))
        await until(lambda: stage.log(stage.first).end_offset == 2)
        stage.tell_at_once()
        stage.deafen()
        await stage.elect(stage.first)
        stage.tell_at_once()
        assert await kept == ErrorCode.not_leader_or_follower
        await stage.same_everywhere()

    play_records(story, STAYS)


def test_what_waits_is_refused_when_its_successor_went_on_without_it() -> None:
    """It left the ISR: its successor commits alone, and it is not elected again."""

    async def story(stage: Stage) -> None:
        stage.deafen()
        await stage.elect(stage.second)
        lost = asyncio.create_task(stage.write(stage.first, "lost"))
        await until(lambda: stage.first not in stage.state(stage.second).isr)
        assert await stage.write(stage.second, "committed") == ErrorCode.none
        assert await stage.prefer(stage.first) == ErrorCode.preferred_leader_not_available
        assert await lost not in (ErrorCode.none, None)
        again = asyncio.create_task(stage.write(stage.first, "lost, too"))
        await until(lambda: stage.log(stage.first).end_offset == 3)
        stage.tell_at_once()
        assert await again == ErrorCode.not_leader_or_follower
        await stage.elect(stage.first, of=[stage.first, stage.second])
        await stage.same_everywhere()
        found = await read_partition(stage.client, TOPIC, 0)
        assert [found[offset] for offset in sorted(found)] == ["of before", "committed"]

    play_records(story, LEAVES)


def test_a_coordinator_goes_on_when_its_successor_could_commit_nothing() -> None:
    async def story(stage: Stage) -> None:
        shard = await stage.coordinates(stage.first)
        stage.deafen()
        await stage.elect(stage.second)
        await stage.coordinates(stage.second)
        kept = asyncio.create_task(stage.commit(stage.first, 10))
        await until(lambda: shard.partition.log.end_offset == 2)
        other = asyncio.create_task(stage.commit(stage.second, 20))
        await until(lambda: stage.log(stage.third).end_offset == 2)
        assert await stage.committed(stage.second) in (None, 1)
        await stage.elect(stage.first)
        stage.tell_at_once()
        assert await kept == ErrorCode.none
        assert await other not in (ErrorCode.none, None)
        assert stage.shard(stage.first) is shard
        assert await stage.committed(stage.first) == 10
        await stage.same_everywhere()
        await stage.elect(stage.second, of=[stage.first, stage.second])
        await stage.coordinates(stage.second)
        assert await stage.committed(stage.second) == 10

    play_group(story, STAYS)


def test_a_coordinator_begins_anew_when_its_successor_committed_without_it() -> None:
    async def story(stage: Stage) -> None:
        shard = await stage.coordinates(stage.first)
        stage.deafen()
        await stage.elect(stage.second)
        await stage.coordinates(stage.second)
        lost = asyncio.create_task(stage.commit(stage.first, 10))
        await until(lambda: stage.first not in stage.state(stage.second).isr)
        assert await stage.commit(stage.second, 20) == ErrorCode.none
        assert await stage.prefer(stage.first) == ErrorCode.preferred_leader_not_available
        # It does not know better, and says what was committed: not what waits.
        assert await stage.committed(stage.first) == 1
        stage.tell_at_once()
        assert await lost not in (ErrorCode.none, None)
        assert shard.closed
        await stage.elect(stage.first, of=[stage.first, stage.second])
        assert await stage.coordinates(stage.first) is not shard
        await until(lambda: stage.shard(stage.second) == ErrorCode.not_coordinator)
        assert await stage.committed(stage.first) == 20
        await stage.same_everywhere()

    play_group(story, LEAVES)


def test_a_coordinator_that_is_elected_uncleanly_says_what_its_log_does() -> None:
    """What its successor committed is lost, as is asked for then. There must be one history."""

    async def story(stage: Stage) -> None:
        world = stage.world
        shard = await stage.coordinates(stage.first)
        stage.deafen()
        await stage.elect(stage.second)
        await stage.coordinates(stage.second)
        await until(lambda: stage.first not in stage.state(stage.second).isr)
        assert await stage.commit(stage.second, 20) == ErrorCode.none
        waiting = asyncio.create_task(stage.commit(stage.first, 10))
        await until(lambda: stage.log(stage.first).end_offset == 2)
        others = (stage.second, stage.third)
        (observer,) = {*world.topology.brokers} - {stage.first, *others}
        for node in others:
            world.kill(node, power_loss=False)
        await until(lambda: stage.state(observer).leader == -1)
        named = [Struct(topic=stage.topic, partitions=[0])]
        body = Struct(election_type=1, topic_partitions=named, timeout_ms=TIMEOUT_MS)
        await stage.client.ask_any(ApiKey.ELECT_LEADERS, body, 2)
        await until(lambda: stage.state(observer).leader == stage.first)
        stage.tell_at_once()
        assert stage.shard(stage.first) is shard
        await waiting
        for node in others:
            world.start(node)
        running = world.processes
        await until(lambda: all(n in running and running[n].booted for n in others))
        await stage.same_everywhere()
        assert await stage.committed(stage.first) == 10
        await stage.elect(stage.second, of=[stage.first, stage.second])
        await stage.coordinates(stage.second)
        assert await stage.committed(stage.second) == 10

    play_group(story, LEAVES)


@pytest.mark.parametrize("seed", [3, 11])
def test_among_other_faults(seed: int) -> None:
    """Seed 3: a follower that was told to cut never heard of the high watermark in that answer."""
    outcome = run_plan(replace(plan_of(seed), kinds=("there_and_back", "kill")))
    assert outcome.acknowledged > 0
    assert any(each.startswith("there_and_back") for each in outcome.faults)


def test_among_other_faults_to_groups() -> None:
    outcome = run_group_seed(8, kinds=("there_and_back", "kill"))
    assert outcome.commits > 0
    assert any(each.startswith("there_and_back") for each in outcome.faults)
