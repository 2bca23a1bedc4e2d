"""MetadataQuorum on loopback sockets and real files."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest

from broker.protocol.api_keys import METADATA_TOPIC, METADATA_TOPIC_ID, ApiKey
from broker.protocol.batch import decode_records, iter_batches
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ErrorCode, RequestTimedOut
from broker.protocol.metadata_records import TopicRecord, decode_record
from broker.protocol.network import AsyncioNetwork
from broker.protocol.struct import Struct
from broker.runtime.doors import ThreadOffload
from broker.runtime.quorum import CommittedBatch, NotQuorumLeader, QuorumConfig
from broker.storage.errors import CorruptFile
from tests.own_time import own_s
from tests.unit.raft.quorum_sockets import Heard, RunningNode, SocketCluster, until

T = TypeVar("T")
# Who is late leads on: on a busy machine all nodes are late at times, for one loop runs them.
PATIENT = {"fetch_timeout_ms": 30_000, "request_timeout_ms": 30_000}


def topic(number: int) -> TopicRecord:
    return TopicRecord(name=f"t{number}", topic_id=UUID(int=number + 10))


def names(heard: Heard) -> list[str]:
    return [r.name for r in heard.records if isinstance(r, TopicRecord)]


async def write(leader: RunningNode, first: int, count: int) -> None:
    """Append and wait for the commit."""
    epoch = leader.quorum.leader.epoch
    for number in range(first, first + count):
        offset = leader.quorum.append(epoch, [topic(number)])
    await leader.quorum.wait_committed(offset, epoch, 5000)


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[SocketCluster]:
    cluster = SocketCluster(tmp_path, 3, QuorumConfig(**PATIENT))
    await cluster.start()
    yield cluster
    await cluster.stop()


async def test_three_nodes_elect_well_below_a_second(three: SocketCluster) -> None:
    begun = own_s()
    leader = await three.elected()
    assert own_s() - begun < 0.9
    epoch = leader.quorum.leader.epoch
    await until(lambda: all(n.quorum.leader.leader_id == leader.id for n in three.nodes.values()))
    for node in three.nodes.values():
        state = json.loads(Path(node.directory, "quorum-state").read_text())
        assert (state["leaderId"], state["leaderEpoch"]) == (leader.id, epoch)


async def test_every_listener_hears_all_records_in_order(three: SocketCluster) -> None:
    leader = await three.elected()
    await write(leader, 0, 1000)
    expected = [f"t{i}" for i in range(1000)]
    await until(lambda: all(len(names(n.heard)) == 1000 for n in three.nodes.values()))
    for node in three.nodes.values():
        assert names(node.heard) == expected
    late = Heard()
    leader.quorum.add_listener(late)
    assert names(late) == expected
    assert late.leaders == [leader.quorum.leader]


async def test_a_batch_of_thousands_of_records_is_heard_without_holding_up_the_quorum(
    three: SocketCluster,
) -> None:
    leader = await three.elected()
    epoch = leader.quorum.leader.epoch
    pieces: list[int] = []
    turns = 0

    class Slow:
        def __init__(self) -> None:
            self.heard = Heard()
            self.on_snapshot = self.heard.on_snapshot
            self.on_leader_change = self.heard.on_leader_change

        def on_committed(self, batch: CommittedBatch) -> Generator[None, None, None]:
            for _ in batch.records:
                pieces.append(turns)
                yield
            self.heard.on_committed(batch)

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    slow = Slow()
    leader.quorum.add_listener(slow)
    beside = asyncio.create_task(others())
    offset = leader.quorum.append(epoch, [topic(number) for number in range(3000)])
    await leader.quorum.wait_committed(offset, epoch, 60_000)
    assert names(slow.heard) == names(leader.heard) == [f"t{i}" for i in range(3000)]
    assert len(pieces) == 3000
    assert max(pieces.count(turn) for turn in set(pieces)) <= 4, "a few pieces in a turn"
    await write(leader, 3000, 1)
    beside.cancel()
    assert names(slow.heard)[-1] == "t3000", "and then what follows"


class BusyOffload(ThreadOffload):
    """Threads that get to nothing but what is urgent, once ``busy``."""

    busy = False

    async def run(self, fn: Callable[[], T], *, urgent: bool = False) -> T:
        if self.busy and not urgent:
            await asyncio.Event().wait()
        return await super().run(fn, urgent=urgent)


async def test_the_quorum_waits_for_no_other_work_in_threads(
    three: SocketCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = await three.elected()
    offload = BusyOffload()
    for node in three.nodes.values():
        monkeypatch.setattr(node.quorum, "_offload", offload)
    offload.busy = True
    await write(leader, 0, 3)
    await leader.die()
    successor = await three.elected()
    assert successor is not leader
    await write(successor, 3, 1)
    assert names(successor.heard) == ["t0", "t1", "t2", "t3"]


async def test_a_committed_append_is_quick(three: SocketCluster) -> None:
    leader = await three.elected()
    await write(leader, 0, 1)
    begun = own_s()
    for number in range(1, 21):
        await write(leader, number, 1)
    assert (own_s() - begun) / 20 < 0.05
    follower = next(n for n in three.nodes.values() if n is not leader)
    begun = own_s()
    await until(lambda: len(names(follower.heard)) == 21)
    assert own_s() - begun < 0.4, "told, not waiting for a poll"


async def test_a_dead_leader_is_replaced_within_a_second(three: SocketCluster) -> None:
    leader = await three.elected()
    await write(leader, 0, 10)
    await leader.die()
    begun = own_s()
    successor = await three.elected()
    assert own_s() - begun < 1.0
    assert successor is not leader
    assert successor.heard.position > 10, "earlier records are delivered before it is told to lead"
    await write(successor, 10, 10)
    with pytest.raises(NotQuorumLeader):
        leader.quorum.append(1, [topic(99)])
    await leader.listen()
    leader.make()
    await leader.quorum.start()
    await until(lambda: names(leader.heard) == [f"t{i}" for i in range(20)])


async def test_a_leader_that_stops_hands_over(three: SocketCluster) -> None:
    leader = await three.elected()
    await write(leader, 0, 3)
    begun = own_s()
    await leader.stop()
    successor = await three.elected()
    assert own_s() - begun < 1.0
    assert successor is not leader
    await leader.listen()
    leader.make()
    await leader.quorum.start()
    await until(lambda: leader.quorum.leader.leader_id == successor.id)


async def test_without_a_majority_nothing_commits_and_the_leader_resigns(tmp_path: Path) -> None:
    config = QuorumConfig(fetch_timeout_ms=1_500, election_timeout_ms=200)
    cluster = SocketCluster(tmp_path, 3, config)
    await cluster.start()
    leader = await cluster.elected()
    for node in cluster.nodes.values():
        if node is not leader:
            await node.die()
    epoch = leader.quorum.leader.epoch
    offset = leader.quorum.append(epoch, [topic(1)])
    with pytest.raises(RequestTimedOut):
        await leader.quorum.wait_committed(offset, epoch, 50)
    with pytest.raises(NotQuorumLeader):
        await leader.quorum.wait_committed(offset, epoch, 5000)
    assert not leader.quorum.is_leader
    assert names(leader.heard) == []
    await leader.stop()


async def test_one_voter_restarts_with_its_records(tmp_path: Path) -> None:
    cluster = SocketCluster(tmp_path, 1)
    await cluster.start()
    node = await cluster.elected()
    await write(node, 0, 5)
    epoch = node.quorum.leader.epoch
    await node.die()
    await node.listen()
    node.make()
    await node.quorum.start()
    await cluster.elected()
    await until(lambda: names(node.heard) == [f"t{i}" for i in range(5)])
    assert node.quorum.leader.epoch > epoch
    await node.stop()


async def test_a_long_log_is_delivered_in_turns(tmp_path: Path) -> None:
    cluster = SocketCluster(tmp_path, 1)
    await cluster.start()
    node = await cluster.elected()
    epoch = node.quorum.leader.epoch
    for first in range(0, 20_000, 500):
        offset = node.quorum.append(epoch, [topic(i) for i in range(first, first + 500)])
    await node.quorum.wait_committed(offset, epoch, 10_000)
    await node.stop()
    await node.listen()
    node.make()
    await node.quorum.start()
    seen: set[int] = set()

    def delivered() -> bool:
        seen.add(len(node.heard.records))
        return node.heard.leaders[-1:] == [node.quorum.leader] and node.quorum.is_leader

    await until(delivered, 60)
    assert len(node.heard.records) == 20_000, "all of it before it is told to lead"
    assert any(0 < count < 20_000 for count in seen), "with room for timers in between"
    await node.stop()


async def test_an_observer_follows_and_never_votes(three: SocketCluster) -> None:
    leader = await three.elected()
    observer = RunningNode(three, 9)
    observer.make()
    await observer.quorum.start()
    await write(leader, 0, 20)
    await until(lambda: len(names(observer.heard)) == 20)
    await leader.die()
    successor = await three.elected()
    await write(successor, 20, 5)
    await until(lambda: len(names(observer.heard)) == 25)
    answer = await describe(successor)
    assert [o.replica_id for o in answer.topics[0].partitions[0].observers] == [9]
    assert [v.replica_id for v in answer.topics[0].partitions[0].current_voters] == [1, 2, 3]
    await observer.quorum.stop()
    observer.log.close()
    await leader.listen()
    leader.make()
    await leader.quorum.start()


async def describe(node: RunningNode) -> Struct:
    partition = Struct(partition_index=0)
    request = Struct(topics=[Struct(topic_name=METADATA_TOPIC, partitions=[partition])])
    return await node.quorum.handle(ApiKey.DESCRIBE_QUORUM, 2, request)


async def test_describe_quorum_lists_the_voters_on_every_node(three: SocketCluster) -> None:
    leader = await three.elected()
    for node in three.nodes.values():
        answer = await describe(node)
        places = {n.node_id: (n.listeners[0].host, n.listeners[0].port) for n in answer.nodes}
        assert places == three.voters
        expected = ErrorCode.none if node is leader else ErrorCode.not_leader_or_follower
        assert answer.topics[0].partitions[0].error_code == expected


def fetch(offset: int, **more: object) -> Struct:
    partition = Struct(
        partition=0, current_leader_epoch=-1, fetch_offset=offset, partition_max_bytes=1 << 20
    )
    for name, value in more.items():
        setattr(partition, name, value)
    return Struct(
        max_wait_ms=20_000,
        min_bytes=1,
        max_bytes=1 << 20,
        topics=[Struct(topic_id=METADATA_TOPIC_ID, partitions=[partition])],
    )


async def test_a_reader_over_the_wire_gets_committed_records_as_they_come(
    three: SocketCluster,
) -> None:
    leader = await three.elected()
    host, port = three.voters[leader.id]
    connection = await BrokerConnection.open(AsyncioNetwork(), host, port, negotiate=False)
    await write(leader, 0, 3)
    answer = await connection.request(ApiKey.FETCH, fetch(0), version=17)
    partition = answer.responses[0].partitions[0]
    assert partition.error_code == ErrorCode.none
    seen: list[str] = []
    for position, header in iter_batches(partition.records):
        if not header.is_control:
            found = [
                decode_record(r.value or b"") for r in decode_records(partition.records, position)
            ]
            seen += [r.name for r in found if isinstance(r, TopicRecord)]
        end = header.next_offset
    assert seen == ["t0", "t1", "t2"]
    waiting = asyncio.create_task(connection.request(ApiKey.FETCH, fetch(end), version=17))
    begun = own_s()
    await write(leader, 3, 1)
    answer = await waiting
    assert own_s() - begun < 10, "woken, not timed out"
    partition = answer.responses[0].partitions[0]
    assert partition.high_watermark == end + 1
    assert partition.records
    follower = next(n for n in three.nodes.values() if n is not leader)
    answer = await follower.quorum.handle(ApiKey.FETCH, 17, decoded(fetch(0)))
    partition = answer.responses[0].partitions[0]
    assert partition.error_code == ErrorCode.not_leader_or_follower
    assert partition.current_leader.leader_id == leader.id
    assert (answer.node_endpoints[0].host, answer.node_endpoints[0].port) == (host, port)
    connection.close()


def decoded(body: Struct, key: ApiKey = ApiKey.FETCH, version: int = 17) -> Struct:
    from broker.protocol.codec import decode_request, encode_request

    return decode_request(key, version, encode_request(key, version, body))


async def test_strangers_are_refused(three: SocketCluster) -> None:
    leader = await three.elected()
    handle = leader.quorum.handle
    body = fetch(0)
    body.cluster_id = "another"
    answer = await handle(ApiKey.FETCH, 17, decoded(body))
    assert answer.error_code == ErrorCode.inconsistent_cluster_id
    answer = await handle(ApiKey.FETCH, 17, decoded(Struct(topics=[])))
    assert answer.error_code == ErrorCode.invalid_request
    vote = Struct(
        voter_id=leader.id,
        topics=[
            Struct(
                topic_name=METADATA_TOPIC,
                partitions=[Struct(partition_index=0, replica_id=77, replica_epoch=999)],
            )
        ],
    )
    answer = await handle(ApiKey.VOTE, 2, decoded(vote, ApiKey.VOTE, 2))
    assert answer.topics[0].partitions[0].error_code == ErrorCode.inconsistent_voter_set
    assert leader.quorum.is_leader
    vote.voter_id = 55
    answer = await handle(ApiKey.VOTE, 2, decoded(vote, ApiKey.VOTE, 2))
    assert answer.error_code == ErrorCode.invalid_voter_key
    answer = await handle(ApiKey.FETCH, 17, decoded(fetch(10**9)))
    assert answer.responses[0].partitions[0].error_code == ErrorCode.offset_out_of_range
    answer = await handle(ApiKey.FETCH, 17, decoded(fetch(0, current_leader_epoch=999)))
    assert answer.responses[0].partitions[0].error_code == ErrorCode.unknown_leader_epoch


async def test_snapshots_are_written_trimmed_to_fetched_and_loaded(tmp_path: Path) -> None:
    config = QuorumConfig(snapshot_log_bytes=2_000, snapshot_chunk_bytes_max=700, **PATIENT)
    cluster = SocketCluster(tmp_path, 3, config)
    await cluster.start()
    leader = await cluster.elected()
    away = next(n for n in cluster.nodes.values() if n is not leader)
    await away.die()
    for node in cluster.nodes.values():
        heard = node.heard
        node.quorum.set_snapshot_source(
            lambda heard=heard: (heard.position, heard.epoch, list(heard.records).copy)
        )
    for first in range(0, 100, 10):
        await write(leader, first, 10)
    await until(lambda: leader.log.start_offset > 0)
    # Older ones go a moment after the log's start has moved.
    kept = Path(leader.directory)
    await until(lambda: len(list(kept.glob("*.checkpoint"))) in (1, 2))
    for log_file in Path(away.directory).iterdir():
        log_file.unlink()
    await away.listen()
    away.make()
    await away.quorum.start()
    expected = [f"t{i}" for i in range(100)]
    await until(lambda: names(away.heard) == expected)
    assert away.heard.snapshots
    assert not list(Path(away.directory).glob("*.part"))
    await cluster.stop()
    for node in cluster.nodes.values():
        await node.listen()
        node.make()
    for node in cluster.nodes.values():
        await node.quorum.start()
    await cluster.elected()
    await until(lambda: all(names(n.heard) == expected for n in cluster.nodes.values()))
    assert all(n.heard.snapshots for n in cluster.nodes.values())
    await cluster.stop()


async def test_records_that_waited_long_enough_are_saved_and_stay_in_the_log(
    tmp_path: Path,
) -> None:
    """A start replays nothing that is older, and who reads from the start hears what was."""
    config = QuorumConfig(snapshot_interval_ms=200, **PATIENT)
    cluster = SocketCluster(tmp_path, 3, config)
    await cluster.start()
    leader = await cluster.elected()
    for node in cluster.nodes.values():
        heard = node.heard
        node.quorum.set_snapshot_source(
            lambda heard=heard: (heard.position, heard.epoch, list(heard.records).copy)
        )
    await write(leader, 0, 50)
    expected = [f"t{i}" for i in range(50)]
    # Nothing is written any more: time alone is the reason.
    for node in cluster.nodes.values():
        await until(lambda node=node: list(Path(node.directory).glob("*.checkpoint")))
        assert node.log.start_offset == 0
    answer = await leader.quorum.handle(ApiKey.FETCH, 17, decoded(fetch(0)))
    (partition,) = answer.responses[0].partitions
    assert next(iter_batches(partition.records))[1].base_offset == 0
    await cluster.stop()
    for node in cluster.nodes.values():
        await node.listen()
        node.make()
    for node in cluster.nodes.values():
        await node.quorum.start()
    leader = await cluster.elected()
    await write(leader, 50, 1)
    for node in cluster.nodes.values():
        await until(lambda node=node: names(node.heard) == [*expected, "t50"])
        assert len(node.heard.snapshots) == 1
        assert node.log.start_offset == 0
        replayed = [base for base in node.heard.offsets if base < node.heard.snapshots[0]]
        assert replayed == []
    await cluster.stop()


async def test_a_log_whose_start_was_not_saved_is_shortened_at_the_start(tmp_path: Path) -> None:
    config = QuorumConfig(snapshot_log_bytes=2_000, **PATIENT)
    cluster = SocketCluster(tmp_path, 1, config)
    await cluster.start()
    node = await cluster.elected()
    heard = node.heard
    node.quorum.set_snapshot_source(lambda: (heard.position, heard.epoch, list(heard.records).copy))
    for first in range(0, 100, 10):
        await write(node, first, 10)
    await until(lambda: node.log.start_offset > 0)
    await node.die()
    await node.listen()
    node.make()
    assert node.log.start_offset == 0
    await node.quorum.start()
    (end,) = node.heard.snapshots
    assert node.log.start_offset == end > 0
    await until(lambda: names(node.heard) == [f"t{i}" for i in range(100)])
    await cluster.stop()


async def test_a_spoilt_election_state_stops_the_start(tmp_path: Path) -> None:
    cluster = SocketCluster(tmp_path, 1)
    node = cluster.nodes[1]
    cluster.voters[1] = ("127.0.0.1", 1)
    node.make()
    Path(node.directory, "quorum-state").write_text("{not json")
    with pytest.raises(CorruptFile, match="quorum-state"):
        await node.quorum.start()
    node.log.close()
