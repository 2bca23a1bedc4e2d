"""What becomes of records that were shown before their transaction was decided, in words.

A reader that does not wait for transactions (read_uncommitted) shows records as they come: open, or
held behind an open one. Pure: takes what was shown and the markers that follow (KIP-98), returns
lines for a person. Must never name a transaction of which nothing was shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiokafka import TopicPartition

from shell.records import ReadRecord
from shell.transactions import ABORT, OPEN, UNKNOWN, Marker

# What is named each time: some producers commit ten times a second, and there may be many.
_PRODUCERS_NAMED = 5
_SPANS_NAMED = 5

# A producer's transactions in one partition that ended alike, and whether they are held all the
# same, for another producer's.
_Alike = tuple[TopicPartition, int, str, bool]


@dataclass(slots=True)
class _Shown:
    """Records that were shown: the first offset, the last, and how many."""

    first: int
    last: int
    records: int = 1

    def take(self, offset: int) -> None:
        self.last = offset
        self.records += 1

    def __str__(self) -> str:
        if self.records == 1:
            return str(self.first)
        if self.records == self.last - self.first + 1:
            return f"{self.first}-{self.last}"
        return f"{self.first}-{self.last} ({self.records} records)"


class Undecided:
    """Remembers what was shown as undecided; small, however much that was."""

    def __init__(self) -> None:
        self._open: dict[tuple[TopicPartition, int], _Shown] = {}
        self._held: dict[TopicPartition, _Shown] = {}
        self._ends: dict[_Alike, list[_Shown]] = {}

    def shown(self, home: TopicPartition, record: ReadRecord) -> None:
        """Take note of a record that a person was shown."""
        transaction = record.transaction
        if transaction is not None and transaction.state in {OPEN, UNKNOWN}:
            known = self._open.get((home, transaction.producer_id))
            if known is None:
                self._open[home, transaction.producer_id] = _Shown(record.offset, record.offset)
            else:
                known.take(record.offset)
        elif not record.stable:
            self._hold(home, _Shown(record.offset, record.offset))

    def ended(self, home: TopicPartition, marker: Marker, stable_end: int | None) -> None:
        """Take note of a marker; `stable_end` is the last stable offset, None if not known."""
        shown = self._open.pop((home, marker.producer_id), None)
        if shown is None:
            return
        committed = marker.control != ABORT
        held = committed and stable_end is not None and shown.last >= stable_end
        self._ends.setdefault((home, marker.producer_id, marker.control, held), []).append(shown)
        if held:
            self._hold(home, shown)

    def lines(self, stable_ends: dict[TopicPartition, int]) -> list[str]:
        """What is to be said since it was asked last: what ended, and what is held no more."""
        # What is aborted first: a person took it for data.
        ends = sorted(self._ends.items(), key=lambda end: end[0][2] != ABORT)
        self._ends = {}
        lines = [_end(alike, shown) for alike, shown in ends[:_PRODUCERS_NAMED]]
        if more := ends[_PRODUCERS_NAMED:]:
            count = sum(len(shown) for _, shown in more)
            aborted = sum(len(shown) for alike, shown in more if alike[2] == ABORT)
            lines.append(
                f"{count} more transactions ended: {count - aborted} committed, "
                f"{aborted} aborted (--control-records shows each)."
            )
        free = [line for home, end in stable_ends.items() if (line := self._free(home, end))]
        return lines + free

    def _hold(self, home: TopicPartition, shown: _Shown) -> None:
        known = self._held.get(home)
        if known is None:
            self._held[home] = _Shown(shown.first, shown.last, shown.records)
        else:
            known.first = min(known.first, shown.first)
            known.last = max(known.last, shown.last)
            known.records += shown.records

    def _free(self, home: TopicPartition, stable_end: int) -> str | None:
        known = self._held.get(home)
        if known is None or known.first >= stable_end:
            return None
        if known.last < stable_end:
            del self._held[home]
            upto = known.last
        else:
            known.first, upto = stable_end, stable_end - 1
        return f"{_name(home)} is decided up to offset {upto}: nothing is held there any more."


def _name(home: TopicPartition) -> str:
    return f"{home.topic}-{home.partition}"


def _end(alike: _Alike, shown: list[_Shown]) -> str:
    home, producer_id, control, held = alike
    spans = ", ".join(str(each) for each in shown[:_SPANS_NAMED])
    if more := shown[_SPANS_NAMED:]:
        spans += f" and {sum(each.records for each in more)} more up to {shown[-1].last}"
    offsets = "offset" if len(shown) == 1 and shown[0].records == 1 else "offsets"
    return (
        f"{_counted(len(shown))} of producer {producer_id} "
        f"{'aborted' if control == ABORT else 'committed'}: {offsets} {spans} of {_name(home)}"
        f"{', held behind one that is still open' if held else ''}."
    )


def _counted(count: int) -> str:
    return "Transaction" if count == 1 else f"{count} transactions"
