"""The admin client: fails over, stays within its time, and gives partial answers."""

import asyncio
import uuid

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct, uuid_to_text
from clusters.admin import AdminClient, AdminError, ClusterUnreachable, OffsetSpec, UnknownTopic
from tests.own_time import own_s

ORDERS = uuid.UUID(int=7)


@pytest.fixture
def orders(fake_cluster, make_partition):
    partitions = [
        make_partition(0, 1, [1, 2, 3], [1, 2, 3]),
        make_partition(1, 2, [2, 3, 1], [2, 1], offline=[3]),
        make_partition(2, -1, [3], [3], offline=[3]),
    ]
    fake_cluster.add_topic("orders", partitions, ORDERS)
    fake_cluster.offsets = {("orders", 0): (5, 50), ("orders", 1): (0, 9)}
    return fake_cluster


async def test_the_controller_is_the_quorums_leader_and_fenced_brokers_are_told(fake_cluster):
    fake_cluster.leader_id, fake_cluster.fenced = 2, {3}
    async with AdminClient(fake_cluster.bootstrap) as admin:
        cluster = await admin.cluster()
    assert cluster.cluster_id == fake_cluster.cluster_id
    assert cluster.controller_id == 2
    assert [(each.id, each.state, each.is_controller) for each in cluster.brokers] == [
        (1, "up", False),
        (2, "up", True),
        (3, "fenced", False),
    ]


async def test_an_older_cluster_is_described_from_what_it_can_tell(orders):
    orders.fenced = {3}
    for server in orders.brokers.values():
        del server.versions[int(ApiKey.DESCRIBE_CLUSTER)]
        del server.versions[int(ApiKey.DESCRIBE_QUORUM)]
    async with AdminClient(orders.bootstrap) as admin:
        brokers = await admin.brokers()
    assert [(each.id, each.state, each.leaders, each.replicas) for each in brokers] == [
        (1, "up", 1, 2),
        (2, "up", 1, 2),
        (3, "down", 0, 3),
    ]


async def test_nobody_is_called_the_controller_while_no_quorum_answers(orders):
    async def hang(_, __):
        await asyncio.Event().wait()

    handlers = [server.handlers for server in orders.brokers.values()]
    for each in handlers:
        each[ApiKey.DESCRIBE_QUORUM] = hang
    async with AdminClient(orders.bootstrap, timeout_ms=600) as admin:
        cluster = await admin.cluster()
        with pytest.raises(ClusterUnreachable, match=r"^No controller answered .* Tried 127"):
            await admin.quorum()
    assert cluster.controller_id == -1
    assert not any(each.is_controller for each in cluster.brokers)

    # Who may not look at it has the brokers' word.
    code = ErrorCode.cluster_authorization_failed
    for each in handlers:
        each[ApiKey.DESCRIBE_QUORUM] = lambda _, __: Struct(error_code=code, topics=[])
    async with AdminClient(orders.bootstrap) as admin:
        assert (await admin.cluster()).controller_id == orders.leader_id


async def test_topics_are_summed_up(orders):
    async with AdminClient(orders.bootstrap) as admin:
        topics = await admin.topics()
    assert [each.to_json() for each in topics] == [
        {
            "topic": "orders",
            "id": uuid_to_text(ORDERS),
            "partitions": 3,
            "replication_factor": 3,
            "under_replicated": 1,
            "offline": 1,
            "internal": False,
        }
    ]


async def test_a_topic_has_the_documented_fields_and_unknown_offsets_are_null(orders):
    async with AdminClient(orders.bootstrap) as admin:
        detail = await admin.topic("orders")
    shown = detail.to_json()
    assert list(shown) == ["topic", "id", "partitions", "config"]
    assert shown["config"] == {"retention.ms": "1000"}
    assert shown["partitions"][0] == {
        "partition": 0,
        "leader": 1,
        "leader_epoch": 3,
        "replicas": [1, 2, 3],
        "isr": [1, 2, 3],
        "offline": [],
        "start_offset": 5,
        "end_offset": 50,
    }
    assert [(each["start_offset"], each["end_offset"]) for each in shown["partitions"]] == [
        (5, 50),
        (0, 9),
        (None, None),
    ]
    assert detail.problems == ["offsets of partition 2: no leader answered"]


