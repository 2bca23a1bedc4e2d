"""Consumer groups of real clients on real brokers: sharing, leaving, failing over, Kafka's tools."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.batch import Record, encode_batch
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ErrorCode, WireError
from broker.protocol.network import AsyncioNetwork
from broker.protocol.struct import Struct
from tests.interop.conftest import StartCluster, absent
from tests.interop.console_tools import tool
from tests.interop.foreign_members import (
    FranzGo,
    FranzGoRange,
    JavaCooperative,
    JavaRange,
    KafkaJs,
    Kcat,
)
from tests.interop.group_members import MEMBERS, ConfluentRange, Member, until
from tests.interop.real_cluster import RealCluster

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

PARTITIONS = 6
EVERY = frozenset(range(PARTITIONS))
GROUP = "readers"
SETTINGS = {
    "offsets_topic_num_partitions": "8",
    "group_initial_rebalance_delay_ms": "100",
    "num_partitions": str(PARTITIONS),
}
EVERYBODY: tuple[type[Member], ...] = (
    *MEMBERS,
    KafkaJs,
    JavaRange,
    JavaCooperative,
    FranzGo,
    FranzGoRange,
    Kcat,
)
KILLS = 3
COMMITTERS = 4
SECONDS_BETWEEN_KILLS = 1.5
WAIT_SECONDS = 60.0


class Talker:
    """Speaks to brokers directly; finds coordinators and leaders as a client does."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = [each.rpartition(":") for each in bootstrap.split(",")]
        self._connections: dict[tuple[str, int], BrokerConnection] = {}

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()

    async def ask(
        self, host: str, port: int, key: ApiKey, body: Struct, version: int | None = None
    ) -> Struct:
        connection = self._connections.get((host, port))
        if connection is None or connection.closed:
            connection = await BrokerConnection.open(AsyncioNetwork(), host, port, timeout_ms=3_000)
            self._connections[host, port] = connection
        return await connection.request(key, body, version=version, timeout_ms=8_000)

    async def ask_any(self, key: ApiKey, body: Struct) -> Struct:
        last: WireError | None = None
        for host, _, port in self._bootstrap:
            try:
                return await self.ask(host, int(port), key, body)
            except WireError as error:
                last = error
        assert last is not None
        raise last

    async def coordinator(self, group: str) -> Struct | None:
        """Node, host and port of a group's coordinator; None while there is none."""
        body = Struct(key_type=0, coordinator_keys=[group])
        with suppress(WireError):
            (found,) = (await self.ask_any(ApiKey.FIND_COORDINATOR, body)).coordinators
            if found.error_code == ErrorCode.none:
                return found  # type: ignore[no-any-return]
        return None

    async def ask_coordinator(
        self, group: str, key: ApiKey, body: Struct, version: int | None = None
    ) -> Struct | None:
        """One attempt; None when there was no answer."""
        found = await self.coordinator(group)
        if found is None:
            return None
        with suppress(WireError):
            return await self.ask(found.host, found.port, key, body, version)
        return None

    async def commit(self, group: str, topic: str, partition: int, offset: int) -> bool:
        entry = Struct(partition_index=partition, committed_offset=offset, committed_metadata="")
        body = Struct(
            group_id=group,
            generation_id_or_member_epoch=-1,
            member_id="",
            topics=[Struct(name=topic, partitions=[entry])],
        )
        answer = await self.ask_coordinator(group, ApiKey.OFFSET_COMMIT, body, 9)
        if answer is None:
            return False
        return bool(answer.topics[0].partitions[0].error_code == ErrorCode.none)

    async def committed(self, group: str, *, stable: bool = True) -> dict[int, int] | None:
        """Offsets by partition of a group that reads one topic; None when nobody answers."""
        body = Struct(groups=[Struct(group_id=group, topics=None)], require_stable=stable)
        answer = await self.ask_coordinator(group, ApiKey.OFFSET_FETCH, body, 9)
        if answer is None or answer.groups[0].error_code != ErrorCode.none:
            return None
        return {
            each.partition_index: each.committed_offset
            for topic in answer.groups[0].topics
            for each in topic.partitions
        }

    async def describe(self, group: str) -> Struct | None:
        answer = await self.ask_coordinator(group, ApiKey.DESCRIBE_GROUPS, Struct(groups=[group]))
        return None if answer is None else answer.groups[0]

    async def produce(self, topic: str, count: int) -> None:
        """`count` records into each partition, acknowledged by all."""
        batch = encode_batch(
            [Record(n, int(time.time() * 1000), None, b"%d" % n, ()) for n in range(count)]
        )
        async with asyncio.timeout(WAIT_SECONDS):
            left = set(EVERY)
            while left:
                await self._produce_some(topic, batch, left)

    async def _produce_some(self, topic: str, batch: bytes, left: set[int]) -> None:
        metadata = await self.ask_any(ApiKey.METADATA, Struct(topics=[Struct(name=topic)]))
        nodes = {each.node_id: each for each in metadata.brokers}
        for partition in metadata.topics[0].partitions:
            node = nodes.get(partition.leader_id)
            if node is None or partition.partition_index not in left:
                continue
            data = Struct(index=partition.partition_index, records=batch)
            body = Struct(
                acks=-1,
                timeout_ms=5_000,
                topic_data=[Struct(topic_id=metadata.topics[0].topic_id, partition_data=[data])],
            )
            with suppress(WireError):
                answer = await self.ask(node.host, node.port, ApiKey.PRODUCE, body)
                code = answer.responses[0].partition_responses[0].error_code
                if code == ErrorCode.none:
                    left.discard(partition.partition_index)


