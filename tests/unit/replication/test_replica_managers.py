"""Three replica managers: records are copied, survive leaders, and leaders move on."""

import asyncio
import errno
import random

import pytest

from broker.protocol.errors import ErrorCode
from broker.protocol.metadata_records import ConfigRecord, RemoveTopicRecord
from broker.runtime.fetch_sessions import FetchSessions
from broker.runtime.replica_requests import FetchPartition, FetchQuery
from broker.storage.errors import StorageFailure
from tests.unit.replication.replica_cluster import TOPIC, Cluster, one_batch, records_of


def story(**settings: str):
    """Run an async test body on a fresh cluster with one partition led by broker 1."""

    def decorate(body):
        def test() -> None:
            async def told(cluster: Cluster) -> None:
                cluster.create()
                await body(cluster)

            Cluster(**settings).run(told)

        test.__name__, test.__doc__ = body.__name__, body.__doc__
        return test

    return decorate


@story()
async def test_acks_all_is_answered_when_all_replicas_have_it(cluster: Cluster) -> None:
    leader = cluster.nodes[1]
    began = cluster.loop.time()
    result = await leader.produce("a", "b")
    assert (result.error, result.base_offset) == (ErrorCode.none, 0)
    assert cluster.loop.time() - began < 0.1, "no waiting for a poll interval"
    assert cluster.nodes[2].log_records() == cluster.nodes[3].log_records() == ["0:a", "1:b"]
    assert records_of((await leader.consume(0)).records) == ["0:a", "1:b"]


@story()
async def test_acks_one_and_zero_do_not_wait(cluster: Cluster) -> None:
    cluster.isolate(1)
    began = cluster.loop.time()
    assert (await cluster.nodes[1].produce("a", acks=1)).error == ErrorCode.none
    assert (await cluster.nodes[1].produce("b", acks=0)).base_offset == 1
    assert cluster.loop.time() == began
    assert (await cluster.nodes[1].produce("c", acks=2)).error == ErrorCode.invalid_required_acks


@story()
async def test_acks_all_times_out_and_the_data_stays(cluster: Cluster) -> None:
    cluster.isolate(3)
    result = await cluster.nodes[1].produce("a", timeout_ms=1_000)
    assert result.error == ErrorCode.request_timed_out
    cluster.network.heal()
    assert (await cluster.nodes[1].produce("b")).base_offset == 1
    assert cluster.nodes[3].log_records() == ["0:a", "1:b"]


@story()
async def test_many_producers_at_once_keep_their_order(cluster: Cluster) -> None:
    leader = cluster.nodes[1]
    results = await asyncio.gather(*(leader.produce(f"v{n}") for n in range(200)))
    assert [each.base_offset for each in results] == list(range(200))
    assert {each.error for each in results} == {ErrorCode.none}
    assert cluster.nodes[3].log_records() == [f"{n}:v{n}" for n in range(200)]


@story()
async def test_a_waiting_consumer_is_woken_by_the_high_watermark(cluster: Cluster) -> None:
    leader = cluster.nodes[1]
    waiting = asyncio.create_task(leader.consume(0, max_wait_ms=10_000))
    await asyncio.sleep(0.2)
    began = cluster.loop.time()
    await leader.produce("a")
    assert records_of((await waiting).records) == ["0:a"]
    assert cluster.loop.time() - began < 0.1


@story()
async def test_a_consumer_that_comes_between_append_and_commit_does_not_oversleep(
    cluster: Cluster,
) -> None:
    """What it waits for is in the log already: only the watermark has to move."""
    leader = cluster.nodes[1]
    began = cluster.loop.time()
    await leader.produce("a", acks=1)
    assert leader.manager.partition(TOPIC, 0).high_watermark == 0
    result = await leader.consume(0, max_wait_ms=10_000)
    assert records_of(result.records) == ["0:a"]
    assert cluster.loop.time() - began < 0.1


