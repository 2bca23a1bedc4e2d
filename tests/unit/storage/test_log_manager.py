"""The data folder: whose it is, what is in it, what survives stops of every kind."""

import json
import os
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker.protocol.struct import uuid_to_text
from broker.simulation.disk import SimDisk
from broker.storage.disk import RealDisk
from broker.storage.errors import (
    CorruptLog,
    DiskLocked,
    InconsistentTopicId,
    LogClosed,
    StorageFailure,
    UnsafeName,
    WrongIdentity,
)
from broker.storage.log import LogConfig
from broker.storage.manager import LogManager, prepare_folder

NOW = 1_000_000
ORDERS = uuid.UUID(int=11)
SMALL = LogConfig(segment_bytes=600)


def start(place, seed=1, **kwargs):
    kwargs = {"cluster_id": "c1", "node_id": 1, "config_of": lambda _: SMALL} | kwargs
    return LogManager.open(place.disk, place.root, rng=random.Random(seed), **kwargs)


def die(manager):
    """The process is gone without a word: only its lock is."""
    manager._lock.release()
    for log in manager._logs.values():
        log.abandon()


def filled(manager, batch, topic="orders", partition=0, count=12):
    log = manager.get_or_create(topic, ORDERS, partition)
    for number in range(count):
        log.append_as_leader(batch(2), 1 + number // 4, NOW)
    return log


def test_a_fresh_folder_gets_an_identity(place):
    manager = start(place)
    text = place.disk.read_file(f"{place.root}/meta.properties").decode()
    directory = uuid_to_text(manager.directory_id)
    assert text == f"version=1\ncluster.id=c1\nnode.id=1\ndirectory.id={directory}\n"
    assert manager.directory_id.version == 4
    assert (manager.was_clean, manager.clean_shutdown_epoch) == (False, -1)
    manager.close(7)
    again = start(place, seed=2)
    assert again.directory_id == manager.directory_id
    assert (again.was_clean, again.clean_shutdown_epoch) == (True, 7)
    again.close()


@pytest.mark.parametrize(
    ("other", "advice"),
    [({"cluster_id": "c2"}, "cluster.id=c1"), ({"node_id": 2}, "node.id=1")],
)
def test_a_folder_of_others_is_refused_and_left_alone(place, other, advice):
    start(place).close()
    before = {n: place.disk.read_file(f"{place.root}/{n}") for n in place.disk.list_dir(place.root)}
    with pytest.raises(WrongIdentity, match=advice) as caught:
        start(place, **other)
    assert place.root in str(caught.value)
    after = {n: place.disk.read_file(f"{place.root}/{n}") for n in place.disk.list_dir(place.root)}
    assert before == after
    start(place).close()


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"version=1\n",
        b"version=7\ncluster.id=c1\nnode.id=1\ndirectory.id=x\n",
        b"version=1\ncluster.id=c1\nnode.id=one\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\n",
        b"version=1\ncluster.id=c1\nnode.id=1\ndirectory.id=!!\n",
        b"\0" * 64,
        b"\xff\xfe",
    ],
)
def test_a_damaged_identity_is_refused(place, contents):
    place.disk.write_atomic(f"{place.root}/meta.properties", contents)
    with pytest.raises(WrongIdentity, match=r"meta.properties.*restore"):
        start(place)


def test_logs_without_an_identity_are_refused(place, batch):
    manager = start(place)
    filled(manager, batch)
    manager.close()
    place.disk.remove(f"{place.root}/meta.properties")
    with pytest.raises(WrongIdentity, match=r"no meta\.properties"):
        start(place)


def test_a_second_process_is_kept_out(place):
    manager = start(place)
    with pytest.raises(DiskLocked, match="another process"):
        start(place)
    manager.close()
    manager.close()
    start(place).close()


def test_a_second_real_process_is_kept_out(tmp_path: Path):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        LogManager.open(
            RealDisk(), str(tmp_path / "d"), cluster_id="c", node_id=1, rng=random.Random(1)
        )
        os.write(writer, b"x")
        os.read(os.pipe()[0], 1)
    assert os.read(reader, 1) == b"x"
    with pytest.raises(DiskLocked):
        LogManager.open(
            RealDisk(), str(tmp_path / "d"), cluster_id="c", node_id=1, rng=random.Random(1)
        )
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    LogManager.open(
        RealDisk(), str(tmp_path / "d"), cluster_id="c", node_id=1, rng=random.Random(1)
    ).close()


