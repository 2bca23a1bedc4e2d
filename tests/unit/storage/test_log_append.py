"""Appending and reading: offsets, checks, whole batches, bounds."""

import struct

import pytest

from broker.protocol.batch import (
    Compression,
    Record,
    decode_records,
    encode_batch,
    iter_batches,
)
from broker.simulation.disk import SimDisk
from broker.storage.errors import (
    BatchTooLarge,
    CorruptBatch,
    CorruptLog,
    InvalidBatch,
    InvalidProducerEpoch,
    InvalidRecord,
    InvalidTimestamp,
    LargerThanSegment,
    LogClosed,
    OffsetOutOfRange,
    OldMagic,
    OutOfOrderOffsets,
    OutOfOrderSequence,
    StaleEpoch,
    StorageFailure,
    TornBatch,
)
from broker.storage.log import Log, LogConfig

NOW = 1_000_000


def refused(log: Log, error: type[Exception], data: bytes, **kwargs) -> str:
    end, size = log.end_offset, log.size_bytes
    with pytest.raises(error) as caught:
        log.append_as_leader(data, 1, NOW, **kwargs)
    assert (log.end_offset, log.size_bytes) == (end, size)
    return str(caught.value)


def test_the_leader_gives_offsets_and_epochs(place, batch, everything):
    log = place.open()
    first = log.append_as_leader(batch(3, ts=50, step=1), 4, NOW)
    second = log.append_as_leader(memoryview(batch(2, ts=60)), 5, NOW)
    assert (first.first_offset, first.last_offset, first.max_timestamp_ms) == (0, 2, 52)
    assert (second.first_offset, second.last_offset, second.records_count) == (3, 4, 2)
    assert not second.duplicate
    assert second.log_append_time_ms == -1
    data = log.read(0, 1 << 20, upto_offset=5)
    headers = [header for _, header in iter_batches(data)]
    assert [(h.base_offset, h.leader_epoch) for h in headers] == [(0, 4), (3, 5)]
    assert [r.offset for r in everything(log)] == [0, 1, 2, 3, 4]
    assert log.size_bytes == len(data)
    assert log.epochs == ((4, 0), (5, 3))
    assert log.latest_epoch == 5
    assert [log.epoch_at(o) for o in (0, 2, 3)] == [4, 4, 5]


def test_several_batches_at_once(place, batch, everything):
    log = place.open()
    log.append_as_leader(batch(2), 1, NOW)
    info = log.append_as_leader(batch(3) + batch(4, ts=2000), 2, NOW)
    assert (info.first_offset, info.last_offset, info.records_count) == (2, 8, 7)
    assert info.max_timestamp_ms == 2000
    assert [r.offset for r in everything(log)] == list(range(9))


@pytest.mark.parametrize("compression", list(Compression))
def test_bytes_of_records_are_passed_through(place, compression):
    log = place.open()
    record = Record(0, 5, b"k", bytes(range(256)) * 20, (("h", b"\xff"), ("n", None)))
    log.append_as_leader(encode_batch([record], compression=compression), 1, NOW)
    assert decode_records(log.read(0, 10, upto_offset=1)) == [record]


def test_log_append_time_stamps_the_batch(place, batch):
    log = place.open()
    info = log.append_as_leader(batch(3, ts=5), 1, NOW, log_append_time=True)
    assert (info.log_append_time_ms, info.max_timestamp_ms) == (NOW, NOW)
    records = decode_records(log.read(0, 1000, upto_offset=3))
    assert {r.timestamp_ms for r in records} == {NOW}
    assert log.offset_for_timestamp(NOW, upto_offset=3) == (0, NOW, 1)
    assert place.reopen(log).recovery.cut_bytes == 0  # the checksum was recomputed