@story()
async def test_a_waiting_consumer_gets_nothing_after_its_time(cluster: Cluster) -> None:
    began = cluster.loop.time()
    result = await cluster.nodes[1].consume(0, max_wait_ms=300)
    assert (result.error, len(result.records)) == (ErrorCode.none, 0)
    assert 0.3 <= cluster.loop.time() - began < 0.32


@story()
async def test_a_consumer_waits_for_min_bytes(cluster: Cluster) -> None:
    leader = cluster.nodes[1]
    size = len(one_batch("a"))
    query = FetchQuery(
        [FetchPartition(TOPIC, 0, 0, 1 << 20)], max_wait_ms=10_000, min_bytes=3 * size
    )
    waiting = asyncio.create_task(leader.manager.fetch(query))
    for value in "ab":
        await leader.produce(value)
        await asyncio.sleep(0.3)
        assert not waiting.done()
    await leader.produce("c")
    assert records_of((await waiting)[0].records) == ["0:a", "1:b", "2:c"]


@story()
async def test_a_waiting_fetch_learns_at_once_that_the_leader_moved(cluster: Cluster) -> None:
    waiting = asyncio.create_task(cluster.nodes[1].consume(0, max_wait_ms=60_000))
    producing = asyncio.create_task(cluster.nodes[1].produce("a", timeout_ms=60_000))
    cluster.isolate(1)
    await asyncio.sleep(0.05)
    began = cluster.loop.time()
    cluster.change(leader=2)
    result = await waiting
    assert (result.error, result.leader) == (ErrorCode.not_leader_or_follower, (2, 1))
    assert (await producing).error == ErrorCode.not_leader_or_follower
    assert cluster.loop.time() - began < 0.1


@story()
async def test_the_first_partition_answers_even_above_the_limit(cluster: Cluster) -> None:
    cluster.create(2, topic="big", topic_id=5)
    leader = cluster.nodes[1].manager
    for index in (0, 1):
        await leader.produce([("big", index, one_batch("x" * 5_000))], -1, 5_000)
    query = FetchQuery(
        [FetchPartition(TOPIC, 0, 0, 100)] + [FetchPartition("big", i, 0, 100) for i in (0, 1)],
        max_bytes=100,
    )
    sizes = [len(each.records) for each in await leader.fetch(query)]
    assert sizes[0] == 0
    assert sizes[1] > 5_000
    assert sizes[2] == 0


@story()
async def test_partitions_that_are_not_here_are_named_rightly(cluster: Cluster) -> None:
    manager = cluster.nodes[2].manager
    wanted = [
        FetchPartition(TOPIC, 0, 0, 100),
        FetchPartition(TOPIC, 7, 0, 100),
        FetchPartition("nowhere", 0, 0, 100),
    ]
    errors = [each.error for each in await manager.fetch(FetchQuery(wanted))]
    assert errors == [
        ErrorCode.not_leader_or_follower,
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.unknown_topic_or_partition,
    ]
    result = (await manager.produce([(TOPIC, 0, one_batch("a"))], 1, 0))[0]
    assert result.error == ErrorCode.not_leader_or_follower
    assert manager.leader_and_epoch(TOPIC, 0) == (1, 0)


@story()
async def test_bad_batches_get_their_own_error(cluster: Cluster) -> None:
    manager = cluster.nodes[1].manager
    good = one_batch("a")
    damaged = bytearray(good)
    damaged[-1] ^= 1
    cases = {
        bytes(damaged): ErrorCode.corrupt_message,
        good[:-1]: ErrorCode.invalid_record,
        good + good: ErrorCode.invalid_record,
        b"": ErrorCode.invalid_record,
        one_batch("x" * 1_100_000): ErrorCode.message_too_large,
    }
    for data, expected in cases.items():
        result = (await manager.produce([(TOPIC, 0, data)], 1, 0))[0]
        assert result.error == expected
        assert result.message
    assert cluster.nodes[1].log_records() == []


