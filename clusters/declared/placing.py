"""Chooses brokers for replicas: keeps what fits the rules, adds the least loaded. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from clusters.declared.model import Placement


class NotEnoughBrokers(ValueError):
    """Fewer brokers fit the rules than replicas are wanted."""


@dataclass(slots=True)
class Placer:
    """Chooses for one partition after the other; `racks` has the brokers that are up.

    Loads count what is there and what was chosen, so that new replicas spread out.
    """

    racks: Mapping[int, str | None]
    replicas: Counter[int] = field(default_factory=Counter)
    leaders: Counter[int] = field(default_factory=Counter)

    def count(self, assignment: Iterable[Sequence[int]]) -> None:
        """Take note of partitions that exist."""
        for replicas in assignment:
            self.replicas.update(replicas)
            self.leaders.update(replicas[:1])

    def rack(self, broker: int) -> str:
        """A broker's rack; one without a rack is a rack of its own."""
        return self.racks.get(broker) or f"broker {broker}"

    def eligible(self, placement: Placement) -> list[int]:
        """Brokers that may take a new replica."""
        allowed = placement.brokers
        return [broker for broker in sorted(self.racks) if allowed is None or broker in allowed]

    def conforms(self, replicas: Sequence[int], count: int | None, placement: Placement) -> bool:
        """Whether a partition can stay where it is."""
        if count is not None and len(replicas) != count:
            return False
        if placement.brokers is not None and not placement.brokers.issuperset(replicas):
            return False
        if not placement.spread_racks:
            return True
        return len({self.rack(broker) for broker in replicas}) >= self._racks_wanted(
            replicas, len(replicas), placement
        )

    def _racks_wanted(self, current: Sequence[int], count: int, placement: Placement) -> int:
        allowed = placement.brokers
        kept = [broker for broker in current if allowed is None or broker in allowed]
        racks = {self.rack(broker) for broker in [*self.eligible(placement), *kept]}
        return min(count, len(racks))

    def choose(self, current: Sequence[int], count: int, placement: Placement) -> tuple[int, ...]:
        """Replicas for a partition that has `current` (none for a new one).

        Raises NotEnoughBrokers.
        """
        allowed = placement.brokers
        kept = [broker for broker in current if allowed is None or broker in allowed]
        others = sorted(
            (broker for broker in self.eligible(placement) if broker not in kept),
            key=lambda broker: (self.replicas[broker], self.leaders[broker], broker),
        )
        if len(kept) + len(others) < count:
            raise NotEnoughBrokers(
                f"{count} replicas need {count} brokers, and {len(kept) + len(others)} fit"
            )
        wanted = self._racks_wanted(current, count, placement) if placement.spread_racks else 0
        chosen: list[int] = []
        if placement.spread_racks:
            self._take(chosen, kept, count, wanted)
            self._take(chosen, others, count, wanted)
        self._take(chosen, kept, count, 0)
        self._take(chosen, others, count, 0)
        order = [broker for broker in current if broker in chosen]
        order += [broker for broker in chosen if broker not in order]
        if not current:
            # A new partition: the broker that leads the fewest comes first.
            order.sort(key=lambda broker: (self.leaders[broker], broker))
        self.count([order])
        return tuple(order)

    def _take(
        self, chosen: list[int], candidates: Sequence[int], count: int, distinct: int
    ) -> None:
        """Add candidates up to `count`; with `distinct`, one of each new rack, that many racks."""
        for broker in candidates:
            racks = {self.rack(each) for each in chosen}
            if len(chosen) >= count or broker in chosen:
                continue
            if distinct and (self.rack(broker) in racks or len(racks) >= distinct):
                continue
            chosen.append(broker)