@pytest.mark.parametrize("clean", [True, False])
def test_logs_come_back(place, batch, everything, clean):
    manager = start(place)
    contents = {}
    for topic, partition in (("orders", 0), ("orders", 1), ("a.b-c_d-1", 3)):
        log = filled(manager, batch, topic, partition, count=5 + partition)
        contents[topic, partition] = everything(log)
    manager.get("orders", 1).advance_start_offset(5)
    manager.checkpoint({("orders", 0): 8, ("orders", 1): 3, ("gone", 9): 4})
    metadata = manager.open_metadata_log()
    metadata.append_as_leader(batch(3), 1, NOW, validated=True)
    if clean:
        manager.close(12, {("orders", 0): 9})
    else:
        die(manager)
    again = start(place)
    assert list(again.logs) == sorted(contents)
    assert again.was_clean is clean
    assert again.get("orders", 7) is None
    for key, log in again.logs.items():
        assert everything(log) == [r for r in contents[key] if r.offset >= log.start_offset]
        assert again.topic_id(*key) == ORDERS
    assert again.get("orders", 1).start_offset == 5
    assert again.high_watermark("orders", 0) == (9 if clean else 8)
    assert again.high_watermark("orders", 1) == 5  # never below the start
    assert again.high_watermark("a.b-c_d-1", 3) == 0
    assert again.open_metadata_log().end_offset == 3
    assert again.open_metadata_log() is again.open_metadata_log()
    assert not any("cut" in note for note in again.notes)
    again.close()


def test_clean_logs_are_not_scanned_but_killed_ones_are(place, batch):
    manager = start(place)
    filled(manager, batch)
    manager.close()
    manager = start(place)
    assert manager.get("orders", 0).recovery.scanned_segments == 0
    # The mark is used up: what is killed now is recovered.
    die(manager)
    manager = start(place)
    assert manager.get("orders", 0).recovery.scanned_segments > 0
    assert not manager.was_clean
    manager.close(None)
    manager = start(place)
    assert not manager.was_clean
    manager.close()


@pytest.mark.parametrize("mark", [b"", b"junk", b"[]", b"{}", b'{"brokerEpoch": "7"}', b"\xff"])
def test_a_damaged_mark_of_a_clean_stop_counts_as_none(place, batch, mark):
    manager = start(place)
    filled(manager, batch)
    manager.close(3)
    path = f"{place.root}/.kafka_cleanshutdown"
    assert json.loads(place.disk.read_file(path)) == {"version": 0, "brokerEpoch": 3}
    place.disk.write_atomic(path, mark)
    again = start(place)
    assert (again.was_clean, again.clean_shutdown_epoch) == (False, -1)
    assert again.get("orders", 0).end_offset == 24
    again.close()


@pytest.mark.parametrize("damage", [b"", b"0\n5\n", b"\0" * 99])
def test_damaged_checkpoints_are_named_and_done_without(place, batch, everything, damage):
    manager = start(place)
    records = everything(filled(manager, batch))
    manager.get("orders", 0).flush()
    manager.checkpoint({("orders", 0): 10})
    die(manager)
    names = [n for n in place.disk.list_dir(place.root) if n.endswith("offset-checkpoint")]
    assert len(names) == 3
    for name in names:
        place.disk.write_atomic(f"{place.root}/{name}", damage)
    again = start(place)
    assert sum("ignored a checkpoint" in note for note in again.notes) == 3
    assert everything(again.get("orders", 0)) == records
    assert again.high_watermark("orders", 0) == 0
    again.close()


def test_one_damaged_log_does_not_keep_the_others_away(place, batch):
    manager = start(place)
    for partition in range(3):
        filled(manager, batch, partition=partition).flush()
    base = manager.get("orders", 1).segment_bases[-1]
    manager.checkpoint()
    die(manager)
    path = f"{place.root}/orders-1/{base:020d}.log"
    data = bytearray(place.disk.read_file(path))
    data[30] ^= 1
    place.disk.write_atomic(path, bytes(data))
    again = start(place)
    assert list(again.logs) == [("orders", 0), ("orders", 2)]
    assert path in str(again.failed["orders", 1])
    with pytest.raises(CorruptLog):
        again.get_or_create("orders", ORDERS, 1)
    again.close(5)
    assert not place.disk.exists(f"{place.root}/.kafka_cleanshutdown")
    again = start(place)
    again.delete("orders", 1)()
    assert again.get_or_create("orders", ORDERS, 1).end_offset == 0
    again.close()