def test_what_a_producer_may_not_send(place, batch):
    log = place.open(config=LogConfig(max_message_bytes=500))
    log.append_as_leader(batch(), 1, NOW)
    good = batch(3)

    def changed(position: int, form: str, *values: int, crc: bool = False) -> bytes:
        data = bytearray(good)
        struct.pack_into(form, data, position, *values)
        if crc:
            from crc32c import crc32c

            struct.pack_into(">I", data, 17, crc32c(memoryview(data)[21:]))
        return bytes(data)

    def headless(data: bytes) -> bytes:
        """The header of a batch from its checksum on, as if it had no records."""
        from crc32c import crc32c

        return struct.pack(">I", crc32c(data[21:61])) + data[21:61]

    refused(log, CorruptBatch, changed(len(good) - 1, "B", 0xEE))
    refused(log, OldMagic, changed(16, "b", 1))
    refused(log, OldMagic, changed(16, "b", 0))
    refused(log, InvalidBatch, changed(16, "b", 3))
    refused(log, InvalidBatch, changed(8, ">i", 10))
    refused(log, InvalidBatch, changed(8, ">i", -1))
    refused(log, InvalidRecord, changed(57, ">i", 4, crc=True))
    refused(log, InvalidRecord, changed(57, ">i", -1, crc=True))
    refused(log, InvalidRecord, changed(22, "b", 7, crc=True))
    refused(log, InvalidRecord, batch(2, base_offset=77))
    # Three records cannot be in no bytes.
    refused(log, InvalidRecord, changed(8, ">i", 49, crc=False)[:17] + headless(good))
    refused(log, InvalidRecord, changed(23, ">i", 7, crc=True))
    refused(log, InvalidRecord, batch(control=True))
    refused(log, InvalidRecord, batch(producer_id=1, producer_epoch=0, base_sequence=-1))
    refused(log, InvalidRecord, batch(transactional=True))
    assert "500" in refused(log, BatchTooLarge, batch(40))
    refused(log, BatchTooLarge, good, max_batch_bytes=100)
    for size in (0, 11, 60, len(good) - 1):
        refused(log, TornBatch, good[:size])
    refused(log, TornBatch, good + good[:30])
    refused(log, InvalidRecord, batch(2, producer_id=1, producer_epoch=0, base_sequence=0) * 2)
    log.append_as_leader(batch(40), 1, NOW, max_batch_bytes=5000)
    marker = batch(control=True)
    assert log.append_as_leader(marker, 2, NOW, validated=True).records_count == 1


def test_timestamps_out_of_bounds(place, batch):
    config = LogConfig(message_timestamp_before_max_ms=1000, message_timestamp_after_max_ms=500)
    log = place.open(config=config)
    assert f"{NOW + 501} is outside" in refused(log, InvalidTimestamp, batch(ts=NOW + 501))
    assert f"{NOW - 1001} is outside" in refused(log, InvalidTimestamp, batch(ts=NOW - 1001))
    # Each record at fault is named, wherever it stands in the batch (KIP-467).
    for data, places in (
        (batch(3, ts=NOW + 400, step=101), [1, 2]),
        (batch(3, ts=NOW, step=-600), [2]),
    ):
        with pytest.raises(InvalidTimestamp) as raised:
            log.append_as_leader(data, 1, NOW)
        assert [place for place, _ in raised.value.record_errors] == places
    log.append_as_leader(batch(ts=NOW + 500), 1, NOW)
    log.append_as_leader(batch(ts=NOW - 1000), 1, NOW)
    log.append_as_leader(batch(ts=-1), 1, NOW)
    log.append_as_leader(batch(ts=NOW + 9999), 1, NOW, log_append_time=True)


def test_a_compacted_topic_needs_keys(place):
    log = place.open(config=LogConfig(compact=True))
    keyless = encode_batch([Record(0, 5, b"k", b"v", ()), Record(1, 5, None, b"v", ())])
    assert "record 1" in refused(log, InvalidRecord, keyless)


def test_an_older_leader_cannot_write(place, batch):
    log = place.open()
    log.assign_epoch(7)
    with pytest.raises(StaleEpoch, match="7"):
        log.append_as_leader(batch(), 6, NOW)
    with pytest.raises(StaleEpoch):
        log.assign_epoch(6)
    log.assign_epoch(7)
    assert log.epochs == ((7, 0),)
    log.append_as_leader(batch(), 7, NOW)


