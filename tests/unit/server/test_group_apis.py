"""Consumer groups on the wire: every version, every broker's answer, a coordinator that moves."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from broker.api.find_coordinator import NO_TRANSACTIONS
from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ErrorCode
from broker.protocol.network import AsyncioNetwork
from broker.protocol.struct import Struct
from broker.runtime.group_shard import GroupShard

MakeCluster = Callable[..., Any]
SETTINGS = {
    "offsets__topic__num__partitions": "4",
    "offsets__topic__replication__factor": "1",
    "group__initial__rebalance__delay__ms": "0",
    "group__min__session__timeout__ms": "100",
}
WAIT_SECONDS = 60


@pytest.fixture
async def cluster(make_cluster: MakeCluster) -> Any:
    made = make_cluster(1, **SETTINGS)
    await made.start()
    return made


async def find(cluster: Any, group: str = "g", node_id: int = 1) -> int:
    """The broker that coordinates, once there is one that serves."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = await cluster.ask(
                ApiKey.FIND_COORDINATOR, node_id, key_type=0, coordinator_keys=[group]
            )
            (coordinator,) = found.coordinators
            broker = cluster.brokers.get(coordinator.node_id)
            if broker is not None and isinstance(broker.node.groups.find(group), GroupShard):
                return int(coordinator.node_id)
            await asyncio.sleep(0.02)


def join_request(**changes: Any) -> dict[str, Any]:
    return {
        "group_id": "g",
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 10_000,
        "member_id": "",
        "protocol_type": "consumer",
        "protocols": [Struct(name="range", metadata=b"m")],
    } | changes


async def join(cluster: Any, node_id: int = 1, **changes: Any) -> Struct:
    """The first or both steps of joining."""
    answer = await cluster.ask(ApiKey.JOIN_GROUP, node_id, **join_request(**changes))
    if answer.error_code == ErrorCode.member_id_required:
        changes["member_id"] = answer.member_id
        answer = await cluster.ask(ApiKey.JOIN_GROUP, node_id, **join_request(**changes))
    return answer  # type: ignore[no-any-return]


def commit_request(offset: int, **changes: Any) -> dict[str, Any]:
    partition = Struct(
        partition_index=0,
        committed_offset=offset,
        committed_leader_epoch=3,
        committed_metadata="note",
    )
    return {
        "group_id": "g",
        "generation_id_or_member_epoch": -1,
        "member_id": "",
        "topics": [Struct(name="orders", partitions=[partition])],
    } | changes


async def commit(cluster: Any, offset: int, node_id: int = 1, **changes: Any) -> ErrorCode:
    version = changes.pop("version", 9)
    answer = await cluster.ask(
        ApiKey.OFFSET_COMMIT, node_id, version=version, **commit_request(offset, **changes)
    )
    return ErrorCode(answer.topics[0].partitions[0].error_code)


async def committed(cluster: Any, node_id: int = 1, group: str = "g") -> int:
    answer = await cluster.ask(
        ApiKey.OFFSET_FETCH,
        node_id,
        version=9,
        groups=[Struct(group_id=group, topics=[Struct(name="orders", partition_indexes=[0])])],
        require_stable=True,
    )
    (told,) = answer.groups
    assert told.error_code == ErrorCode.none
    return int(told.topics[0].partitions[0].committed_offset)


# FindCoordinator


async def test_the_topic_of_offsets_is_made_when_somebody_first_asks(cluster: Any) -> None:
    assert "__consumer_offsets" not in cluster.brokers[1].publisher.image.topics
    assert await find(cluster) == 1
    metadata = await cluster.ask(ApiKey.METADATA, topics=None)
    (topic,) = metadata.topics
    assert (topic.name, topic.is_internal, len(topic.partitions)) == (
        "__consumer_offsets",
        True,
        4,
    )
    configs = await cluster.ask(
        ApiKey.DESCRIBE_CONFIGS,
        resources=[
            Struct(resource_type=2, resource_name="__consumer_offsets", configuration_keys=None)
        ],
    )
    values = {each.name: each.value for each in configs.results[0].configs}
    assert values["cleanup.policy"] == "compact"
    assert values["segment.bytes"] == "104857600"