@asynccontextmanager
async def talking(cluster: RealCluster) -> AsyncIterator[Talker]:
    talker = Talker(cluster.bootstrap)
    try:
        yield talker
    finally:
        talker.close()


async def make_topic(cluster: RealCluster, topic: str) -> None:
    await cluster.make_topic(topic, PARTITIONS)


def produce(cluster: RealCluster, topic: str, count: int) -> None:
    async def run() -> None:
        async with talking(cluster) as talker:
            await talker.produce(topic, count)

    asyncio.run(run())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    named = {name.replace("_", "."): value for name, value in SETTINGS.items()}
    settings = {"min.insync.replicas": "2"} | named
    with RealCluster(tmp_path_factory.mktemp("groups"), settings) as made:
        yield made


@pytest.fixture
def own_cluster(start_cluster: StartCluster) -> RealCluster:
    """Three brokers of the test's own, which it may hurt."""
    return start_cluster(**SETTINGS)


@pytest.fixture
def crowd() -> Iterator[list[Member]]:
    """Members that the test started; whoever still runs is ended."""
    members: list[Member] = []
    yield members
    for member in members:
        with suppress(BaseException):
            member.close()


def need(kind: type[Member]) -> None:
    if what := kind.missing():
        absent(what)


def is_shared(members: list[Member], *, evenly: bool = True) -> bool:
    """Every partition has exactly one member, and each member its share."""
    given = [partition for member in members for partition in member.assigned]
    shares = {len(member.assigned) for member in members}
    return sorted(given) == sorted(EVERY) and (not evenly or max(shares) - min(shares) <= 1)


# -- sharing


@pytest.mark.parametrize("kind", EVERYBODY, ids=lambda kind: kind.__name__)
def test_members_share_the_partitions_as_they_come_and_go(
    cluster: RealCluster, crowd: list[Member], kind: type[Member]
) -> None:
    need(kind)
    topic = group = f"shared-{kind.__name__}"
    asyncio.run(make_topic(cluster, topic))
    produce(cluster, topic, 20)

    def everything(upto: int) -> bool:
        seen = {each for member in crowd for each in member.seen}
        return seen == {(partition, n) for partition in EVERY for n in range(upto)}

    first = kind(cluster.bootstrap, group, topic)
    crowd.append(first)
    until(lambda: first.assigned == EVERY and everything(20), "one member has everything", crowd)
    second = kind(cluster.bootstrap, group, topic)
    crowd.append(second)
    until(lambda: is_shared([first, second]), "two members share", crowd)
    produce(cluster, topic, 20)
    until(lambda: everything(40), "two members see everything", crowd)
    first.close()
    until(lambda: second.assigned == EVERY, "who stays takes over", crowd)
    produce(cluster, topic, 20)
    until(
        lambda: everything(60) and not second.uncommitted,
        "who stays sees and commits everything", crowd,
    )  # fmt: skip
    second.close()
    produce(cluster, topic, 5)
    third = kind(cluster.bootstrap, group, topic)
    crowd.append(third)
    until(lambda: everything(65), "a new member goes on", crowd)
    third.close()
    assert sorted(third.seen) == [(p, n) for p in sorted(EVERY) for n in range(60, 65)]