def test_a_retry_gets_its_original_offsets(place, batch):
    log = place.open()
    log.append_as_leader(batch(5), 1, NOW)
    sent = [batch(2, producer_id=9, producer_epoch=0, base_sequence=2 * n) for n in range(6)]
    infos = [log.append_as_leader(data, 1, NOW) for data in sent]
    end, size = log.end_offset, log.size_bytes
    for data, original in zip(sent[1:], infos[1:], strict=True):
        again = log.append_as_leader(data, 1, NOW)
        assert again.duplicate
        assert again.log_append_time_ms == again.max_timestamp_ms
        assert (again.first_offset, again.last_offset) == original[:2]
    assert (log.end_offset, log.size_bytes) == (end, size)
    refused(log, OutOfOrderSequence, sent[0])
    gap = batch(producer_id=9, producer_epoch=0, base_sequence=13)
    refused(log, OutOfOrderSequence, gap)
    log.append_as_leader(batch(producer_id=9, producer_epoch=1, base_sequence=0), 1, NOW)
    old = batch(producer_id=9, producer_epoch=0, base_sequence=12)
    refused(log, InvalidProducerEpoch, old)


def test_a_refused_batch_leaves_no_sequence_behind(place, batch):
    log = place.open()
    data = bytearray(batch(producer_id=9, producer_epoch=0, base_sequence=0))
    data[-1] ^= 1
    refused(log, CorruptBatch, bytes(data))
    data[-1] ^= 1
    assert not log.append_as_leader(bytes(data), 1, NOW).duplicate