@story()
async def test_an_idempotent_retry_gets_the_first_answer(cluster: Cluster) -> None:
    leader = cluster.nodes[1]
    producer = {"producer_id": 9, "producer_epoch": 0, "base_sequence": 0}
    first = await leader.produce("a", **producer)
    await leader.produce("other")
    again = await leader.produce("a", **producer)
    assert (again.error, again.base_offset) == (ErrorCode.none, first.base_offset)
    gap = await leader.produce("z", producer_id=9, producer_epoch=0, base_sequence=5)
    assert gap.error == ErrorCode.out_of_order_sequence_number
    # The new leader knows the producer as well.
    await leader.kill()
    cluster.fence(1)
    after = await cluster.leader().produce("a", **producer)
    assert (after.error, after.base_offset) == (ErrorCode.none, first.base_offset)


@story()
async def test_a_killed_leader_is_replaced_and_its_tail_is_cut(cluster: Cluster) -> None:
    old = cluster.nodes[1]
    await old.produce("a")
    cluster.isolate(1)
    tail = asyncio.create_task(old.produce("never acknowledged", timeout_ms=500))
    await asyncio.sleep(0.05)
    assert old.log_records() == ["0:a", "1:never acknowledged"]
    cluster.deaf.add(1)
    cluster.fence(1)
    assert (await tail).error in (ErrorCode.request_timed_out, ErrorCode.not_leader_or_follower)
    await old.kill()
    cluster.network.heal()
    new = cluster.leader()
    result = await new.produce("b")
    assert (new.id, result.error, result.base_offset) == (2, ErrorCode.none, 1)
    cluster.deaf.clear()
    await old.start()
    await cluster.until(lambda: 1 in cluster.state().isr)
    await new.produce("c")
    expected = ["0:a", "1:b", "2:c"]
    for node in cluster.nodes.values():
        assert node.log_records() == expected
    assert old.manager.counters.truncations == 1


@story(replica_lag_time_max_ms="2000")
async def test_the_isr_shrinks_and_grows_again(cluster: Cluster) -> None:
    leader = cluster.nodes[1]
    cluster.isolate(3)
    producing = asyncio.create_task(leader.produce("a", timeout_ms=60_000))
    took = await cluster.until(lambda: cluster.state().isr == (1, 2))
    assert 1.5 < took < 5
    assert (await producing).error == ErrorCode.none
    cluster.network.heal()
    await cluster.until(lambda: set(cluster.state().isr) == {1, 2, 3})
    assert cluster.nodes[3].log_records() == ["0:a"]
    counters = leader.manager.counters
    assert (counters.isr_shrinks, counters.isr_expands) == (1, 1)


@story(replica_lag_time_max_ms="2000")
async def test_below_the_minimum_nothing_is_acknowledged(cluster: Cluster) -> None:
    leader = cluster.nodes[1]
    cluster.isolate(1)
    producing = asyncio.create_task(leader.produce("a", timeout_ms=60_000))
    await cluster.until(lambda: cluster.state().isr == (1,))
    assert (await producing).error == ErrorCode.not_enough_replicas_after_append
    assert (await leader.produce("b")).error == ErrorCode.not_enough_replicas
    assert len((await leader.consume(0)).records) == 0
    assert leader.manager.gauges().under_min_isr == 1
    cluster.network.heal()
    await cluster.until(lambda: len(cluster.state().isr) == 3)
    assert (await leader.produce("c")).error == ErrorCode.none
    assert leader.manager.gauges().under_replicated == 0


@story(replica_lag_time_max_ms="2000")
async def test_a_lost_controller_delays_the_change_but_loses_it_not(cluster: Cluster) -> None:
    leader = cluster.nodes[1]
    cluster.controller_down = True
    cluster.isolate(3)
    producing = asyncio.create_task(leader.produce("a", timeout_ms=60_000))
    await asyncio.sleep(10)
    assert not producing.done()
    cluster.controller_down = False
    await cluster.until(lambda: cluster.state().isr == (1, 2), seconds=2)
    assert (await producing).error == ErrorCode.none