def test_deleting_frees_the_name_at_once_and_the_files_later(place, batch):
    manager = start(place)
    log = filled(manager, batch)
    manager.checkpoint({("orders", 0): 24})
    remove = manager.delete("orders", 0)
    assert manager.get("orders", 0) is None
    with pytest.raises(LogClosed):
        log.append_as_leader(batch(), 9, NOW)
    waiting = [n for n in place.disk.list_dir(place.root) if n.endswith("-delete")]
    assert len(waiting) == 1
    assert waiting[0].startswith("orders-0.")
    fresh = manager.get_or_create("orders", uuid.UUID(int=12), 0)
    assert (fresh.end_offset, manager.high_watermark("orders", 0)) == (0, 0)
    remove()
    assert not [n for n in place.disk.list_dir(place.root) if n.endswith("-delete")]
    manager.delete("orders", 5)()
    manager.close()


def test_a_deletion_is_finished_after_a_crash(place, batch):
    manager = start(place)
    filled(manager, batch)
    manager.delete("orders", 0)
    die(manager)
    again = start(place)
    assert dict(again.logs) == {}
    assert not [n for n in place.disk.list_dir(place.root) if "orders" in n]
    again.close()


def test_a_topic_of_the_same_name_does_not_get_the_old_records(place, batch):
    manager = start(place)
    filled(manager, batch)
    manager.close()
    manager = start(place)
    with pytest.raises(InconsistentTopicId, match="orders-0"):
        manager.get_or_create("orders", uuid.UUID(int=99), 0)
    manager.delete("orders", 0)()
    log = manager.get_or_create("orders", uuid.UUID(int=99), 0)
    assert (log.end_offset, manager.topic_id("orders", 0)) == (0, uuid.UUID(int=99))
    text = place.disk.read_file(f"{place.root}/orders-0/partition.metadata")
    assert text == b"version: 0\ntopic_id: " + uuid_to_text(uuid.UUID(int=99)).encode()
    manager.close()


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", "a b", "x" * 250])
def test_names_from_outside_never_leave_the_folder(place, name):
    manager = start(place)
    before = place.disk.list_dir(place.root)
    for attempt in (
        lambda: manager.get_or_create(name, ORDERS, 0),
        lambda: manager.delete(name, 0),
    ):
        with pytest.raises(UnsafeName):
            attempt()
    assert place.disk.list_dir(place.root) == before
    manager.close()


def test_the_longest_name_can_be_deleted(place, batch):
    manager = start(place)
    log = manager.get_or_create("x" * 249, ORDERS, 0)
    log.append_as_leader(batch(), 1, NOW)
    manager.delete("x" * 249, 0)()
    manager.close()
    assert not [n for n in place.disk.list_dir(place.root) if n.startswith("x")]


def test_settings_change_while_open(place, batch):
    manager = start(place)
    log = filled(manager, batch)
    segments = log.segment_count
    again = manager.get_or_create("orders", ORDERS, 0, LogConfig(segment_bytes=1 << 20))
    assert again is log
    for _ in range(12):
        log.append_as_leader(batch(2), 3, NOW)
    assert log.segment_count == segments
    manager.close()


def test_a_late_checkpoint_does_not_undo_a_newer_one(place, batch):
    manager = start(place)
    log = filled(manager, batch)
    log.flush()
    old = manager.prepare_checkpoint({("orders", 0): 4})
    manager.checkpoint({("orders", 0): 20})
    old()
    die(manager)
    assert start(place).high_watermark("orders", 0) == 20


def test_a_truncation_below_the_saved_recovery_point_is_saved_first(batch):
    """Else a power cut later would make damaged new records pass for safely synced ones."""
    for seed in range(30):
        disk = SimDisk()
        arguments = {"cluster_id": "c", "node_id": 1, "config_of": lambda _: SMALL}
        manager = LogManager.open(disk, "/d", rng=random.Random(1), **arguments)
        log = filled(manager, batch)
        log.flush()
        manager.checkpoint()
        stale = manager.prepare_checkpoint()
        log.truncate_to(9)
        stale()
        for _ in range(10):
            log.append_as_leader(batch(2), 9, NOW)
        disk.crash(random.Random(seed))
        again = LogManager.open(disk, "/d", rng=random.Random(1), **arguments)
        assert again.failed == {}
        assert again.get("orders", 0).end_offset >= 8
        assert not again.get("orders", 0).recovery.missing_below_recovery_point


def test_a_failed_flush_at_the_end_is_no_clean_stop(batch):
    disk = SimDisk()
    manager = LogManager.open(disk, "/d", cluster_id="c", node_id=1, rng=random.Random(1))
    filled(manager, batch)
    disk.fail_next_sync = True
    with pytest.raises(StorageFailure, match="/d/orders-0"):
        manager.close(5)
    assert not disk.exists("/d/.kafka_cleanshutdown")
    again = LogManager.open(disk, "/d", cluster_id="c", node_id=1, rng=random.Random(1))
    assert not again.was_clean
    assert again.get("orders", 0).end_offset == 24