async def test_a_coordinator_is_found_in_every_version(cluster: Any) -> None:
    await find(cluster)
    request = Struct(key="g", key_type=0, coordinator_keys=["g", "h"])
    connection = await cluster.connect()
    for version in range(7):
        found = await connection.request(ApiKey.FIND_COORDINATOR, request, version=version)
        if version < 4:
            answers = [found]
            assert version < 1 or found.error_message == "NONE"
        else:
            answers = found.coordinators
            assert [each.key for each in answers] == ["g", "h"]
        for each in answers:
            assert each.error_code == ErrorCode.none
            at = (each.node_id, each.host, each.port)
            assert at == (1, "127.0.0.1", cluster.client_ports[1])


async def test_transactions_and_share_groups_have_no_coordinator(cluster: Any) -> None:
    found = await cluster.ask(ApiKey.FIND_COORDINATOR, key_type=1, coordinator_keys=["t"])
    (answer,) = found.coordinators
    assert answer.error_code == ErrorCode.unsupported_version
    assert answer.error_message == NO_TRANSACTIONS
    assert (answer.node_id, answer.host, answer.port) == (-1, "", -1)
    found = await cluster.ask(ApiKey.FIND_COORDINATOR, key_type=2, coordinator_keys=["s"])
    assert found.coordinators[0].error_code == ErrorCode.invalid_request
    connection = await cluster.connect()
    request = Struct(key="t", key_type=1)
    for version in (1, 3):
        old = await connection.request(ApiKey.FIND_COORDINATOR, request, version=version)
        assert old.error_code == ErrorCode.transactional_id_authorization_failed
        assert old.error_message == NO_TRANSACTIONS