@story(replica_lag_time_max_ms="2000")
async def test_the_answer_may_come_before_the_metadata(cluster: Cluster) -> None:
    cluster.answer_first = True
    leader = cluster.nodes[1]
    cluster.isolate(3)
    assert (await leader.produce("a", timeout_ms=60_000)).error == ErrorCode.none
    cluster.network.heal()
    await cluster.until(lambda: len(cluster.state().isr) == 3)
    await asyncio.sleep(1)
    assert leader.manager.partition(TOPIC, 0).isr == cluster.state().isr
    assert len(cluster.proposals) == 2


@story(replica_lag_time_max_ms="4000")
async def test_a_pause_of_the_leader_shrinks_nobody(cluster: Cluster) -> None:
    leader = cluster.nodes[1]
    await leader.produce("a")
    await leader.produce("b", acks=1)
    cluster.stand_still(60)
    await asyncio.sleep(3)
    assert cluster.state().isr == (1, 2, 3)
    assert cluster.proposals == []


@story()
async def test_a_new_partition_does_not_wait_for_a_parked_fetch(cluster: Cluster) -> None:
    await cluster.nodes[1].produce("a")
    for n in range(10):
        await asyncio.sleep(0.7 + n / 40)  # the fetches of the followers are parked
        cluster.create(topic=f"t{n}", topic_id=100 + n)
        began = cluster.loop.time()
        results = await cluster.nodes[1].manager.produce([(f"t{n}", 0, one_batch("x"))], -1, 5_000)
        assert results[0].error == ErrorCode.none
        assert cluster.loop.time() - began < 0.1, "half a second would be a parked fetch"


@story()
async def test_a_leader_that_moves_is_followed_at_once(cluster: Cluster) -> None:
    """Everyone already has a parked fetch at the new leader, for another partition."""
    cluster.create(topic="other", topic_id=5, leader=2)
    await asyncio.sleep(0.8)
    cluster.change(leader=2)
    began = cluster.loop.time()
    assert (await cluster.nodes[2].produce("a")).error == ErrorCode.none
    assert cluster.loop.time() - began < 0.1


