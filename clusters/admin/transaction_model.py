"""Transactions as their coordinators know them: frozen data with `to_json()`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from broker.protocol.lazy_dataclass import dataclass

# Begun and not ended in every partition (KIP-98, KIP-588): readers of read_committed wait for them.
OPEN_STATES = ("Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence")
STATES = (*OPEN_STATES, "Empty", "CompleteCommit", "CompleteAbort", "Dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionInfo:
    """What the coordinator of a transactional id tells (KIP-664). Times are ms since 1970.

    `timeout_ms` is how long a transaction may stay open before the coordinator aborts it. That and
    `started_ms` are None where the coordinator did not tell, `started_ms` also while none is open;
    `partitions` are those written to in the one that is open.
    """

    transactional_id: str
    state: str
    producer_id: int
    producer_epoch: int | None
    coordinator: int
    timeout_ms: int | None
    started_ms: int | None
    partitions: tuple[tuple[str, int], ...]

    @property
    def is_open(self) -> bool:
        """Whether a transaction has begun that is not ended in every partition."""
        return self.state in OPEN_STATES

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        places = [{"topic": topic, "partition": number} for topic, number in self.partitions]
        return asdict(self) | {"partitions": places}
