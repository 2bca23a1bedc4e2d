"""Transactions that stay open in a topic: who reads only what is committed waits before them.

Pure. An open transaction is no trouble in itself, producers have them all the time; one that stays
open is: its producer hangs, or died and its time limit is long (KIP-664).
"""

from collections.abc import Sequence

from clusters.admin import ActiveProducer
from clusters.polls import Answer
from tui.drawing import age

LONG_MS = 60_000
Transaction = tuple[int, int, int | None]


class OpenTransactions:
    """Remembers since when each transaction is seen to be open."""

    def __init__(self) -> None:
        self._since_ms: dict[Transaction, int] = {}

    def held_up(self, answer: Answer, now_ms: int) -> str:
        """In words what is held up, by the transaction that is open longest; "" if none is long.

        `now_ms` is the wall's clock, as in the records' timestamps that producers are told with.
        """
        producers: Sequence[ActiveProducer] = answer.value or ()
        open_now = {_key(each): min(each.last_timestamp_ms, now_ms) for each in producers}
        # Its last write is as old as it is at least; one that goes on writing is watched.
        self._since_ms = {
            key: min(self._since_ms.get(key, now_ms), last_ms if last_ms > 0 else now_ms)
            for key, last_ms in open_now.items()
        }
        long = sorted(
            (since_ms, key)
            for key, since_ms in self._since_ms.items()
            if now_ms - since_ms >= LONG_MS
        )
        if not long:
            return ""
        since_ms, (partition, _, offset) = long[0]
        more = f" (and {len(long) - 1} more)" if len(long) > 1 else ""
        how_long = age(now_ms - since_ms)
        return f"transaction open {how_long}{more}: committed reads stop at {partition}:{offset}"


def _key(producer: ActiveProducer) -> Transaction:
    return producer.partition, producer.producer_id, producer.txn_start_offset