def test_a_follower_has_the_same_bytes(place, batch):
    leader, follower = place.open("leader-0"), place.open("follower-0")
    for number in range(20):
        leader.append_as_leader(batch(number % 3 + 1), number // 5, NOW)
    while follower.end_offset < leader.end_offset:
        data = leader.read(follower.end_offset, 500, upto_offset=leader.end_offset)
        follower.append_as_follower(data)
    everything = (0, 1 << 20)
    assert follower.read(*everything, upto_offset=99) == leader.read(*everything, upto_offset=99)
    assert follower.epochs == leader.epochs


def test_a_follower_takes_only_what_continues_its_log(place, batch):
    log = place.open()
    one = batch(2, leader_epoch=3)
    log.append_as_follower(one)
    with pytest.raises(OutOfOrderOffsets, match="continues at offset 2"):
        log.append_as_follower(one)
    with pytest.raises(OutOfOrderOffsets):
        log.append_as_follower(batch(base_offset=3, leader_epoch=3))
    with pytest.raises(StaleEpoch):
        log.append_as_follower(batch(base_offset=2, leader_epoch=2))
    damaged = bytearray(batch(base_offset=2, leader_epoch=3))
    damaged[-1] ^= 4
    with pytest.raises(CorruptBatch):
        log.append_as_follower(bytes(damaged))
    with pytest.raises(TornBatch):
        log.append_as_follower(batch(base_offset=2, leader_epoch=3)[:-1])
    good = batch(base_offset=2, leader_epoch=3)
    info = log.append_as_follower(good + batch(base_offset=3, leader_epoch=3)[:-1])
    assert (info.first_offset, info.last_offset, info.size_bytes) == (2, 2, len(good))
    assert log.end_offset == 3


def test_a_follower_begins_inside_of_a_batch(place, batch, everything):
    """The leader's records were deleted up to offset 7, in the middle of a batch of five."""
    leader = place.open("leader-0")
    for _ in range(4):
        leader.append_as_leader(batch(5), 1, NOW)
    leader.advance_start_offset(7)
    log = place.open("follower-0")
    log.truncate_fully(leader.start_offset)
    with pytest.raises(OutOfOrderOffsets):
        log.append_as_follower(batch(2, leader_epoch=1))
    log.append_as_follower(leader.read(7, 1 << 20, upto_offset=20))
    assert (log.start_offset, log.end_offset) == (7, 20)
    assert everything(log) == everything(leader)
    again = place.reopen(log, log_start_offset=7)
    assert everything(again) == everything(leader)
    with pytest.raises(OffsetOutOfRange):
        again.read(6, 100, upto_offset=20)


def test_a_follower_forgets_an_epoch_of_its_own_that_wrote_nothing(place, batch):
    log = place.open()
    log.append_as_follower(batch(2, leader_epoch=3))
    log.assign_epoch(9)
    log.append_as_follower(batch(base_offset=2, leader_epoch=4))
    assert log.epochs == ((3, 0), (4, 2))


def test_reads_return_whole_batches(place, batch):
    log = place.open()
    for _ in range(10):
        log.append_as_leader(batch(5), 1, NOW)
    size = len(batch(5))

    def bases(data: bytes) -> list[int]:
        return [h.base_offset for _, h in iter_batches(data)]

    assert bases(log.read(0, 3 * size, upto_offset=50)) == [0, 5, 10]
    assert bases(log.read(0, 3 * size + size - 1, upto_offset=50)) == [0, 5, 10]
    assert bases(log.read(7, 2 * size, upto_offset=50)) == [5, 10]
    assert bases(log.read(7, 1, upto_offset=50)) == [5]
    assert log.read(7, size - 1, upto_offset=50, min_one=False) == b""
    assert log.read(7, 0, upto_offset=50, min_one=False) == b""
    assert bases(log.read(7, 0, upto_offset=50)) == [5]
    assert bases(log.read(0, 1 << 20, upto_offset=20)) == [0, 5, 10, 15]
    assert bases(log.read(0, 1 << 20, upto_offset=21)) == [0, 5, 10, 15, 20]
    assert bases(log.read(44, 1 << 20, upto_offset=999)) == [40, 45]
    assert log.read(20, 1 << 20, upto_offset=20) == b""
    assert log.read(30, 1 << 20, upto_offset=20) == b""
    assert log.read(50, 1 << 20, upto_offset=50) == b""
    for offset in (-1, 51):
        with pytest.raises(OffsetOutOfRange, match="from 0 to 50"):
            log.read(offset, 100, upto_offset=50)


@pytest.mark.parametrize("recent", [4, 1024])
def test_every_read_against_a_dumb_one(place, batch, monkeypatch, recent):
    """Every offset, limit and size, over many segments, warm and after a restart."""
    import broker.storage.segment as segment_module

    monkeypatch.setattr(segment_module, "RECENT_BATCHES", recent)
    log = place.open(config=LogConfig(segment_bytes=1500, index_interval_bytes=200))
    batches: list[tuple[int, int, bytes]] = []
    for number in range(24):
        info = log.append_as_leader(batch(1 + number % 4), number // 6, NOW)
        data = log.read(info.first_offset, 1, upto_offset=log.end_offset)
        batches.append((info.first_offset, info.last_offset, data))
    assert log.segment_count > 2
    bases = log.segment_bases

    def dumb(offset: int, max_bytes: int, upto: int) -> bytes:
        found = b""
        segment = max(b for b in bases if b <= offset)
        for first, last, data in batches:
            if last < offset or first >= upto or first < segment:
                continue
            if any(segment < b <= first for b in bases):
                break
            if found and len(found) + len(data) > max_bytes:
                break
            found += data
        return found if offset < upto else b""

    for again in (False, True):
        reader = place.reopen(log) if again else log
        for offset in range(log.end_offset):
            for upto in range(offset, log.end_offset + 1, 3):
                for max_bytes in (1, 150, 400, 5000):
                    assert reader.read(offset, max_bytes, upto_offset=upto) == dumb(
                        offset, max_bytes, upto
                    ), (offset, upto, max_bytes)


def test_segments_roll_by_size_and_time(place, batch, everything):
    log = place.open(config=LogConfig(segment_bytes=1000, segment_ms=500))
    for _ in range(20):
        log.append_as_leader(batch(3), 1, NOW)
    assert log.segment_count > 2
    names = place.disk.list_dir(log.directory)
    for base in log.segment_bases[:-1]:
        assert {f"{base:020d}{s}" for s in (".log", ".index", ".timeindex")} <= set(names)
    assert f"{log.segment_bases[-1]:020d}.snapshot" in names
    count = log.segment_count
    log.append_as_leader(batch(ts=1501), 1, NOW)
    assert log.segment_count == count + 1
    assert not log.roll_if_due(2001)
    assert log.roll_if_due(2002)
    assert not log.roll_if_due(99_999)
    assert log.segment_count == count + 2
    assert len(everything(log)) == 61


def test_a_batch_above_the_segment_size_from_the_leader_is_still_copied(place, batch, everything):
    log = place.open(config=LogConfig(segment_bytes=300))
    refused(log, LargerThanSegment, batch(20))
    log.append_as_follower(batch(20, leader_epoch=1) + batch(20, base_offset=20, leader_epoch=1))
    log.append_as_follower(batch(1, base_offset=40, leader_epoch=1))
    assert log.segment_bases == (0, 20, 40)
    assert len(everything(log)) == 41


def test_a_full_disk_refuses_writes_keeps_reads_and_recovers(batch, everything):
    disk = SimDisk()
    log = Log.open(disk, "/d/t-0", LogConfig(segment_bytes=400), name="t-0")
    for _ in range(7):
        log.append_as_leader(batch(), 1, NOW)
    disk.full = True
    for _ in range(5):
        with pytest.raises(StorageFailure, match=r"/d/t-0/.*no space left"):
            log.append_as_leader(batch(3), 1, NOW)
    assert len(everything(log)) == 7
    disk.full = False
    log.append_as_leader(batch(3), 1, NOW)
    assert [r.offset for r in everything(log)] == list(range(10))
    log.abandon()
    again = Log.open(disk, "/d/t-0", LogConfig(segment_bytes=400), name="t-0")
    assert [r.offset for r in everything(again)] == list(range(10))


def test_few_open_files_are_enough(place, batch, everything):
    from broker.storage.handles import HandleCache

    cache = HandleCache(3)
    config = LogConfig(segment_bytes=200)
    logs = [place.open(f"t-{n}", config=config, cache=cache) for n in range(6)]
    for _ in range(10):
        for log in logs:
            log.append_as_leader(batch(2), 1, NOW)
    assert len(cache) <= 3
    for log in logs:
        assert [r.offset for r in everything(log)] == list(range(20))
        log.flush()
    assert sum(s.handle is not None for log in logs for s in log._segments) <= 3
    for log in logs:
        log.close()
    assert len(cache) == 0


def test_a_closed_log_says_so(place, batch):
    log = place.open()
    log.append_as_leader(batch(), 1, NOW)
    log.close()
    log.close()
    for attempt in (
        lambda: log.append_as_leader(batch(), 1, NOW),
        lambda: log.append_as_follower(batch(base_offset=1)),
        lambda: log.read(0, 100, upto_offset=1),
        lambda: log.truncate_to(0),
        log.flush,
    ):
        with pytest.raises(LogClosed, match="t-0"):
            attempt()


def test_a_damaged_header_met_on_the_way_is_an_error_not_data(batch):
    disk = SimDisk()
    log = Log.open(disk, "/d/t-0", name="t-0")
    for _ in range(3):
        log.append_as_leader(batch(2), 1, NOW)
    log.close()
    log = Log.open(disk, "/d/t-0", name="t-0", clean=True)
    size = len(batch(2))
    disk.flip("/d/t-0/00000000000000000000.log", size + 16)  # the magic byte of the second batch
    with pytest.raises(CorruptLog, match=f"00000000000000000000.log is damaged at byte {size}"):
        log.read(4, 100, upto_offset=6)
