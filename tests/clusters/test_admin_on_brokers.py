"""The admin client against real brokers, of logd and of Apache Kafka: the same answers from both."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from uuid import uuid4

import aiokafka
import pytest

from benchmarks.peers import Cluster
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from clusters.admin import (
    AdminClient,
    AdminError,
    OffsetSpec,
    RecordsNotDeleted,
    UnknownGroup,
    UnknownTopic,
)
from clusters.admin.connections import Deadline
from tests.both_engines import BROKERS, ENGINES, WAIT_S, running
from tests.own_time import own_s

pytestmark = [pytest.mark.interop, pytest.mark.timeout(400)]


@pytest.fixture(scope="module", params=ENGINES)
def brokers(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with running(request.param) as cluster:
        yield cluster


@pytest.fixture
async def admin(brokers: Cluster) -> AsyncIterator[AdminClient]:
    async with AdminClient(brokers.bootstrap.split(","), timeout_ms=20_000) as client:
        yield client


async def until(check: Callable[[], Awaitable[bool]], what: str) -> None:
    limit = time.monotonic() + WAIT_S
    while not await check():
        assert time.monotonic() < limit, f"not in time: {what}"
        await asyncio.sleep(0.05)


async def write(cluster: Cluster, topic: str, partition: int, count: int, at_ms: int = 0) -> None:
    # Only what all replicas have can be seen by everybody.
    async with aiokafka.AIOKafkaProducer(
        bootstrap_servers=cluster.bootstrap, acks="all"
    ) as producer:
        for index in range(count):
            await producer.send_and_wait(
                topic,
                b"x" * 100,
                partition=partition,
                timestamp_ms=at_ms + index if at_ms else None,
            )


async def test_offsets_by_kind_and_time(brokers, admin):
    await admin.create_topic("times", 2, 3)
    await write(brokers, "times", 0, 10, at_ms=1_700_000_000_000)
    found = await admin.list_offsets(
        {("times", 0): OffsetSpec.at(1_700_000_000_004), ("times", 1): OffsetSpec.at(0)}
    )
    assert [(each.partition, each.offset) for each in found.items] == [(0, 4), (1, None)]
    assert found.items[0].timestamp_ms == 1_700_000_000_004
    assert found.complete
    newest = await admin.list_offsets({("times", 0): OffsetSpec.max_timestamp})
    assert (newest.items[0].offset, newest.items[0].timestamp_ms) == (9, 1_700_000_000_009)
    nowhere = await admin.list_offsets(
        {("times", 0): OffsetSpec.latest, ("times", 9): OffsetSpec.latest}
    )
    assert [each.offset for each in nowhere.items] == [10]
    assert [(f.where, f.reason) for f in nowhere.failures] == [
        ("times:9", "there is no such partition")
    ]


async def test_records_are_deleted_and_what_is_refused_is_named(brokers, admin):
    await admin.create_topic("trimmed", 2, 3)
    await write(brokers, "trimmed", 0, 8)
    assert await admin.delete_records({("trimmed", 0): 5}) == {("trimmed", 0): 5}
    assert (await admin.offsets([("trimmed", 0)], -2))["trimmed", 0] == 5
    with pytest.raises(RecordsNotDeleted, match="trimmed:1") as raised:
        await admin.delete_records({("trimmed", 0): 6, ("trimmed", 1): 99})
    assert raised.value.done == {("trimmed", 0): 6}


async def test_a_group_with_a_member_its_lag_and_its_end(brokers, admin):
    await admin.create_topic("read", 3, 3)
    for partition in range(3):
        await write(brokers, "read", partition, 5)
    consumer = aiokafka.AIOKafkaConsumer(
        "read",
        bootstrap_servers=brokers.bootstrap,
        group_id="readers",
        client_id="reader-1",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        got = 0
        while got < 15:
            got += sum(map(len, (await consumer.getmany(timeout_ms=500)).values()))
        await consumer.commit({aiokafka.TopicPartition("read", 0): 3})
        detail = await admin.group("readers")
        assert (detail.state, detail.protocol_type) == ("Stable", "consumer")
        assert [m.client_id for m in detail.members] == ["reader-1"]
        assert detail.members[0].partitions == (("read", 0), ("read", 1), ("read", 2))
        lag = await admin.group_lag("readers")
        assert [(row.partition, row.committed, row.end, row.lag) for row in lag.items] == [
            (0, 3, 5, 2),
            (1, None, 5, None),
            (2, None, 5, None),
        ]
        assert {row.member for row in lag.items} == {detail.members[0].member_id}
        assert [(g.group, g.state) for g in (await admin.groups(["stable"])).items] == [
            ("readers", "Stable")
        ]
        assert (await admin.groups(["empty"])).items == ()
        with pytest.raises(AdminError, match="the group has members"):
            await admin.commit_offsets("readers", {("read", 0): 0})
        with pytest.raises(AdminError, match="the group has members"):
            await admin.delete_groups(["readers"])
        with pytest.raises(AdminError, match="members of the group read that topic"):
            await admin.delete_group_offsets("readers", [("read", 0)])
    finally:
        await consumer.stop()
    await admin.commit_offsets("readers", {("read", 0): 1, ("read", 2): 4})
    offsets = await admin.group_offsets("readers")
    assert [(o.partition, o.offset) for o in offsets] == [(0, 1), (2, 4)]
    await admin.delete_group_offsets("readers", [("read", 0)])
    assert [o.partition for o in await admin.group_offsets("readers")] == [2]
    await admin.delete_groups(["readers"])
    with pytest.raises(UnknownGroup):
        await admin.group("readers")
    assert await admin.group_offsets("readers") == []


async def test_an_unknown_group_names_the_nearest(admin):
    await admin.create_topic("for-groups", 1, 3)

    async def committed() -> bool:
        # The group's coordinator may hear of the topic later than who was asked for it.
        try:
            await admin.commit_offsets("payments", {("for-groups", 0): 0})
        except AdminError:
            return False
        return True

    await until(committed, "the coordinator knows the topic")
    with pytest.raises(UnknownGroup, match='did you mean "payments"'):
        await admin.group("payment")
    with pytest.raises(UnknownGroup):
        await admin.delete_groups(["payment"])


@pytest.mark.parametrize("brokers", ["apache-kafka"], indirect=True)
async def test_share_groups_are_described_moved_and_deleted(brokers, admin):
    await admin.create_topic("shared", 2, 3)
    await write(brokers, "shared", 0, 5)

    async def beat(member: str, epoch: int) -> int:
        deadline = Deadline.after(20_000)
        body = Struct(
            group_id="sharers",
            member_id=member,
            member_epoch=epoch,
            subscribed_topic_names=["shared"] if epoch == 0 else None,
        )
        _, answer = await admin._at_coordinator(
            "sharers",
            ApiKey.SHARE_GROUP_HEARTBEAT,
            body,
            lambda answer: answer.error_code,
            deadline,
        )
        assert answer.error_code == 0, answer.error_message
        return int(answer.member_epoch)

    members = {name: await beat(name, 0) for name in (str(uuid4()), str(uuid4()))}

    async def assigned() -> bool:
        for name, epoch in members.items():
            members[name] = await beat(name, epoch)
        return all(member.partitions for member in (await admin.group("sharers")).members)

    await until(assigned, "both have partitions")
    detail = await admin.group("sharers")
    assert (detail.state, detail.protocol_type, len(detail.members)) == ("Stable", "share", 2)
    told = {member.member_id: member.partitions for member in detail.members}
    assert told.keys() == members.keys()
    assert {key for keys in told.values() for key in keys} == {("shared", 0), ("shared", 1)}
    assert ("sharers", "share") in [(g.group, g.group_type) for g in (await admin.groups()).items]
    with pytest.raises(AdminError, match="the group has members"):
        await admin.delete_groups(["sharers"])
    with pytest.raises(AdminError, match="The group is not empty"):
        await admin.commit_offsets("sharers", {("shared", 0): 0})
    for name in members:
        await beat(name, -1)

    await admin.commit_offsets("sharers", {("shared", 0): 2, ("shared", 1): 0})

    async def counted() -> bool:
        # The cluster counts lag when it hears of where the group begins.
        lag = await admin.group_lag("sharers")
        return [(each.committed, each.lag) for each in lag.items] == [(2, 3), (0, 0)]

    await until(counted, "the group begins at 2 and has 3 records before it")
    with pytest.raises(AdminError, match="name shared without partitions"):
        await admin.delete_group_offsets("sharers", [("shared", 0)])
    await admin.delete_group_offsets("sharers", [("shared", 0), ("shared", 1)])
    assert await admin.group_offsets("sharers") == []
    await admin.delete_groups(["sharers"])
    with pytest.raises(UnknownGroup):
        await admin.group("sharers")


@pytest.mark.parametrize("brokers", ["apache-kafka"], indirect=True)
async def test_streams_groups_show_what_their_tasks_read(brokers, admin):
    await admin.create_topic("streamed", 2, 3)
    await admin.create_topic("streamed-wide", 3, 3)
    member = str(uuid4())
    source = Struct(
        subtopology_id="0",
        source_topics=["streamed", "streamed-wide"],
        source_topic_regex=[],
        state_changelog_topics=[],
        repartition_sink_topics=[],
        repartition_source_topics=[],
        copartition_groups=[],
    )
    joining = Struct(
        group_id="streamers",
        member_id=member,
        member_epoch=0,
        rebalance_timeout_ms=60_000,
        topology=Struct(epoch=1, subtopologies=[source]),
        active_tasks=[],
        standby_tasks=[],
        warmup_tasks=[],
        process_id="here",
        client_tags=[],
        user_endpoint=None,
        task_offsets=None,
        task_end_offsets=None,
    )

    async def beat(body: Struct) -> int:
        _, answer = await admin._at_coordinator(
            "streamers",
            ApiKey.STREAMS_GROUP_HEARTBEAT,
            body,
            lambda answer: answer.error_code,
            Deadline.after(20_000),
        )
        assert answer.error_code == 0, answer.error_message
        return int(answer.member_epoch)

    epoch = await beat(joining)

    async def stable() -> bool:
        nonlocal epoch
        tasks = [Struct(subtopology_id="0", partitions=[0, 1, 2])]
        epoch = await beat(
            Struct(
                group_id="streamers",
                member_id=member,
                member_epoch=epoch,
                topology=None,
                active_tasks=tasks,
                standby_tasks=[],
                warmup_tasks=[],
                process_id=None,
                user_endpoint=None,
                client_tags=None,
                task_offsets=None,
                task_end_offsets=None,
            )
        )
        return bool((await admin.group("streamers")).members[0].partitions)

    await until(stable, "its member has tasks")
    detail = await admin.group("streamers")
    assert detail.protocol_type == "streams"
    # The third task has a partition in one topic only.
    assert detail.members[0].partitions == (
        *(("streamed", index) for index in range(2)),
        *(("streamed-wide", index) for index in range(3)),
    )
    lag = await admin.group_lag("streamers")
    assert lag.complete
    assert {each.member for each in lag.items} == {member}
    assert len(lag.items) == 5

    tasks = ("active_tasks", "standby_tasks", "warmup_tasks")
    await beat(joining.replace(member_epoch=-1, topology=None, **dict.fromkeys(tasks)))
    await admin.delete_groups(["streamers"])


async def test_settings_with_sources_are_set_and_unset(admin):
    await admin.create_topic("settings", 1, 3)
    await admin.alter_configs(
        "topic", "settings", {"retention.ms": "60000", "cleanup.policy": "compact"}
    )
    entries = {entry.name: entry for entry in await admin.configs("topic", "settings")}
    assert (entries["retention.ms"].value, entries["retention.ms"].source) == ("60000", "topic")
    assert entries["segment.bytes"].is_default
    assert entries["retention.ms"].type == "long"
    assert entries["retention.ms"].documentation is None
    told = {e.name: e for e in await admin.configs("topic", "settings", documentation=True)}
    assert told["retention.ms"].documentation
    await admin.alter_configs("topic", "settings", {"retention.ms": "1"}, validate_only=True)
    await admin.alter_configs("topic", "settings", unset=["cleanup.policy"])
    entries = {entry.name: entry for entry in await admin.configs("topic", "settings")}
    assert entries["retention.ms"].value == "60000"
    assert entries["cleanup.policy"].is_default
    with pytest.raises(AdminError) as raised:
        await admin.alter_configs("topic", "settings", {"retention.ms": "soon"})
    assert raised.value.code == ErrorCode.invalid_config
    with pytest.raises(UnknownTopic, match='did you mean "settings"'):
        await admin.alter_configs("topic", "setting", {"retention.ms": "1"})
    with pytest.raises(UnknownTopic):
        await admin.configs("topic", "setting")
    assert (await admin.topic_settings(["settings"], ["retention.ms"])) == {
        "settings": {"retention.ms": "60000"}
    }


async def test_settings_of_brokers(admin):
    static = {entry.name: entry for entry in await admin.configs("broker", "2")}
    assert static["node.id"].value == "2"
    assert static["node.id"].read_only
    await admin.alter_configs("broker", "", {"message.max.bytes": "2000000"})

    async def seen() -> bool:
        entries = {entry.name: entry for entry in await admin.configs("broker", "2")}
        entry = entries["message.max.bytes"]
        return (entry.value, entry.source) == ("2000000", "dynamic default broker")

    await until(seen, "the default for all brokers")
    await admin.alter_configs("broker", "", unset=["message.max.bytes"])
    with pytest.raises(AdminError, match="Broker 9 is not running"):
        await admin.configs("broker", "9")


async def test_replicas_move_and_their_sizes_are_told(brokers, admin):
    await admin.create_topic("moving", assignments={0: [1, 2], 1: [2, 3]})
    await write(brokers, "moving", 0, 20)
    placed = await admin.partitions(["moving"], min_isr=True)
    assert [(p.replicas, p.leader, p.min_isr) for p in placed] == [((1, 2), 1, 1), ((2, 3), 2, 1)]
    dirs = await admin.log_dirs([1, 7])
    assert [d.broker for d in dirs.items] == [1]
    assert [f.where for f in dirs.failures] == ["broker 7"]
    sizes = {(r.topic, r.partition): r.size_bytes for r in dirs.items[0].replicas}
    assert sizes["moving", 0] > 2_000
    assert ("moving", 1) not in sizes
    assert dirs.items[0].total_bytes > dirs.items[0].usable_bytes > 0
    await admin.reassign({("moving", 0): (3, 2)})

    async def moved() -> bool:
        return not await admin.reassignments() and (await admin.partitions(["moving"]))[
            0
        ].replicas == (3, 2)

    await until(moved, "the replicas moved")
    results = await admin.elect_leaders(True, [("moving", 0)])
    assert [r.error for r in results] in ([None], [])
    with pytest.raises(AdminError, match="moving:1"):
        await admin.reassign({("moving", 1): None})
    await admin.create_partitions("moving", 3, [[1, 3]])
    assert (await admin.partitions(["moving"]))[2].replicas == (1, 3)


async def test_producers_and_features(brokers, admin):
    await admin.create_topic("written", 1, 3)
    async with aiokafka.AIOKafkaProducer(
        bootstrap_servers=brokers.bootstrap, enable_idempotence=True
    ) as producer:
        for _ in range(3):
            await producer.send_and_wait("written", b"x")
    found = await admin.producers([("written", 0)])
    assert [(p.producer_epoch, p.last_sequence, p.txn_start_offset) for p in found.items] == [
        (0, 2, None)
    ]
    features = {each.feature: each for each in await admin.features()}
    assert features["metadata.version"].level is not None


async def test_the_quorum_tells_who_lags(admin):
    quorum = await admin.quorum()
    assert len(quorum.voters) == BROKERS
    assert [quorum.lag(v) for v in quorum.voters if v.id == quorum.leader_id] == [0]
    assert quorum.to_json()["voters"][0]["lag"] is not None


async def test_a_silent_broker_costs_its_own_part_alone(brokers, admin):
    await admin.create_topic("parts", assignments={0: [1], 1: [2], 2: [3]})
    for partition in range(3):
        await write(brokers, "parts", partition, 4)
    await admin.commit_offsets("partial", {("parts", p): 1 for p in range(3)})
    victim = (await admin.group("partial")).coordinator % BROKERS + 1
    lost = victim - 1
    async with AdminClient(brokers.bootstrap.split(","), timeout_ms=4_000) as brief:
        await brief.cluster()
        brokers.processes[victim].send_signal(signal.SIGSTOP)
        try:
            began = own_s()
            lag, groups, dirs = await asyncio.gather(
                brief.group_lag("partial"), brief.groups(), brief.log_dirs()
            )
            assert own_s() - began < 20
        finally:
            brokers.processes[victim].send_signal(signal.SIGCONT)
    assert [row.lag for row in lag.items] == [None if p == lost else 3 for p in range(3)]
    assert [f.where for f in lag.failures] == [f"parts:{lost}"]
    assert "partial" in [g.group for g in groups.items]
    assert {d.broker for d in dirs.items} >= {1, 2, 3} - {victim}
    assert all(f"broker {victim} " in f.where for f in (*groups.failures, *dirs.failures))