async def test_a_dead_leader_costs_only_its_own_offsets(orders):
    await orders.brokers[2].stop()
    began = own_s()
    async with AdminClient(orders.bootstrap, timeout_ms=3_000) as admin:
        detail = await admin.topic("orders")
    assert [each.end_offset for each in detail.partitions] == [50, None, None]
    assert own_s() - began < 3


async def test_a_leader_that_just_moved_is_asked_again(orders):
    orders.not_leader = {("orders", 0)}
    async with AdminClient(orders.bootstrap) as admin:
        assert await admin.offsets([("orders", 0)]) == {("orders", 0): 50}


async def test_a_partition_that_a_broker_has_not_heard_of_yet_is_asked_for_again(orders):
    """As after more partitions were added: who asks heard of them from another broker."""
    known, answer, asked = orders.topics["orders"], orders._metadata, 0

    def late(body):
        nonlocal asked
        asked += 1
        orders.topics["orders"] = known[1:] if asked <= 6 else known
        return answer(body)

    orders._metadata = late
    async with AdminClient(orders.bootstrap) as admin:
        found = await admin.list_offsets({("orders", 0): OffsetSpec.latest})
    assert [each.offset for each in found.items] == [50]
    assert found.complete


async def test_an_unknown_topic_names_the_nearest(orders):
    async with AdminClient(orders.bootstrap) as admin:
        with pytest.raises(UnknownTopic, match='no topic "order"; did you mean "orders"'):
            await admin.topic("order")


async def test_a_dead_bootstrap_broker_is_passed_over(fake_cluster):
    await fake_cluster.brokers[1].stop()
    async with AdminClient(fake_cluster.bootstrap) as admin:
        assert (await admin.cluster()).cluster_id == fake_cluster.cluster_id
        assert admin.source != fake_cluster.brokers[1].address


async def test_brokers_learned_on_the_way_replace_a_dead_bootstrap(fake_cluster):
    async with AdminClient([fake_cluster.brokers[1].address]) as admin:
        await admin.cluster()
        await fake_cluster.brokers[1].stop()
        assert (await admin.cluster()).cluster_id == fake_cluster.cluster_id


async def test_an_unreachable_cluster_names_each_address_and_why_in_time(fake_server):
    fake_server.silent = True
    gone = "127.0.0.1:1"
    began = own_s()
    async with AdminClient([gone, fake_server.address], timeout_ms=1_000) as admin:
        with pytest.raises(ClusterUnreachable) as caught:
            await admin.topics()
    assert own_s() - began < 1.5
    reasons = dict(caught.value.attempts)
    assert list(reasons) == [gone, fake_server.address]
    assert "refused" in reasons[gone]
    assert "no answer within" in reasons[fake_server.address]


@pytest.mark.parametrize("address", ["localhost", "x:port", ":9092", "x:0", "x:70000"])
def test_an_address_that_is_none_is_refused_at_once(address):
    with pytest.raises(AdminError):
        AdminClient([address])


async def test_the_clusters_own_words_reach_the_reader(fake_cluster):
    for server in fake_cluster.brokers.values():
        server.serve(
            ApiKey.CREATE_TOPICS,
            2,
            7,
            lambda body, version: Struct(
                topics=[
                    Struct(
                        name=body.topics[0].name,
                        error_code=ErrorCode.invalid_replication_factor,
                        error_message="Only 3 brokers run.",
                    )
                ]
            ),
        )
    async with AdminClient(fake_cluster.bootstrap) as admin:
        with pytest.raises(AdminError) as caught:
            await admin.create_topic("t", 1, 9)
    assert str(caught.value) == (
        'The topic "t" was not created: Only 3 brokers run (INVALID_REPLICATION_FACTOR)'
    )