async def test_with_too_few_brokers_there_is_no_coordinator_as_in_kafka(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(1, **SETTINGS | {"offsets__topic__replication__factor": "3"})
    await cluster.start()
    found = await cluster.ask(ApiKey.FIND_COORDINATOR, key_type=0, coordinator_keys=["g"])
    assert found.coordinators[0].error_code == ErrorCode.coordinator_not_available
    assert await commit_code(cluster) == ErrorCode.not_coordinator


async def commit_code(cluster: Any) -> ErrorCode:
    await cluster.create("orders", 1, 1)
    return await commit(cluster, 1)


async def test_clients_may_not_write_to_the_topic_of_offsets(cluster: Any) -> None:
    await find(cluster)
    topic_id = cluster.brokers[1].publisher.image.topics["__consumer_offsets"].id
    answer = await cluster.produce(1, topic_id, 0, b"forged")
    assert answer.error_code == ErrorCode.invalid_topic_exception


# membership


async def test_a_group_of_one_lives_in_every_version(cluster: Any) -> None:
    await find(cluster)
    for version in range(10):
        await live(cluster, version)


async def live(cluster: Any, version: int) -> None:
    """Join, sync, heartbeat, be described, leave, be deleted; at `version` or the newest below."""
    at = {
        ApiKey.JOIN_GROUP: version,
        ApiKey.SYNC_GROUP: min(version, 5),
        ApiKey.HEARTBEAT: min(version, 4),
        ApiKey.LEAVE_GROUP: min(version, 5),
        ApiKey.DESCRIBE_GROUPS: min(version, 6),
        ApiKey.LIST_GROUPS: min(version, 5),
        ApiKey.DELETE_GROUPS: min(version, 2),
    }

    async def ask(key: ApiKey, **body: Any) -> Struct:
        return await cluster.ask(key, version=at[key], **body)  # type: ignore[no-any-return]

    joined = await ask(ApiKey.JOIN_GROUP, **join_request())
    if version >= 4:
        assert joined.error_code == ErrorCode.member_id_required
        assert joined.protocol_name in ("", None)
        joined = await ask(ApiKey.JOIN_GROUP, **join_request(member_id=joined.member_id))
    assert joined.error_code == ErrorCode.none
    member = joined.member_id
    assert joined.leader == member
    assert (joined.generation_id, joined.protocol_name) == (1, "range")
    assert [(each.member_id, bytes(each.metadata)) for each in joined.members] == [(member, b"m")]

    synced = await ask(
        ApiKey.SYNC_GROUP,
        group_id="g",
        generation_id=1,
        member_id=member,
        protocol_type="consumer",
        protocol_name="range",
        assignments=[Struct(member_id=member, assignment=b"a")],
    )
    assert (synced.error_code, bytes(synced.assignment)) == (ErrorCode.none, b"a")
    beat = await ask(ApiKey.HEARTBEAT, group_id="g", generation_id=1, member_id=member)
    assert beat.error_code == ErrorCode.none

    (group,) = (await ask(ApiKey.DESCRIBE_GROUPS, groups=["g"])).groups
    assert (group.error_code, group.group_state) == (ErrorCode.none, "Stable")
    (told,) = group.members
    assert (told.client_id, told.client_host) == ("logctl", "/127.0.0.1")
    assert bytes(told.member_assignment) == b"a"
    (listed,) = (await ask(ApiKey.LIST_GROUPS)).groups
    assert (listed.group_id, listed.protocol_type) == ("g", "consumer")
    refused = await ask(ApiKey.DELETE_GROUPS, groups_names=["g"])
    assert refused.results[0].error_code == ErrorCode.non_empty_group

    body: dict[str, Any] = {"member_id": member}
    if version >= 3:
        body = {"members": [Struct(member_id=member)]}
    left = await ask(ApiKey.LEAVE_GROUP, group_id="g", **body)
    assert left.error_code == ErrorCode.none
    again = await ask(ApiKey.LEAVE_GROUP, group_id="g", **body)
    code = again.error_code if version < 3 else again.members[0].error_code
    assert code == ErrorCode.unknown_member_id
    deleted = await ask(ApiKey.DELETE_GROUPS, groups_names=["g", "g", "x"])
    assert [(each.group_id, each.error_code) for each in deleted.results] == [
        ("g", ErrorCode.none),
        ("x", ErrorCode.group_id_not_found),
    ]


async def test_from_version_5_a_sync_names_its_protocol(cluster: Any) -> None:
    await find(cluster)
    joined = await join(cluster)
    synced = await cluster.ask(
        ApiKey.SYNC_GROUP, group_id="g", generation_id=1, member_id=joined.member_id
    )
    assert synced.error_code == ErrorCode.inconsistent_group_protocol


async def test_a_member_whose_session_ends_is_out(cluster: Any) -> None:
    await find(cluster)
    joined = await join(cluster, session_timeout_ms=150)
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            told = await cluster.ask(ApiKey.DESCRIBE_GROUPS, groups=["g"])
            if told.groups[0].group_state == "Empty":
                break
            await asyncio.sleep(0.02)
    beat = await cluster.ask(
        ApiKey.HEARTBEAT, group_id="g", generation_id=1, member_id=joined.member_id
    )
    assert beat.error_code == ErrorCode.unknown_member_id


async def test_a_join_waits_without_holding_other_connections_up(cluster: Any) -> None:
    await find(cluster)
    first = await join(cluster)
    other = await BrokerConnection.open(AsyncioNetwork(), "127.0.0.1", cluster.client_ports[1])
    try:
        request = Struct(**join_request())
        step = await other.request(ApiKey.JOIN_GROUP, request)
        request.member_id = step.member_id
        waiting = asyncio.ensure_future(other.request(ApiKey.JOIN_GROUP, request))
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                beat = await cluster.ask(
                    ApiKey.HEARTBEAT, group_id="g", generation_id=1, member_id=first.member_id
                )
                if beat.error_code == ErrorCode.rebalance_in_progress:
                    break
                await asyncio.sleep(0.01)
        assert not waiting.done()
        again = await join(cluster, member_id=first.member_id)
        assert (await waiting).generation_id == again.generation_id == 2
    finally:
        other.close()


async def test_who_asks_for_authorized_operations_gets_them(cluster: Any) -> None:
    await find(cluster)
    await join(cluster)
    told = await cluster.ask(
        ApiKey.DESCRIBE_GROUPS, groups=["g", "x"], include_authorized_operations=True
    )
    assert told.groups[0].authorized_operations == 0b110101001000
    assert told.groups[1].authorized_operations == -2147483648
    assert told.groups[1].error_code == ErrorCode.group_id_not_found
    told = await cluster.ask(ApiKey.DESCRIBE_GROUPS, groups=["g"])
    assert told.groups[0].authorized_operations == -2147483648


# offsets


async def test_offsets_are_committed_in_every_version(cluster: Any) -> None:
    topic_id: UUID = await cluster.create("orders", 1, 1)
    await find(cluster)
    for version in range(2, 11):
        request = commit_request(41 + version)
        if version >= 10:
            request["topics"][0] = request["topics"][0].replace(topic_id=topic_id)
        answer = await cluster.ask(ApiKey.OFFSET_COMMIT, version=version, **request)
        (topic,) = answer.topics
        assert topic.partitions[0].error_code == ErrorCode.none
        assert version < 10 or topic.topic_id == topic_id
        assert await committed(cluster) == 41 + version


async def test_offsets_are_told_in_every_version(cluster: Any) -> None:
    topic_id: UUID = await cluster.create("orders", 2, 1)
    await find(cluster)
    assert await commit(cluster, 42) == ErrorCode.none
    for version in range(1, 11):
        await tell(cluster, version, topic_id)


async def tell(cluster: Any, version: int, topic_id: UUID) -> None:
    """What was committed for partition 0, and nothing for partition 1, comes back."""
    asked = Struct(name="orders", partition_indexes=[0, 1])
    if version >= 10:
        asked = Struct(topic_id=topic_id, partition_indexes=[0, 1])
    if version >= 8:
        group = Struct(group_id="g", topics=[asked])
        answer = await cluster.ask(ApiKey.OFFSET_FETCH, version=version, groups=[group])
        (told,) = answer.groups
    else:
        told = await cluster.ask(ApiKey.OFFSET_FETCH, version=version, group_id="g", topics=[asked])
    assert version < 2 or told.error_code == ErrorCode.none
    (topic,) = told.topics
    assert topic.topic_id == topic_id if version >= 10 else topic.name == "orders"
    first, second = topic.partitions
    assert (first.committed_offset, first.metadata, first.error_code) == (
        42,
        "note",
        ErrorCode.none,
    )
    assert first.committed_leader_epoch == (3 if version >= 5 else -1)
    assert (second.committed_offset, second.metadata) == (-1, "")


async def test_null_topics_mean_everything(cluster: Any) -> None:
    await cluster.create("orders", 1, 1)
    await find(cluster)
    await commit(cluster, 7)
    for version in range(2, 11):
        if version >= 8:
            groups = [Struct(group_id="g", topics=None), Struct(group_id="x", topics=None)]
            answer = await cluster.ask(ApiKey.OFFSET_FETCH, version=version, groups=groups)
            told, nothing = answer.groups
            assert (nothing.group_id, nothing.topics) == ("x", [])
        else:
            body = {"group_id": "g", "topics": None}
            told = await cluster.ask(ApiKey.OFFSET_FETCH, version=version, **body)
        (topic,) = told.topics
        assert [each.committed_offset for each in topic.partitions] == [7]


async def test_what_cannot_be_committed_is_said_per_partition(cluster: Any) -> None:
    topic_id = await cluster.create("orders", 1, 1)
    await find(cluster)
    good = Struct(partition_index=0, committed_offset=1, committed_metadata="")
    answer = await cluster.ask(
        ApiKey.OFFSET_COMMIT,
        version=9,
        group_id="g",
        member_id="",
        topics=[
            Struct(name="nothing", partitions=[good]),
            Struct(
                name="orders",
                partitions=[
                    good.replace(partition_index=7),
                    good,
                    good.replace(committed_metadata="x" * 5000),
                ],
            ),
        ],
    )
    assert [[p.error_code for p in topic.partitions] for topic in answer.topics] == [
        [ErrorCode.unknown_topic_or_partition],
        [
            ErrorCode.unknown_topic_or_partition,
            ErrorCode.none,
            ErrorCode.offset_metadata_too_large,
        ],
    ]
    answer = await cluster.ask(
        ApiKey.OFFSET_COMMIT,
        version=10,
        group_id="g",
        member_id="",
        topics=[
            Struct(topic_id=UUID(int=5), partitions=[good]),
            Struct(topic_id=topic_id, partitions=[good]),
        ],
    )
    assert [topic.partitions[0].error_code for topic in answer.topics] == [
        ErrorCode.unknown_topic_id,
        ErrorCode.none,
    ]


async def test_offsets_of_an_unknown_topic_id_are_not_told(cluster: Any) -> None:
    await find(cluster)
    asked = Struct(topic_id=UUID(int=5), partition_indexes=[0])
    answer = await cluster.ask(
        ApiKey.OFFSET_FETCH, version=10, groups=[Struct(group_id="g", topics=[asked])]
    )
    (partition,) = answer.groups[0].topics[0].partitions
    assert partition.error_code == ErrorCode.unknown_topic_id


async def test_the_offsets_of_a_deleted_topic_are_forgotten(cluster: Any) -> None:
    await cluster.create("orders", 1, 1)
    await find(cluster)
    await commit(cluster, 7)
    await cluster.ask(
        ApiKey.DELETE_TOPICS, topics=[Struct(name="orders")], timeout_ms=5000, version=6
    )
    async with asyncio.timeout(WAIT_SECONDS):
        while await committed(cluster) != -1:
            await asyncio.sleep(0.01)


async def test_offsets_are_deleted_on_request(cluster: Any) -> None:
    await cluster.create("orders", 1, 1)
    await find(cluster)
    await commit(cluster, 7)
    partitions = [Struct(partition_index=0), Struct(partition_index=9)]
    topics = [Struct(name="orders", partitions=partitions)]
    answer = await cluster.ask(ApiKey.OFFSET_DELETE, group_id="g", topics=topics)
    assert answer.error_code == ErrorCode.none
    assert [each.error_code for each in answer.topics[0].partitions] == [
        ErrorCode.none,
        ErrorCode.unknown_topic_or_partition,
    ]
    assert await committed(cluster) == -1
    answer = await cluster.ask(ApiKey.OFFSET_DELETE, group_id="x", topics=topics)
    assert (answer.error_code, answer.topics) == (ErrorCode.group_id_not_found, [])


async def test_a_group_id_that_cannot_be_stored_is_refused_and_harms_nobody(cluster: Any) -> None:
    await cluster.create("orders", 1, 1)
    await find(cluster)
    assert await commit(cluster, 1, group_id="g" * 40_000) == ErrorCode.unknown_server_error
    assert await commit(cluster, 1) == ErrorCode.none


# coordinators that come and go


async def test_offsets_and_generations_survive_a_restart(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(1, **SETTINGS)
    await cluster.start()
    await cluster.create("orders", 1, 1)
    await find(cluster)
    joined = await join(cluster)
    await cluster.ask(
        ApiKey.SYNC_GROUP,
        group_id="g",
        generation_id=1,
        member_id=joined.member_id,
        protocol_type="consumer",
        protocol_name="range",
        assignments=[Struct(member_id=joined.member_id, assignment=b"a")],
    )
    named = {"generation_id_or_member_epoch": 1, "member_id": joined.member_id}
    assert await commit(cluster, 42, **named) == ErrorCode.none
    for controlled in (True, False):
        await cluster.stop(controlled=controlled)
        await cluster.start()
        await find(cluster)
        assert await committed(cluster) == 42
        beat = await cluster.ask(
            ApiKey.HEARTBEAT, group_id="g", generation_id=1, member_id=joined.member_id
        )
        assert beat.error_code == ErrorCode.none
    assert await commit(cluster, 43, **named) == ErrorCode.none


async def test_a_group_moves_with_the_leader_of_its_partition(make_cluster: MakeCluster) -> None:
    settings = SETTINGS | {
        "offsets__topic__replication__factor": "3",
        "min__insync__replicas": "2",
    }
    cluster = make_cluster(3, **settings)
    await cluster.start()
    await cluster.create("orders", 1, 3)
    first = await find(cluster)
    others = [node for node in cluster.brokers if node != first]
    assert await commit(cluster, 1, others[0]) == ErrorCode.not_coordinator
    assert await commit(cluster, 41, first) == ErrorCode.none
    joined = await join(cluster, first)
    named = {"generation_id_or_member_epoch": 1, "member_id": joined.member_id}
    assert joined.error_code == ErrorCode.none
    assert await commit(cluster, 42, first, **named) == ErrorCode.rebalance_in_progress

    await cluster.stop(first, controlled=False)
    async with asyncio.timeout(WAIT_SECONDS):
        second = await find(cluster, node_id=others[0])
    assert second != first
    assert await committed(cluster, second) == 41
    # Its generation was not stored: the member has to start over.
    assert (await join(cluster, second, member_id=joined.member_id)).error_code == (
        ErrorCode.unknown_member_id
    )
    assert (await join(cluster, second)).error_code == ErrorCode.none


async def test_a_group_stays_when_its_leader_does(make_cluster: MakeCluster) -> None:
    """A follower moves to another broker: a new leader epoch, and nobody has to join again."""
    cluster = make_cluster(3, **SETTINGS | {"offsets__topic__replication__factor": "2"})
    await cluster.start()
    await cluster.create("orders", 1, 3)
    node = await find(cluster)
    joined = await join(cluster, node)
    member = {"member_id": joined.member_id, "generation_id": joined.generation_id}
    assignment = Struct(member_id=joined.member_id, assignment=b"all")
    synced = await cluster.ask(
        ApiKey.SYNC_GROUP,
        node,
        group_id="g",
        protocol_type="consumer",
        protocol_name="range",
        assignments=[assignment],
        **member,
    )
    assert synced.error_code == ErrorCode.none
    shard = cluster.brokers[node].node.coordinators.find("g")
    partition, epoch = shard.partition, shard.partition.leader_epoch
    (follower,) = set(partition.replicas) - {node}
    (spare,) = set(cluster.brokers) - set(partition.replicas)
    move = Struct(partition_index=partition.index, replicas=[node, spare])
    await cluster.ask(
        ApiKey.ALTER_PARTITION_REASSIGNMENTS,
        node,
        timeout_ms=30_000,
        topics=[Struct(name="__consumer_offsets", partitions=[move])],
    )
    async with asyncio.timeout(WAIT_SECONDS):
        while set(partition.replicas) != {node, spare}:
            beat = await cluster.ask(ApiKey.HEARTBEAT, node, group_id="g", **member)
            assert beat.error_code == ErrorCode.none
    assert partition.leader_epoch > epoch
    assert cluster.brokers[node].node.coordinators.find("g") is shard
    beat = await cluster.ask(ApiKey.HEARTBEAT, node, group_id="g", **member)
    assert beat.error_code == ErrorCode.none
    named = {"generation_id_or_member_epoch": 1, "member_id": joined.member_id}
    assert await commit(cluster, 7, node, **named) == ErrorCode.none
    assert follower not in partition.replicas


async def test_whoever_waits_when_the_coordinator_stops_is_told(make_cluster: MakeCluster) -> None:
    settings = SETTINGS | {
        "offsets__topic__replication__factor": "2",
        "group__initial__rebalance__delay__ms": "60000",
    }
    cluster = make_cluster(3, **settings)
    await cluster.start()
    node = await find(cluster)
    step = await cluster.ask(ApiKey.JOIN_GROUP, node, **join_request())
    waiting = asyncio.ensure_future(
        cluster.ask(ApiKey.JOIN_GROUP, node, **join_request(member_id=step.member_id))
    )
    shard = cluster.brokers[node].node.coordinators.find("g")
    async with asyncio.timeout(WAIT_SECONDS):
        while not shard.core.groups["g"].members:
            await asyncio.sleep(0.01)
        broker = cluster.brokers.pop(node)
        cluster.connections.pop(node)
        await broker.stop()
        answer = await waiting
    assert answer.error_code == ErrorCode.not_coordinator


async def test_with_too_few_replicas_in_sync_nothing_is_committed(
    make_cluster: MakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    settings = SETTINGS | {
        "offsets__topic__replication__factor": "2",
        "min__insync__replicas": "2",
        "offsets__commit__timeout__ms": "500",
    }
    cluster = make_cluster(3, **settings)
    await cluster.start()
    await cluster.create("orders", 1, 3)
    node = await find(cluster)
    assert await commit(cluster, 1, node) == ErrorCode.none
    index = cluster.brokers[node].node.coordinators.partition_of("g")
    state = cluster.brokers[node].publisher.image.partition("__consumer_offsets", index)
    (follower,) = [each for each in state.replicas if each != node]
    await cluster.stop(follower, controlled=False)
    codes = set()
    async with asyncio.timeout(WAIT_SECONDS):
        while ErrorCode.coordinator_not_available not in codes:
            codes.add(await commit(cluster, 2, node))
    partition = cluster.brokers[node].replicas.partition("__consumer_offsets", index)
    async with asyncio.timeout(WAIT_SECONDS):
        while len(partition.isr) > 1:
            await asyncio.sleep(0.02)
    for _ in range(5):
        assert await commit(cluster, 3, node) == ErrorCode.coordinator_not_available
    said = [each for each in caplog.messages if "appends are refused: not_enough_replicas" in each]
    assert len(said) == 1, "and not for each commit"
    told = await cluster.ask(
        ApiKey.OFFSET_FETCH,
        node,
        version=9,
        groups=[Struct(group_id="g", topics=[Struct(name="orders", partition_indexes=[0])])],
    )
    assert told.groups[0].topics[0].partitions[0].committed_offset in (1, 2)