def test_logs_are_closed_in_several_threads(place, batch, everything):
    manager = start(place)
    for partition in range(7):
        filled(manager, batch, partition=partition)
    closers = manager.closers(3)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda closer: closer(), closers))
    assert all(log.closed for log in manager.logs.values())
    manager.close(5)
    manager = start(place)
    assert manager.was_clean
    assert [len(everything(log)) for log in manager.logs.values()] == [24] * 7
    assert sum(log.recovery.scanned_segments for log in manager.logs.values()) == 0
    manager.close()


def test_a_failure_in_one_of_several_closers_is_no_clean_stop(batch):
    disk = SimDisk()
    manager = LogManager.open(disk, "/d", cluster_id="c", node_id=1, rng=random.Random(1))
    for partition in range(3):
        filled(manager, batch, partition=partition)
    disk.fail_next_sync = True
    for closer in manager.closers(3):
        closer()
    with pytest.raises(StorageFailure, match="/d/orders-0"):
        manager.close(5)
    assert not disk.exists("/d/.kafka_cleanshutdown")


def test_power_cuts_at_every_sync_of_a_working_life(batch, everything):
    """Each sync of a whole little history is the last one before the lights go out."""

    class LightsOut(Exception):
        pass

    def live(disk, promise):
        manager = LogManager.open(
            disk, "/d", cluster_id="c", node_id=1, rng=random.Random(1), config_of=lambda _: SMALL
        )
        log = manager.get_or_create("orders", ORDERS, 0)
        for number in range(14):
            log.append_as_leader(batch(2), 1 + number // 5, NOW)
            if number % 4 == 3:
                promise["flushed"] = log.flush()
            if number % 5 == 4:
                manager.checkpoint({("orders", 0): log.end_offset})
        promise["flushed"] = min(promise["flushed"], 18)
        log.truncate_to(19)
        log.append_as_leader(batch(2), 7, NOW)
        promise["flushed"] = log.flush()
        manager.close(4)
        promise["flushed"] = log.end_offset

    whole = SimDisk()
    live(whole, {"flushed": 0})
    for last in range(whole.syncs):
        for seed in range(3):
            disk, promise, left = SimDisk(), {"flushed": 0}, [last]

            def count(path, left=left):
                left[0] -= 1
                if left[0] < 0:
                    raise LightsOut

            disk.on_sync = count
            with pytest.raises(LightsOut):
                live(disk, promise)
            disk.on_sync = None
            disk.crash(random.Random(seed))
            manager = LogManager.open(disk, "/d", cluster_id="c", node_id=1, rng=random.Random(2))
            assert manager.failed == {}, manager.notes
            log = manager.get_or_create("orders", ORDERS, 0)
            assert log.end_offset >= promise["flushed"], (last, seed)
            assert [r.offset for r in everything(log)] == list(range(log.end_offset))
            assert not log.recovery.missing_below_recovery_point
            log.append_as_leader(batch(2), 9, NOW)
            manager.close()


def test_a_prepared_folder_is_taken_over_and_an_existing_one_left_alone(place, batch):
    manager = start(place)
    prepare_folder(place.disk, place.root, "orders", ORDERS, 0)
    log = manager.get_or_create("orders", ORDERS, 0)
    assert (log.start_offset, log.end_offset) == (0, 0)
    assert manager.topic_id("orders", 0) == ORDERS
    log.append_as_leader(batch(2), 0, NOW)
    prepare_folder(place.disk, place.root, "orders", uuid.UUID(int=12), 0)
    manager.close(1)
    again = start(place)
    assert again.get("orders", 0).end_offset == 2
    assert again.topic_id("orders", 0) == ORDERS
    assert again.notes == []


def test_a_folder_prepared_for_a_topic_that_never_came_serves_its_namesake(place):
    manager = start(place)
    prepare_folder(place.disk, place.root, "orders", uuid.UUID(int=12), 0)
    manager.get_or_create("orders", ORDERS, 0)
    assert manager.topic_id("orders", 0) == ORDERS
    manager.close(1)
    assert start(place).topic_id("orders", 0) == ORDERS


def test_a_name_that_is_unsafe_is_not_prepared(place):
    start(place)
    with pytest.raises(UnsafeName):
        prepare_folder(place.disk, place.root, "../orders", ORDERS, 0)
