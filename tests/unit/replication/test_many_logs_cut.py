"""Thousands of logs may have to be cut at once: what was saved of them is written once for all."""

import asyncio

from broker.protocol.errors import ErrorCode
from broker.simulation.disk import SimDisk
from broker.storage.checkpoints import decode_offsets
from broker.storage.manager import RECOVERY_POINTS
from tests.unit.replication.replica_cluster import TOPIC, Cluster, Node

PARTITIONS = 30
SAVED = f"/data/{RECOVERY_POINTS}"


def saved(node: Node) -> dict[int, int]:
    """The recovery points that a broker would start with."""
    if not node.disk.exists(SAVED):
        return {}
    found = decode_offsets(SAVED, node.disk.read_file(SAVED))
    return {index: offset for (topic, index), offset in found.items() if topic == TOPIC}


def test_empty_logs_that_begin_beyond_a_leader_that_lost_its_disk_are_cut_with_one_write() -> None:
    """They know of no epoch, so the leader can name none: it says that they are out of range."""

    async def story(cluster: Cluster) -> None:
        cluster.create(PARTITIONS)
        first, second, third = cluster.nodes.values()
        for index in range(PARTITIONS):
            await first.produce("deleted", index=index)
        await third.kill()
        cluster.fence(third.id)
        deleted = {(TOPIC, index): 1 for index in range(PARTITIONS)}
        answers = await first.manager.delete_records(deleted, 5_000)
        assert {error for error, _ in answers.values()} == {ErrorCode.none}
        third.disk = SimDisk()
        await third.start()  # its logs begin where the leader's do now, and are empty
        everywhere = dict.fromkeys(range(PARTITIONS), 1)
        await cluster.until(lambda: saved(third) == everywhere, seconds=60)

        await second.kill()
        cluster.fence(second.id)
        second.disk = SimDisk()
        await second.start()
        synced: list[str] = []
        third.disk.on_sync = synced.append
        for index in range(PARTITIONS):  # unclean elections
            cluster.change(index, leader=second.id, isr=(second.id,), publish=False)
        before = third.manager.counters.truncations
        cluster.catch_up(*cluster.nodes)
        cut = before + PARTITIONS
        await cluster.until(lambda: third.manager.counters.truncations >= cut)
        assert not any(log.end_offset for log in third.logs.logs.values())
        assert 1 <= synced.count(SAVED) < 4, "beside the one that is written every few seconds"
        assert not any(saved(third).values())

        for index in range(PARTITIONS):
            await cluster.until(lambda i=index: len(cluster.state(i).isr) == 3)
            assert (await second.produce("of after", index=index)).error == ErrorCode.none
        await asyncio.sleep(1)
        for node in cluster.nodes.values():
            assert {tuple(node.log_records(i)) for i in range(PARTITIONS)} == {("0:of after",)}

    Cluster().run(story)