async def test_a_moving_controller_is_waited_for(fake_cluster, make_partition):
    answers = [ErrorCode.not_controller, ErrorCode.not_controller, ErrorCode.none]

    def create(body, version):
        code = answers.pop(0)
        if code == ErrorCode.none:
            fake_cluster.add_topic("t", [make_partition(0, 1, [1], [1])], ORDERS)
        topic = Struct(name="t", error_code=code, num_partitions=1, replication_factor=1)
        return Struct(topics=[topic])

    for server in fake_cluster.brokers.values():
        server.serve(ApiKey.CREATE_TOPICS, 2, 7, create)
    async with AdminClient(fake_cluster.bootstrap) as admin:
        created = await admin.create_topic("t")
    assert (created.partitions, created.replication_factor, answers) == (1, 1, [])


async def test_the_quorum_is_told_with_controller_addresses(fake_cluster):
    async with AdminClient(fake_cluster.bootstrap) as admin:
        quorum = await admin.quorum()
    assert quorum.leader_id == 1
    assert [voter.id for voter in quorum.voters] == [1, 2, 3]
    assert quorum.nodes == {
        node: ("127.0.0.1", server.port) for node, server in fake_cluster.controllers.items()
    }


async def test_a_controller_that_hangs_holds_up_nothing_that_brokers_know(orders):
    # Apache Kafka passes DescribeQuorum on, and answers nothing behind it on that connection.
    hanging, answered = asyncio.Event(), asyncio.Event()

    async def hang(_, __):
        hanging.set()
        await answered.wait()
        return quorum(_, __)

    for server in orders.brokers.values():
        quorum = server.handlers[ApiKey.DESCRIBE_QUORUM]
        server.handlers[ApiKey.DESCRIBE_QUORUM] = hang
    async with AdminClient(orders.bootstrap, timeout_ms=60_000) as admin:
        admin.ask_often(60_000)
        asking = asyncio.ensure_future(admin.quorum())
        await hanging.wait()
        assert (await admin.offsets([("orders", 0)], -1)) == {("orders", 0): 50}
        assert [topic.topic for topic in await admin.topics()] == ["orders"]
        # Given up by who asked: the next question does not wait behind it.
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        for server in orders.brokers.values():
            server.handlers[ApiKey.DESCRIBE_QUORUM] = quorum
        assert (await admin.quorum()).leader_id == 1


async def test_a_broker_that_is_there_is_not_called_unreachable_for_its_controller(orders):
    async def hang(_, __):
        await asyncio.Event().wait()

    for server in orders.brokers.values():
        server.serve(ApiKey.CREATE_TOPICS, 2, 7, hang)
    async with AdminClient(orders.bootstrap, timeout_ms=600) as admin:
        with pytest.raises(ClusterUnreachable, match=r"No controller answered .*CREATE_TOPICS"):
            await admin.create_topic("audit")
        assert [topic.topic for topic in await admin.topics()] == ["orders"]
        for server in orders.brokers.values():
            server.silent = True
        with pytest.raises(ClusterUnreachable, match=r"^The cluster is not reachable"):
            await admin.topics()


async def test_who_asks_often_passes_over_a_broker_that_froze_within_the_time_of_a_poll(orders):
    async with AdminClient(orders.bootstrap) as admin:
        admin.ask_often(1_000)
        assert [topic.topic for topic in await admin.topics()] == ["orders"]
        first = next(each for each in orders.brokers.values() if each.address == admin.source)
        first.silent = True
        began = own_s()
        assert [topic.topic for topic in await admin.topics()] == ["orders"]
        # The share of one broker of three in a second, not in the ten that a command has.
        assert own_s() - began < 2
        assert admin.source != first.address
