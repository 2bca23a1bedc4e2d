"""Leader epochs: who wrote which offset, and where logs part (KIP-101, KIP-279, KAFKA-10706)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.storage.epochs import EpochCache


def cache(*entries):
    found = EpochCache()
    for epoch, offset in entries:
        found.assign(epoch, offset)
    return found


def test_end_offsets_of_epochs():
    epochs = cache((2, 10), (4, 20), (7, 30))
    assert epochs.end_offset_for(7, 44) == (7, 44)
    assert epochs.end_offset_for(4, 44) == (4, 30)
    assert epochs.end_offset_for(5, 44) == (4, 30)
    assert epochs.end_offset_for(6, 44) == (4, 30)
    assert epochs.end_offset_for(2, 44) == (2, 20)
    assert epochs.end_offset_for(8, 44) == (-1, -1)
    assert epochs.end_offset_for(-1, 44) == (-1, -1)
    # Older than everything: the epoch itself and where the known history begins.
    assert epochs.end_offset_for(1, 44) == (1, 10)
    assert cache().end_offset_for(0, 44) == (-1, -1)


def test_an_epoch_that_wrote_nothing_is_replaced_by_the_next():
    epochs = cache((1, 0), (2, 10), (3, 10))
    assert epochs.entries == ((1, 0), (3, 10))
    assert not epochs.assign(3, 20)
    assert not epochs.assign(2, 20)


def test_truncation_at_the_end_removes_an_epoch_without_records():
    epochs = cache((1, 0), (2, 10))
    assert epochs.truncate_from_end(10)
    assert epochs.entries == ((1, 0),)
    assert epochs.latest == 1
    assert not epochs.truncate_from_end(5)
    assert epochs.truncate_from_end(0)
    assert epochs.latest == -1


def test_truncation_at_the_start_keeps_the_epoch_that_covers_it():
    epochs = cache((1, 0), (2, 10), (3, 20))
    assert epochs.truncate_from_start(15)
    assert epochs.entries == ((2, 15), (3, 20))
    assert epochs.truncate_from_start(20)
    assert epochs.entries == ((3, 20),)
    assert not epochs.truncate_from_start(20)
    assert epochs.truncate_from_start(99)
    assert epochs.entries == ((3, 99),)


def test_epoch_at():
    epochs = cache((2, 10), (4, 20))
    assert [epochs.epoch_at(o) for o in (9, 10, 19, 20, 99)] == [-1, 2, 2, 4, 4]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("assign"), st.integers(0, 12)),
            st.tuples(st.just("append"), st.integers(1, 9)),
            st.tuples(st.just("cut"), st.integers(0, 60)),
            st.tuples(st.just("start"), st.integers(0, 60)),
        ),
        max_size=40,
    )
)
def test_against_a_list_of_the_epoch_of_each_offset(steps):
    """The dumb second implementation remembers the epoch of every single offset."""
    epochs, written, start, epoch = EpochCache(), [], 0, -1
    for kind, number in steps:
        end = len(written)
        if kind == "assign" and number > epochs.latest:
            epoch = number
            epochs.assign(number, end)
        elif kind == "append" and epoch >= 0 and epochs.latest == epoch:
            written += [epoch] * number
        elif kind == "cut" and number >= start:
            del written[number:]
            epochs.truncate_from_end(min(number, len(written)))
            epoch = epochs.latest
        elif kind == "start" and start <= number <= end:
            start = number
            epochs.truncate_from_start(start)
    for offset in range(start, len(written)):
        assert epochs.epoch_at(offset) == written[offset]
    starts = [s for _, s in epochs.entries]
    assert starts == sorted(set(starts))
    for asked in range(epochs.latest):
        found, end = epochs.end_offset_for(asked, len(written))
        assert found <= asked
        assert all(e > asked for e in written[max(end, start) :])


@pytest.mark.parametrize("rounds", [50])
def test_elections_without_writes_do_not_grow_the_history(rounds):
    epochs = cache((0, 0))
    for epoch in range(1, rounds):
        epochs.assign(epoch, 100)
    assert epochs.entries == ((0, 0), (rounds - 1, 100))
