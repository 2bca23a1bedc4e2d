"""Ten thousand end offsets are counted in short turns, and come to what one turn comes to."""

import pytest

from clusters.polls import Answer
from clusters.watch import FeedStatus
from tui.store import ENDS, Store

PARTITIONS = 10_000
# Some ten microseconds each: no turn may take on more than this many.
NUMBERS_MAX = 500


def store() -> Store:
    return Store(FeedStatus(mode="live", source="", message="", last_contact_ms=0))


@pytest.mark.parametrize("topics", [1, 100, PARTITIONS])
def test_end_offsets_are_counted_in_short_turns(topics: int) -> None:
    sliced, whole = store(), store()
    for second in range(3):
        ends = {
            (f"t{number % topics}", number // topics): second * number
            for number in range(PARTITIONS)
        }
        answer = Answer(ends, 1_000 * second + 1)
        turns = sum(1 for _ in sliced.taking(ENDS, answer))
        whole.take(ENDS, answer)
        assert turns >= PARTITIONS // NUMBERS_MAX
    assert {name: series.levels for name, series in sliced.ends.items()} == {
        name: series.levels for name, series in whole.ends.items()
    }
    assert sliced.ends[""].last == 2 * sum(range(PARTITIONS))