def test_members_of_different_clients_share_one_group(
    cluster: RealCluster, crowd: list[Member]
) -> None:
    kinds: tuple[type[Member], ...] = (ConfluentRange, JavaRange, FranzGoRange, Kcat)
    for kind in kinds:
        need(kind)
    topic = group = "of-all-languages"
    asyncio.run(make_topic(cluster, topic))
    for kind in kinds:
        crowd.append(kind(cluster.bootstrap, group, topic))
        until(lambda: is_shared(crowd), f"{len(crowd)} members share", crowd)
    produce(cluster, topic, 20)

    def everything(upto: int) -> bool:
        seen = {each for member in crowd for each in member.seen}
        return seen == {(partition, n) for partition in EVERY for n in range(upto)}

    until(lambda: everything(20), "together they see everything", crowd)
    assert all(member.seen for member in crowd)
    # The leader of the group, who shares out for all of them, was the first to come.
    crowd[0].close()
    until(lambda: is_shared(crowd[1:]), "who stays shares anew", crowd)
    produce(cluster, topic, 20)
    until(lambda: everything(40), "who stays sees everything", crowd)


def test_a_static_member_restarts_without_a_rebalance(
    cluster: RealCluster, crowd: list[Member]
) -> None:
    need(ConfluentRange)
    topic = group = "static"
    asyncio.run(make_topic(cluster, topic))
    one = ConfluentRange(cluster.bootstrap, group, topic, instance="one")
    two = ConfluentRange(cluster.bootstrap, group, topic, instance="two")
    crowd += [one, two]
    until(lambda: is_shared([one, two]), "two static members share", crowd)
    before, given = two.assigned, one.assignments
    two.close()
    again = ConfluentRange(cluster.bootstrap, group, topic, instance="two")
    crowd.append(again)
    until(lambda: again.assigned == before, "it has its partitions again", crowd)
    assert one.assignments == given, "the other member was disturbed"
    produce(cluster, topic, 3)
    until(lambda: len({*one.seen, *again.seen}) == 3 * PARTITIONS, "both consume", crowd)
    assert one.assignments == given


# -- coordinators that die


async def watch_offsets(talker: Talker, group: str, marks: dict[int, int]) -> None:
    """Read a group's offsets for ever: none may go back."""
    while True:
        for partition, offset in (await talker.committed(group, stable=False) or {}).items():
            before = marks.get(partition, -1)
            assert offset >= before, f"offset of {partition} went back: {before} -> {offset}"
            marks[partition] = offset
        await asyncio.sleep(0.02)


async def commit_on(talker: Talker, group: str, topic: str, acknowledged: list[int]) -> None:
    """Commit 1, 2, 3, ...: the next one once the last is acknowledged."""
    offset = 1
    while True:
        if await talker.commit(group, topic, 0, offset):
            acknowledged.append(offset)
            offset += 1
        else:
            await asyncio.sleep(0.02)


async def test_no_commit_is_lost_when_coordinators_are_killed(own_cluster: RealCluster) -> None:
    cluster = own_cluster
    await make_topic(cluster, "orders")
    groups = [f"committer-{number}" for number in range(COMMITTERS)]
    acknowledged: dict[str, list[int]] = {group: [] for group in groups}
    async with talking(cluster) as talker:
        tasks = [
            asyncio.ensure_future(commit_on(talker, group, "orders", acknowledged[group]))
            for group in groups
        ]
        tasks += [asyncio.ensure_future(watch_offsets(talker, group, {})) for group in groups]
        for number in range(KILLS):
            before = [len(each) for each in acknowledged.values()]
            await progress(acknowledged, before, tasks)
            victim = await coordinator_of(talker, groups[number % COMMITTERS])
            cluster.kill(victim)
            before = [len(each) for each in acknowledged.values()]
            await progress(acknowledged, before, tasks)
            await asyncio.sleep(SECONDS_BETWEEN_KILLS)
            cluster.start(victim)
            await cluster.whole()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [each for each in results if isinstance(each, AssertionError)], results
        for group in groups:
            last = acknowledged[group][-1]
            assert acknowledged[group] == list(range(1, last + 1))
            async with asyncio.timeout(WAIT_SECONDS):
                while (kept := await talker.committed(group)) is None:
                    await asyncio.sleep(0.02)
            # The next one may have been stored although nobody was told.
            assert kept[0] in (last, last + 1)


