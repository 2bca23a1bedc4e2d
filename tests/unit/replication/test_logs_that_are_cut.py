"""Followers that cut their logs: what was saved is lowered once for all, and what they hear after it."""

import asyncio
import random

from broker.protocol.errors import ErrorCode
from broker.runtime.fetch_sessions import FetchSessions
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


def test_a_follower_that_was_cut_hears_of_the_high_watermark_though_nothing_is_written() -> None:
    """The answer that says where to cut names it as well, and is taken for nothing else."""

    async def story(cluster: Cluster) -> None:
        cluster.create()
        first, second, third = cluster.nodes.values()
        assert (await first.produce("a")).error == ErrorCode.none
        second.fetch_sessions = FetchSessions(2, random.Random(1))
        known = [node.manager.partition(TOPIC, 0) for node in (second, third)]
        await cluster.until(lambda: all(each.high_watermark == 1 for each in known))
        cluster.network.cut(first.id, second.id)
        cluster.network.cut(second.id, first.id)
        await first.produce("tail", acks=1)
        await cluster.until(lambda: third.log_records() == ["0:a", "1:tail"])
        await third.kill()  # before its high watermark was saved
        cluster.change(leader=second.id)
        cluster.network.heal()
        await third.start()
        await cluster.until(lambda: third.manager.counters.truncations == 1)
        assert second.manager.partition(TOPIC, 0).high_watermark == 1
        await cluster.until(
            lambda: third.manager.partition(TOPIC, 0).high_watermark == 1, seconds=5
        )
        assert third.log_records() == ["0:a"]

    Cluster().run(story)
