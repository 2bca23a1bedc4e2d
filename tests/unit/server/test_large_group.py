"""A hundred members of one group, each with a connection of its own, come and go at once."""

import asyncio
from collections.abc import Callable
from typing import Any

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ErrorCode
from broker.protocol.network import AsyncioNetwork
from broker.protocol.struct import Struct

MEMBERS = 100
JOIN_MS = 60_000


async def all_ask(
    connections: list[BrokerConnection], key: ApiKey, requests: list[Struct]
) -> list[Struct]:
    """One request on each connection, at once."""
    asked = (
        each.request(key, request, timeout_ms=JOIN_MS)
        for each, request in zip(connections, requests, strict=True)
    )
    answers: list[Struct] = await asyncio.gather(*asked)
    return answers


def join_request(member_id: str) -> Struct:
    return Struct(
        group_id="g",
        session_timeout_ms=45_000,
        rebalance_timeout_ms=JOIN_MS,
        member_id=member_id,
        group_instance_id=None,
        protocol_type="consumer",
        protocols=[Struct(name="range", metadata=b"m")],
        reason=None,
    )


def sync_request(joined: Struct) -> Struct:
    return Struct(
        group_id="g",
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        group_instance_id=None,
        protocol_type="consumer",
        protocol_name="range",
        # The leader alone knows the members.
        assignments=[
            Struct(member_id=each.member_id, assignment=each.member_id.encode())
            for each in joined.members
        ],
    )


async def coordinated(cluster: Any) -> None:
    """Wait until the broker coordinates the group: it knows no member of it then."""
    async with asyncio.timeout(60):
        while True:
            await cluster.ask(ApiKey.FIND_COORDINATOR, key_type=0, coordinator_keys=["g"])
            beat = await cluster.ask(
                ApiKey.HEARTBEAT, group_id="g", generation_id=1, member_id="nobody"
            )
            if beat.error_code == ErrorCode.unknown_member_id:
                return
            await asyncio.sleep(0.02)


async def test_a_hundred_members_come_and_go_at_once(make_cluster: Callable[..., Any]) -> None:
    cluster = make_cluster(
        1,
        offsets__topic__num__partitions="1",
        offsets__topic__replication__factor="1",
        group__initial__rebalance__delay__ms="300",
    )
    await cluster.start()
    port = cluster.client_ports[1]
    connections = [
        await BrokerConnection.open(AsyncioNetwork(), "127.0.0.1", port) for _ in range(MEMBERS)
    ]
    await coordinated(cluster)
    answers = await all_ask(connections, ApiKey.JOIN_GROUP, [join_request("")] * MEMBERS)
    assert {each.error_code for each in answers} == {ErrorCode.member_id_required}
    requests = [join_request(each.member_id) for each in answers]
    joined = await all_ask(connections, ApiKey.JOIN_GROUP, requests)
    assert {(each.error_code, each.generation_id) for each in joined} == {(ErrorCode.none, 1)}
    assert sorted(len(each.members) for each in joined) == [0] * (MEMBERS - 1) + [MEMBERS]
    synced = await all_ask(connections, ApiKey.SYNC_GROUP, [sync_request(each) for each in joined])
    assert [each.assignment for each in synced] == [each.member_id.encode() for each in joined]
    leaving = [
        Struct(
            group_id="g",
            members=[Struct(member_id=each.member_id, group_instance_id=None, reason=None)],
        )
        for each in joined
    ]
    left = await all_ask(connections, ApiKey.LEAVE_GROUP, leaving)
    assert {each.error_code for each in left} == {ErrorCode.none}
    described = await cluster.ask(ApiKey.DESCRIBE_GROUPS, groups=["g"])
    assert (described.groups[0].group_state, described.groups[0].members) == ("Empty", [])
    for connection in connections:
        connection.close()
