"""Idempotent producers: duplicates, gaps, epochs, wrap-around, snapshots."""

import struct

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from broker.storage.errors import CorruptFile, InvalidProducerEpoch, OutOfOrderSequence
from broker.storage.producers import ProducerState

TRANSACTIONAL, CONTROL = 0x10, 0x20


def written(state, producer, epoch, sequence, count, offset, attributes=0, ts=1):
    state.record(producer, epoch, sequence, count, offset, offset + count - 1, ts, attributes)


def test_the_last_five_batches_are_known_again():
    state = ProducerState()
    for number in range(7):
        written(state, 9, 0, number * 10, 10, 100 + number * 10)
    for number in range(2, 7):
        found = state.check(9, 0, number * 10, 10)
        assert found is not None
        assert (found.first_offset, found.last_offset) == (100 + number * 10, 109 + number * 10)
    with pytest.raises(OutOfOrderSequence):
        state.check(9, 0, 10, 10)  # too old to be remembered
    assert state.check(9, 0, 70, 3) is None


def test_gaps_and_half_repeats_are_refused():
    state = ProducerState()
    written(state, 9, 0, 0, 10, 0)
    with pytest.raises(OutOfOrderSequence, match="10 comes next"):
        state.check(9, 0, 11, 1)
    with pytest.raises(OutOfOrderSequence):
        state.check(9, 0, 0, 5)
    with pytest.raises(OutOfOrderSequence):
        state.check(9, 0, 5, 10)


def test_epochs():
    state = ProducerState()
    written(state, 9, 3, 0, 10, 0)
    with pytest.raises(InvalidProducerEpoch):
        state.check(9, 2, 10, 1)
    with pytest.raises(OutOfOrderSequence, match="not 0"):
        state.check(9, 4, 10, 1)
    assert state.check(9, 4, 0, 1) is None
    written(state, 9, 4, 0, 1, 10)
    assert state.check(9, 4, 0, 1).first_offset == 10
    with pytest.raises(InvalidProducerEpoch):
        state.check(9, 3, 0, 10)


def test_an_unknown_producer_may_begin_anywhere():
    assert ProducerState().check(9, 5, 12345, 10) is None


def test_sequences_wrap_at_two_to_the_31():
    state = ProducerState()
    last = 2**31 - 1
    written(state, 9, 0, last - 1, 4, 0)  # last-1, last, 0, 1
    assert state.get(9).last_sequence == 1
    assert state.check(9, 0, last - 1, 4).last_offset == 3
    assert state.check(9, 0, 2, 1) is None
    back = ProducerState.decode("f", state.encode())
    assert back.check(9, 0, last - 1, 4).first_offset == 0


def test_open_transactions_hold_the_stable_offset():
    state = ProducerState()
    assert state.first_unstable_offset is None
    written(state, 1, 0, 0, 5, 10, TRANSACTIONAL)
    written(state, 2, 0, 0, 5, 15, TRANSACTIONAL)
    written(state, 1, 0, 5, 5, 20, TRANSACTIONAL)
    assert state.first_unstable_offset == 10
    written(state, 1, 0, -1, 1, 25, TRANSACTIONAL | CONTROL)
    assert state.first_unstable_offset == 15
    assert state.check(1, 0, 5, 5).first_offset == 20
    assert state.check(1, 0, 10, 1) is None
    written(state, 2, 1, -1, 1, 26, TRANSACTIONAL | CONTROL)  # the coordinator fenced epoch 0
    assert state.first_unstable_offset is None
    with pytest.raises(InvalidProducerEpoch):
        state.check(2, 0, 5, 1)


def test_snapshot_is_kafkas_layout():
    state = ProducerState()
    written(state, 7, 2, 10, 5, 100, ts=1234)
    body = struct.pack(">i", 1) + struct.pack(">qhiqiqiq", 7, 2, 14, 104, 4, 1234, -1, -1)
    assert state.encode() == struct.pack(">hI", 1, crc32c(body)) + body


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 20), st.booleans()),
        max_size=30,
    )
)
def test_snapshots_bring_everything_back(rows):
    state, offset, sequences = ProducerState(), 0, {}
    for producer, epoch, count, transactional in rows:
        entry = state.get(producer)
        if entry is not None and epoch < entry.epoch:
            continue
        sequence = sequences.get((producer, epoch), 0)
        written(state, producer, epoch, sequence, count, offset, TRANSACTIONAL * transactional)
        sequences[producer, epoch] = sequence + count
        offset += count
    assert list(ProducerState.decode("f", state.encode())) == list(state)


def test_damaged_snapshots_are_refused():
    state = ProducerState()
    written(state, 7, 2, 10, 5, 100)
    data = state.encode()
    for cut in range(len(data)):
        with pytest.raises(CorruptFile):
            ProducerState.decode("f", data[:cut])
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(CorruptFile):
            ProducerState.decode("f", bytes(damaged))


def test_silent_producers_expire_unless_in_a_transaction():
    state = ProducerState()
    written(state, 1, 0, 0, 1, 0, ts=100)
    written(state, 2, 0, 0, 1, 1, TRANSACTIONAL, ts=100)
    written(state, 3, 0, 0, 1, 2, ts=900)
    assert state.expire(500) == 1
    assert [entry.producer_id for entry in state] == [2, 3]


def test_truncation_forgets_what_was_cut_or_asks_for_a_replay():
    state = ProducerState()
    for number in range(5):
        written(state, 1, 0, number, 1, number)
    assert state.truncate(3)
    assert state.get(1).last_sequence == 2
    assert state.check(1, 0, 3, 1) is None
    assert not state.truncate(0)  # nothing is left to say what came before