async def progress(
    acknowledged: dict[str, list[int]], before: list[int], tasks: list[asyncio.Future[None]]
) -> None:
    """Each group commits again."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not all(
            len(each) > count + 5 for each, count in zip(acknowledged.values(), before, strict=True)
        ):
            for task in tasks:
                if task.done():
                    await task
            await asyncio.sleep(0.02)


async def coordinator_of(talker: Talker, group: str) -> int:
    async with asyncio.timeout(WAIT_SECONDS):
        while (found := await talker.coordinator(group)) is None:
            await asyncio.sleep(0.02)
    return int(found.node_id)


async def test_a_group_settles_when_its_coordinator_dies_in_mid_rebalance(
    own_cluster: RealCluster, crowd: list[Member]
) -> None:
    need(ConfluentRange)
    cluster = own_cluster
    await make_topic(cluster, "orders")
    async with talking(cluster) as talker:
        await talker.produce("orders", 50)
        marks: dict[int, int] = {}
        gone: list[Member] = []
        watching = asyncio.ensure_future(watch_offsets(talker, GROUP, marks))
        for number in range(3):
            crowd.append(ConfluentRange(cluster.bootstrap, GROUP, "orders"))
            if number:
                # The newcomer joins, the others are to join again: in the midst of it ...
                while not await in_rebalance(talker, crowd):
                    # Over before it was seen: once more.
                    gone.append(crowd.pop())
                    await asyncio.to_thread(gone[-1].close)
                    crowd.append(ConfluentRange(cluster.bootstrap, GROUP, "orders"))
                victim = await coordinator_of(talker, GROUP)
                cluster.kill(victim)
            await asyncio.to_thread(
                until, lambda: is_shared(crowd), "the group settles", list(crowd)
            )
            await talker.produce("orders", 50)
            if number:
                cluster.start(victim)
                await cluster.whole()
        wanted = dict.fromkeys(EVERY, 200)
        async with asyncio.timeout(WAIT_SECONDS):
            while marks != wanted:
                if watching.done():
                    await watching
                await asyncio.sleep(0.05)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        seen = {each for member in [*crowd, *gone] for each in member.seen}
        assert seen == {(partition, n) for partition in EVERY for n in range(200)}
        for member in crowd:
            await asyncio.to_thread(member.close)


async def in_rebalance(talker: Talker, members: list[Member]) -> bool:
    """Wait until the group is seen rebalancing; False when it has settled meanwhile."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            told = await talker.describe(GROUP)
            if told is not None and told.group_state.endswith("Rebalance"):
                return True
            if is_shared(members):
                return False
            await asyncio.sleep(0.005)


# -- Apache Kafka's tools


