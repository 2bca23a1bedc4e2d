"""What the torture tool would say of a cluster that lost something: no broker is started here."""

from typing import Any

import pytest

from broker.groups import CommittedOffset, OffsetRecord, encode_record
from broker.protocol.batch import Record, encode_batch
from tests.interop.committing import GroupLedger
from tests.interop.torture import OFFSETS_PARTITIONS, TOPIC, check_commits, copies_agree

GROUP = "readers"


class Files:
    """Stands for a cluster whose group committed these offsets of one partition, in this order."""

    def __init__(self, *offsets: int) -> None:
        self.ports = {1: 1, 2: 2}
        keyed = [
            encode_record(OffsetRecord(GROUP, TOPIC, 0, CommittedOffset(each))) for each in offsets
        ]
        records = [Record(n, 0, key, value, ()) for n, (key, value) in enumerate(keyed)]
        self.data = {node: [b""] * OFFSETS_PARTITIONS for node in self.ports}
        for copies in self.data.values():
            copies[1] = encode_batch(records)

    def log_bytes(self, node: int, topic: str, index: int) -> bytes:
        return self.data[node][index]


def ledger(*, seen: int, committed: int) -> GroupLedger:
    found = GroupLedger(GROUP, TOPIC)
    found.seen[0] = set(range(seen))
    found.acknowledge({0: committed})
    return found


def check(files: Any, group: GroupLedger) -> None:
    check_commits(files, group, {0: 5})


def test_commits_that_only_grow_to_the_end_are_fine() -> None:
    check(Files(0, 3, 3, 5), ledger(seen=5, committed=5))


@pytest.mark.parametrize(
    ("offsets", "seen", "committed", "words"),
    [
        ((0, 4, 3, 5), 5, 5, "went back 1 times"),
        ((0, 3), 5, 5, "3 is stored, 5 was acknowledged"),
        ((0, 3), 5, 3, "3 is not the end"),
        ((0, 5), 4, 5, "nobody saw 1"),
    ],
)
def test_what_is_lost_is_said(
    offsets: tuple[int, ...], seen: int, committed: int, words: str
) -> None:
    with pytest.raises(AssertionError, match=words):
        check(Files(*offsets), ledger(seen=seen, committed=committed))


def test_copies_that_differ_are_noticed() -> None:
    files: Any = Files(1)
    assert copies_agree(files, 1)
    files.data[2][1] = b""
    assert not copies_agree(files, 1)
