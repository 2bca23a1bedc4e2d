"""Thousands of partitions on one broker: work on them is cut in pieces, and none is left out.

The limits are brought down instead of the numbers up.
"""

import asyncio
from uuid import UUID

import pytest

from broker.protocol.errors import ErrorCode
from broker.protocol.metadata_records import RemoveTopicRecord
from broker.protocol.struct import Struct
from broker.runtime import fetcher, replica_isr, replica_table
from tests.unit.replication.replica_cluster import TOPIC, Cluster

PARTITIONS = 9


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many partitions each fetch of a follower names; never more than two new ones."""
    counts: list[int] = []
    made = fetcher.PeerFetcher._request

    def request(self: fetcher.PeerFetcher, *asked: object) -> Struct:
        found = made(self, *asked)
        if not self._session.is_refused:
            counts.append(sum(len(topic.partitions) for topic in found.topics))
        return found

    monkeypatch.setattr(fetcher, "PARTITIONS_TOLD_AT_ONCE", 2)
    monkeypatch.setattr(replica_isr, "PARTITIONS_A_REQUEST", 2)
    monkeypatch.setattr(replica_table, "ROLES_AT_ONCE", 2)
    monkeypatch.setattr(fetcher.PeerFetcher, "_request", request)
    return counts


def test_followers_name_few_partitions_in_a_fetch_and_fetch_all(named: list[int]) -> None:
    async def told(cluster: Cluster) -> None:
        cluster.create(PARTITIONS)
        leader = cluster.nodes[1]
        began = cluster.loop.time()
        results = await asyncio.gather(
            *(leader.produce(f"v{index}", index=index) for index in range(PARTITIONS))
        )
        assert {each.error for each in results} == {ErrorCode.none}
        assert cluster.loop.time() - began < 0.5, "what is left out does not wait for a poll"
        for node in cluster.nodes.values():
            for index in range(PARTITIONS):
                assert node.log_records(index) == [f"0:v{index}"]

    Cluster().run(told)
    assert max(named) == 2


def test_a_broker_that_comes_back_takes_all_its_roles_and_places(named: list[int]) -> None:
    async def told(cluster: Cluster) -> None:
        cluster.create(PARTITIONS)
        await cluster.nodes[1].kill()
        cluster.fence(1)
        await asyncio.sleep(1)
        await cluster.nodes[1].start()
        manager = cluster.nodes[1].manager
        assert manager is not None
        await manager.roles_taken()
        assert all(manager.partition(TOPIC, index) for index in range(PARTITIONS))
        async with asyncio.timeout(10):
            while any(len(state.isr) < 3 for _, _, state in cluster.image.iter_partitions()):
                await asyncio.sleep(0.05)
        assert {len(each.topics[0].partitions) for each in cluster.proposals} <= {1, 2}

    Cluster().run(told)
    assert max(named) == 2


def test_what_is_deleted_while_roles_are_taken_leaves_nothing_behind(named: list[int]) -> None:
    async def told(cluster: Cluster) -> None:
        cluster.create(PARTITIONS)
        cluster.create(1, topic="zebra", topic_id=78)
        await cluster.nodes[2].stop()
        cluster.fence(2)
        await cluster.nodes[2].start()
        manager, logs = cluster.nodes[2].manager, cluster.nodes[2].logs
        assert manager is not None
        assert logs is not None
        assert manager.partition("zebra", 0) is None, "its turn has not come"
        assert ("zebra", 0) in logs.logs
        cluster.commit(RemoveTopicRecord(topic_id=UUID(int=78)))
        await manager.roles_taken()
        assert manager.partition(TOPIC, PARTITIONS - 1) is not None
        assert ("zebra", 0) not in logs.logs

    Cluster().run(told)
