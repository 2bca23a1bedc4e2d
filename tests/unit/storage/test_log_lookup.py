"""ListOffsets by time and by largest timestamp, against a dumb look at every record."""

import random

import pytest

from broker.protocol.batch import Compression
from broker.storage.log import LogConfig

NOW = 1_000_000


@pytest.mark.parametrize("seed", range(6))
def test_against_a_look_at_every_record(place, batch, everything, seed):
    rng = random.Random(seed)
    log = place.open(config=LogConfig(segment_bytes=900, index_interval_bytes=150))
    for number in range(40):
        ts = 1000 + number * 10 + rng.randint(-60, 60)
        data = batch(
            rng.randint(1, 4),
            ts=ts,
            step=rng.choice((0, 1, 7)),
            compression=rng.choice([Compression.NONE, Compression.LZ4]),
        )
        log.append_as_leader(data, 1 + number // 10, NOW)
    log.advance_start_offset(rng.randint(0, 20))
    for again in (False, True):
        if again:
            log = place.reopen(log, log_start_offset=log.start_offset)
        records = everything(log)
        for upto in (0, 1, log.end_offset // 2, log.end_offset - 1, log.end_offset + 5):
            below = [r for r in records if r.offset < upto]
            for target in (0, 900, 1100, 1234, 1390, 1460, 9999):
                found = next((r for r in below if r.timestamp_ms >= target), None)
                expected = found and (found.offset, found.timestamp_ms, log.epoch_at(found.offset))
                assert log.offset_for_timestamp(target, upto_offset=upto) == expected
            largest = max(below, key=lambda r: (r.timestamp_ms, -r.offset), default=None)
            found = log.max_timestamp(upto)
            assert (found and found[1]) == (largest and largest.timestamp_ms)
            if largest is not None:
                assert found is not None
                assert found[0] in [
                    r.offset for r in below if r.timestamp_ms == largest.timestamp_ms
                ]


def test_an_empty_log_has_no_timestamps(place):
    log = place.open()
    assert log.offset_for_timestamp(0, upto_offset=10) is None
    assert log.max_timestamp(10) is None
    assert log.read(0, 10, upto_offset=0) == b""


def test_records_without_timestamps(place, batch):
    log = place.open()
    log.append_as_leader(batch(3, ts=-1), 1, NOW)
    assert log.max_timestamp(3) is None
    assert log.offset_for_timestamp(0, upto_offset=3) is None