class Groups:
    """kafka-consumer-groups of one cluster."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def __call__(self, *arguments: str) -> str:
        return tool("kafka-consumer-groups", "--bootstrap-server", self._bootstrap, *arguments)

    def rows(self, *arguments: str) -> list[list[str]]:
        """The table that it prints, without its heading."""
        lines = [line.split() for line in self(*arguments).splitlines() if line.strip()]
        return [line for line in lines if line[0] not in ("GROUP", "TOPIC")]


def test_kafkas_own_tool_reads_and_changes_groups(
    cluster: RealCluster, crowd: list[Member], java_client: None
) -> None:
    need(ConfluentRange)
    groups = Groups(cluster.bootstrap)
    asyncio.run(make_topic(cluster, "tooled"))
    produce(cluster, "tooled", 10)
    member = ConfluentRange(cluster.bootstrap, "tooled", "tooled")
    crowd.append(member)
    until(
        lambda: len(member.seen) == 60 and not member.uncommitted,
        "the member has read and committed everything", crowd,
    )  # fmt: skip

    assert ["tooled", "Stable"] in groups.rows("--list", "--state")
    described = groups.rows("--describe", "--group", "tooled")
    assert {(int(row[2]), row[3], row[4], row[5]) for row in described} == {
        (partition, "10", "10", "0") for partition in EVERY
    }
    assert {row[7] for row in described} == {"/127.0.0.1"}
    (state,) = groups.rows("--describe", "--group", "tooled", "--state")
    assert state[-3:] == ["range", "Stable", "1"]
    (told,) = groups.rows("--describe", "--group", "tooled", "--members", "--verbose")
    assert "tooled:0,1,2,3,4,5" in "".join(told)
    assert "not empty" in groups("--delete", "--group", "tooled")

    member.close()
    reset = groups.rows(
        "--reset-offsets", "--group", "tooled", "--topic", "tooled:0,1", "--to-offset", "4",
        "--execute",
    )  # fmt: skip
    assert sorted(row[1:] for row in reset) == [["tooled", "0", "4"], ["tooled", "1", "4"]]
    lag = {row[2]: row[5] for row in groups.rows("--describe", "--group", "tooled", "--offsets")
           if row[0] == "tooled"}  # fmt: skip
    assert lag == {"0": "6", "1": "6", "2": "0", "3": "0", "4": "0", "5": "0"}
    deleted = groups("--delete-offsets", "--group", "tooled", "--topic", "tooled:0")
    assert "Successful" in deleted
    assert len(groups.rows("--describe", "--group", "tooled", "--offsets")) >= PARTITIONS - 1
    assert "successful" in groups("--delete", "--group", "tooled")
    assert "tooled" not in groups("--list").split()


async def test_kafkas_dump_tool_decodes_what_is_stored(
    own_cluster: RealCluster, crowd: list[Member], java_client: None
) -> None:
    need(ConfluentRange)
    cluster = own_cluster
    await make_topic(cluster, "orders")
    async with talking(cluster) as talker:
        await talker.produce("orders", 7)
        member = ConfluentRange(cluster.bootstrap, GROUP, "orders", instance="one")
        crowd.append(member)
        await asyncio.to_thread(until, lambda: len(member.seen) == 42, "it has read", crowd)
        async with asyncio.timeout(WAIT_SECONDS):
            while await talker.committed(GROUP) != dict.fromkeys(EVERY, 7):
                await asyncio.sleep(0.02)
        await asyncio.to_thread(member.close)
        body = Struct(group_id=GROUP, members=[Struct(member_id="", group_instance_id="one")])
        await talker.ask_coordinator(GROUP, ApiKey.LEAVE_GROUP, body)
        deleted = await talker.ask_coordinator(
            GROUP, ApiKey.DELETE_GROUPS, Struct(groups_names=[GROUP])
        )
        assert deleted is not None
        assert deleted.results[0].error_code == ErrorCode.none
    folder = cluster.folder / "data-1"
    path = max(folder.glob("__consumer_offsets-*/*.log"), key=lambda each: each.stat().st_size)
    dumped = await asyncio.to_thread(
        tool, "kafka-dump-log", "--files", str(path), "--offsets-decoder"
    )
    assert "isvalid: true" in dumped
    assert "isvalid: false" not in dumped
    records = re.findall(r" key: (\{.*?\}\}) payload: (.*)", dumped)
    assert len(records) == len(re.findall(r"^\| offset:", dumped, re.MULTILINE))
    offsets: dict[int, Any] = {}
    stable: list[Any] = []
    deleted_keys = 0
    for key, payload in records:
        named = json.loads(key)
        value = json.loads(payload) if payload not in ("<DELETE>", "null") else None
        if value is None:
            deleted_keys += 1
        elif named["type"] == "1":
            offsets[named["data"]["partition"]] = value
        elif value["data"]["members"]:
            stable.append(value)
    assert {each["data"]["offset"] for each in offsets.values()} == {7}
    assert {each["version"] for each in offsets.values()} == {"4"}
    assert set(offsets) == EVERY
    (member_told,) = stable[0]["data"]["members"]
    assert stable[0]["version"] == "3"
    assert (member_told["groupInstanceId"], member_told["clientHost"]) == ("one", "/127.0.0.1")
    assert member_told["subscription"]["topics"] == ["orders"]
    assert member_told["assignment"]["assignedPartitions"] == [
        {"topic": "orders", "partitions": [0, 1, 2, 3, 4, 5]}
    ]
    assert deleted_keys == PARTITIONS + 1
