"""Which brokers hold the replicas of new partitions: over racks first, evenly, leaders too.

Pure: the random start comes from the caller. It must never look at the load of brokers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class Candidate:
    """A broker that may hold replicas; one that is not active is used only when it must be."""

    id: int
    rack: str | None = None
    active: bool = True


class NotEnoughBrokers(Exception):
    """The replication factor cannot be met; the text says why."""


def place(
    candidates: Iterable[Candidate], partitions: int, replication_factor: int, rng: Random
) -> list[tuple[int, ...]]:
    """The replicas of ``partitions`` new partitions, preferred leader first.

    Leaders go round the active brokers from a random start; the followers of consecutive rounds
    are shifted, so that the load of a broker that dies spreads over all others. A rack gets a
    second replica only when every rack has one. Raises NotEnoughBrokers.
    """
    ordered = sorted(candidates, key=lambda c: c.id)
    active = _interleave([c for c in ordered if c.active])
    spare = _interleave([c for c in ordered if not c.active])
    if not active:
        raise NotEnoughBrokers("All brokers are currently fenced or shutting down.")
    if replication_factor > len(ordered):
        raise NotEnoughBrokers(
            f"The target replication factor of {replication_factor} cannot be reached because "
            f"only {len(ordered)} broker(s) are registered."
        )
    start = rng.randrange(len(active))
    shift = rng.randrange(max(len(active) - 1, 1))
    return [
        _replicas(active, spare, replication_factor, start + p, shift + p // len(active))
        for p in range(partitions)
    ]


def _replicas(
    active: Sequence[Candidate], spare: Sequence[Candidate], count: int, first: int, shift: int
) -> tuple[int, ...]:
    size = len(active)
    leader = active[first % size]
    others = [active[(first + 1 + i) % size] for i in range(size - 1)]
    if others:
        turn = shift % len(others)
        others = others[turn:] + others[:turn]
    chosen = [leader]
    for pool in (others, [spare[(first + i) % len(spare)] for i in range(len(spare))]):
        while pool and len(chosen) < count:
            used = [c.rack for c in chosen]
            # min() takes the first of equals, so the rotation decides within a rack.
            best = min(pool, key=lambda c: used.count(c.rack) if c.rack is not None else 0)
            pool.remove(best)
            chosen.append(best)
    return tuple(c.id for c in chosen)


def _interleave(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Order so that neighbours stand in different racks as far as possible."""
    racks: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        racks.setdefault(candidate.rack or "", []).append(candidate)
    queues = [racks[name] for name in sorted(racks)]
    longest = max((len(q) for q in queues), default=0)
    return [q[i] for i in range(longest) for q in queues if i < len(q)]