@story()
async def test_a_restarted_leader_does_not_lead_by_old_metadata(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    await node.produce("a")
    await node.kill()
    cluster.deaf.add(1)
    await node.start()  # the image it reads still names it the leader
    assert node.manager.partition(TOPIC, 0) is None
    assert (await node.produce("b", acks=1)).error == ErrorCode.not_leader_or_follower
    cluster.catch_up(1)
    await cluster.until(lambda: 1 in cluster.state().isr)
    assert node.log_records() == ["0:a"]


@story()
async def test_a_deleted_topic_leaves_nothing_behind(cluster: Cluster) -> None:
    await cluster.nodes[1].produce("old")
    waiting = asyncio.create_task(cluster.nodes[1].consume(1, max_wait_ms=60_000))
    await asyncio.sleep(0.01)
    cluster.commit(RemoveTopicRecord(topic_id=cluster.image.topics[TOPIC].id))
    assert (await waiting).error == ErrorCode.unknown_topic_or_partition
    await asyncio.sleep(0.1)
    for node in cluster.nodes.values():
        assert node.manager.partition(TOPIC, 0) is None
        assert not [n for n in node.disk.list_dir("/data") if n.startswith(TOPIC)]
    cluster.create(topic_id=78)
    assert (await cluster.nodes[1].produce("new")).base_offset == 0
    for node in cluster.nodes.values():
        assert node.log_records() == ["0:new"]


@story()
async def test_a_topic_made_again_while_a_broker_was_down_starts_empty_there(
    cluster: Cluster,
) -> None:
    await cluster.nodes[1].produce("old")
    await cluster.nodes[3].kill()
    cluster.fence(3)
    cluster.commit(RemoveTopicRecord(topic_id=cluster.image.topics[TOPIC].id))
    cluster.create(topic_id=78)
    cluster.change(isr=(1, 2))
    await cluster.nodes[1].produce("new")
    await cluster.nodes[3].start()
    await cluster.until(lambda: 3 in cluster.state().isr)
    assert cluster.nodes[3].log_records() == ["0:new"]


@story()
async def test_a_topic_deleted_while_a_broker_was_down_is_removed_there(cluster: Cluster) -> None:
    cluster.create(topic="kept", topic_id=5)
    await cluster.nodes[1].produce("old")
    await cluster.nodes[3].kill()
    cluster.fence(3)
    cluster.commit(RemoveTopicRecord(topic_id=cluster.image.topics[TOPIC].id))
    await cluster.nodes[3].start()
    await asyncio.sleep(0.1)
    folders = cluster.nodes[3].disk.list_dir("/data")
    assert [n for n in folders if n.startswith((TOPIC, "kept"))] == ["kept-0"]


@story()
async def test_the_minimum_isr_follows_the_topics_settings(cluster: Cluster) -> None:
    cluster.commit(
        ConfigRecord(resource_type=2, resource_name=TOPIC, name="min.insync.replicas", value="3")
    )
    await cluster.nodes[3].kill()
    cluster.fence(3)
    assert (await cluster.nodes[1].produce("a")).error == ErrorCode.not_enough_replicas
    cluster.commit(
        ConfigRecord(resource_type=2, resource_name=TOPIC, name="min.insync.replicas", value=None)
    )
    assert (await cluster.nodes[1].produce("a")).error == ErrorCode.none


@story()
async def test_high_watermarks_survive_a_stop(cluster: Cluster) -> None:
    await cluster.nodes[1].produce("a", "b")
    await asyncio.sleep(6)
    await cluster.nodes[1].kill()
    cluster.fence(1)
    await cluster.nodes[1].start()
    await asyncio.sleep(0.01)
    assert cluster.nodes[1].manager.partition(TOPIC, 0).high_watermark == 2


def set_topic(cluster: Cluster, **settings: str) -> None:
    for name, value in settings.items():
        cluster.commit(
            ConfigRecord(
                resource_type=2, resource_name=TOPIC, name=name.replace("_", "."), value=value
            )
        )


@story(log_retention_check_interval_ms="1000")
async def test_retention_moves_the_start_everywhere(cluster: Cluster) -> None:
    size = len(one_batch("v0"))
    set_topic(cluster, segment_bytes=str(2 * size), retention_bytes=str(4 * size))
    leader = cluster.nodes[1]
    for n in range(10):
        await leader.produce(f"v{n}")
    await cluster.until(
        lambda: all(node.log_records()[0] == "6:v6" for node in cluster.nodes.values())
    )
    assert (await leader.consume(0)).error == ErrorCode.offset_out_of_range
    assert leader.manager.list_offset(TOPIC, 0, -2).offset == 6


@story(log_retention_check_interval_ms="1000")
async def test_a_follower_that_was_away_too_long_begins_at_the_leaders_start(
    cluster: Cluster,
) -> None:
    size = len(one_batch("v0"))
    set_topic(cluster, segment_bytes=str(2 * size), retention_bytes=str(4 * size))
    leader = cluster.nodes[1]
    await leader.produce("v0")
    await cluster.nodes[3].kill()
    cluster.fence(3)
    for n in range(1, 10):
        await leader.produce(f"v{n}")
    await cluster.until(lambda: leader.log_records()[0] == "6:v6")
    await cluster.nodes[3].start()
    await cluster.until(lambda: 3 in cluster.state().isr)
    assert cluster.nodes[3].log_records() == leader.log_records()


@story(replica_lag_time_max_ms="2000")
async def test_a_full_disk_of_a_follower_costs_only_that_follower(cluster: Cluster) -> None:
    cluster.nodes[3].disk.full = True
    assert (await cluster.nodes[1].produce("a", timeout_ms=60_000)).error == ErrorCode.none
    assert cluster.state().isr == (1, 2)
    cluster.nodes[3].disk.full = False
    await cluster.until(lambda: 3 in cluster.state().isr)
    assert cluster.nodes[3].log_records() == ["0:a"]


@story()
async def test_a_full_disk_of_the_leader_is_said_so_and_heals(cluster: Cluster) -> None:
    leader = cluster.nodes[1]
    await leader.produce("a")
    leader.disk.full = True
    assert (await leader.produce("b")).error == ErrorCode.kafka_storage_error
    assert records_of((await leader.consume(0)).records) == ["0:a"]
    leader.disk.full = False
    assert (await leader.produce("c")).error == ErrorCode.kafka_storage_error, "not seen yet"
    await cluster.until(lambda: not leader.manager.space.short)
    assert (await leader.produce("c")).base_offset == 1


@story()
async def test_a_log_that_failed_is_reported(cluster: Cluster) -> None:
    leader = cluster.nodes[1]
    reports: list[str] = []
    leader.manager.on_failure = reports.append
    await leader.produce("a")

    def fail(path: str) -> None:
        if path.startswith("/data/orders-0/"):  # not a checkpoint, which may be due first
            leader.disk.fail_next_sync = 1

    leader.disk.on_sync = fail
    await cluster.until(lambda: reports)
    leader.disk.on_sync = None
    assert "orders-0" in reports[0]
    assert (await leader.produce("b")).error == ErrorCode.kafka_storage_error
    # It neither leads nor breaks the broker when metadata changes.
    cluster.change(leader=2)
    cluster.change(leader=1)
    assert (await leader.produce("c")).error == ErrorCode.not_leader_or_follower
    cluster.change(leader=2)
    await leader.kill()
    cluster.fence(1)


@story()
async def test_followers_learn_the_high_watermark_of_a_quiet_partition(cluster: Cluster) -> None:
    """Their readers (KIP-392) waited for the end of the fetch, half a second."""
    leader = cluster.nodes[1]
    leader.fetch_sessions = FetchSessions(10, random.Random(1))
    await leader.produce("a")
    await asyncio.sleep(2)
    before = leader.requests[1]
    for number in (2, 3, 4):
        await leader.produce("b")
        followers = [cluster.nodes[n].manager.partition(TOPIC, 0) for n in (2, 3)]
        took = await cluster.until(
            lambda n=number, f=followers: all(each.high_watermark == n for each in f)
        )
        assert took < 0.1
        await asyncio.sleep(0.2)
    assert leader.requests[1] - before <= 3 * 2 * 3 + 4, "and it costs one fetch more"


@story(log_flush_policy="commit")
async def test_a_new_leader_never_hears_of_what_is_not_synced(cluster: Cluster) -> None:
    """It counted what the follower had appended under the old leader, and power cuts took it."""
    follower = cluster.nodes[2]
    assert (await cluster.nodes[1].produce("a")).error == ErrorCode.none
    flusher, synced = follower.manager._flusher, asyncio.Event()
    flush = flusher.flush

    async def slow(partitions) -> bool:
        await synced.wait()
        return await flush(partitions)

    flusher.flush = slow
    assert (await cluster.nodes[1].produce("b", acks=1)).error == ErrorCode.none
    await cluster.until(lambda: follower.log_records() == ["0:a", "1:b"])
    cluster.change(leader=3)
    await asyncio.sleep(2)
    leader = cluster.nodes[3].manager.partition(TOPIC, 0)
    assert follower.manager.partition(TOPIC, 0).leader_epoch == leader.leader_epoch
    assert leader.leader.followers[2].log_end_offset < 2
    assert leader.high_watermark == 1
    synced.set()
    await cluster.until(lambda: leader.high_watermark == 2)


@story(log_flush_policy="commit")
async def test_a_flush_that_finds_no_room_is_tried_again_after_a_pause(cluster: Cluster) -> None:
    """It was tried again and again without one: a processor for nothing, and a log full of it."""
    leader = cluster.nodes[1]
    assert (await leader.produce("a")).error == ErrorCode.none
    log = leader.logs.logs[TOPIC, 0]
    tries: list[float] = []

    def no_room(pending) -> None:
        tries.append(cluster.loop.time())
        assert len(tries) < 1_000, "no pause"
        raise StorageFailure("/data", "write", errno.ENOSPC, "no space left on the disk")

    real, log.run_flush = log.run_flush, no_room
    assert (await leader.produce("b", timeout_ms=1_000)).error == ErrorCode.request_timed_out
    assert 2 < len(tries) < 30
    log.run_flush = real
    assert (await leader.produce("c")).base_offset == 2


@story(replica_lag_time_max_ms="4000")
async def test_a_follower_at_rest_is_not_taken_for_a_laggard(cluster: Cluster) -> None:
    """Nothing happens for long; then there is a record, and a follower that cannot fetch it."""
    leader = cluster.nodes[1]
    leader.fetch_sessions = FetchSessions(10, random.Random(1))
    await leader.produce("a")
    await asyncio.sleep(60)
    cluster.isolate(3)
    await leader.produce("b", acks=1)
    began = cluster.loop.time()
    await cluster.until(lambda: cluster.state().isr == (1, 2))
    assert 3 < cluster.loop.time() - began < 7


@story()
async def test_a_follower_at_rest_hears_of_what_happens(cluster: Cluster) -> None:
    leader = cluster.nodes[1]
    leader.fetch_sessions = FetchSessions(10, random.Random(1))
    await leader.produce("a", "b")
    await asyncio.sleep(5)
    await leader.manager.delete_records({(TOPIC, 0): 1}, 5_000)
    followers = [cluster.nodes[n] for n in (2, 3)]
    await cluster.until(lambda: all(n.logs.logs[TOPIC, 0].start_offset == 1 for n in followers))
    await asyncio.sleep(5)
    cluster.change(leader=2)
    await cluster.until(lambda: cluster.nodes[1].manager.partition(TOPIC, 0).follower is not None)
    assert (await cluster.nodes[2].produce("c")).base_offset == 2
    assert cluster.nodes[3].log_records()[-1] == "2:c"


@story()
async def test_an_idle_cluster_is_quiet(cluster: Cluster) -> None:
    await cluster.nodes[1].produce("a")
    await asyncio.sleep(1)
    before = dict(cluster.nodes[1].requests)
    await asyncio.sleep(10)
    fetches = cluster.nodes[1].requests[1] - before[1]
    assert fetches <= 2 * 21, "two followers, two fetches a second each"


@story()
async def test_stopping_answers_everyone_who_waits(cluster: Cluster) -> None:
    waiting = asyncio.create_task(cluster.nodes[1].consume(0, max_wait_ms=600_000))
    await asyncio.sleep(0.1)
    began = cluster.loop.time()
    await cluster.nodes[1].stop()
    assert (await waiting).error == ErrorCode.not_leader_or_follower
    assert cluster.loop.time() - began < 1
    cluster.fence(1)


@pytest.mark.parametrize("policy", ["background", "commit"])
def test_a_power_cut_of_every_broker(policy: str) -> None:
    """With the commit policy every acknowledged record is there afterwards."""
    cluster = Cluster(seed=7, log_flush_policy=policy, log_flush_interval_ms="3600000")

    async def told(cluster: Cluster) -> None:
        cluster.create()
        results = [await cluster.nodes[1].produce(f"v{n}") for n in range(20)]
        assert all(each.error == ErrorCode.none for each in results)
        await asyncio.gather(*(node.kill(power=True) for node in cluster.nodes.values()))
        for node in cluster.nodes.values():
            await node.start()
        await cluster.until(lambda: cluster.leader().manager is not None)
        leader = cluster.leader()
        await asyncio.sleep(1)
        survived = leader.log_records()
        expected = [f"{n}:v{n}" for n in range(20)]
        if policy == "commit":
            assert survived == expected
        else:
            assert survived == expected[: len(survived)]

    cluster.run(told)
