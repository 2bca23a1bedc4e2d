"""How far the replicas that move are copied, from what the log dirs tell; and throttles. Pure.

Bytes of files, which are told now and then: what is shown is as old as the last answer. Must never
call done what the controller has not called done.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.protocol.image import RESOURCE_BROKER, RESOURCE_TOPIC
from clusters.admin.throttles import EVERY, RATES, REPLICAS
from tui.drawing import age, size
from tui.sums import PartitionRow

Configs = Mapping[tuple[int, str], Mapping[str, str]]
# Answers come every ten seconds: the speed of about the last minute.
KEPT = 7


@dataclass(frozen=True, slots=True)
class Copied:
    """Bytes that are to be copied for a topic's moves, those that lack, and how fast they come.

    `per_second` is None before two answers, and below 0 while more is written than copied.
    """

    total: int
    left: int
    per_second: float | None = None

    @property
    def words(self) -> str:
        """`20.1 of 51.2 MiB copied, 40s to go`."""
        said = f"{size(self.total - self.left)} of {size(self.total)} copied"
        if not self.left or self.per_second is None:
            return said
        if self.per_second <= 0:
            return f"{said}, not getting closer"
        return f"{said}, {age(int(self.left / self.per_second * 1000))} to go"


class Copies:
    """`take` each answer of the log dirs with the partitions that move; `of` a topic."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[int, Copied]]] = {}

    def take(self, at_ms: int, dirs: Iterable[Any], rows: Iterable[PartitionRow]) -> None:
        """`at_ms` is of the monotonic clock; `rows` are those that move and no others."""
        moving = {row.key: row for row in rows if row.adding}
        if not moving:
            self._seen.clear()
            return
        sizes = {
            (each.broker, replica.topic, replica.partition): replica.size_bytes
            for each in dirs
            for replica in each.replicas
            if not replica.is_future and (replica.topic, replica.partition) in moving
        }
        told: dict[str, tuple[int, int]] = {}
        for key, row in moving.items():
            whole = sizes.get((row.leader, *key))
            if whole is None:
                continue
            total, left = told.get(row.topic, (0, 0))
            lacks = [
                max(0, whole - sizes.get((broker, *key), 0))
                for broker in row.adding
                if broker not in row.isr
            ]
            told[row.topic] = (total + whole * len(row.adding), left + sum(lacks))
        self._seen = {name: self._seen.get(name, deque(maxlen=KEPT)) for name in told}
        for name, (total, left) in told.items():
            self._seen[name].append((at_ms, Copied(total, left)))

    def of(self, topic: str) -> Copied | None:
        """How far the moves of a topic are; None where nobody told."""
        seen = self._seen.get(topic)
        if not seen:
            return None
        (first_ms, first), (last_ms, last) = seen[0], seen[-1]
        if last_ms <= first_ms:
            return last
        speed = (first.left - last.left) / (last_ms - first_ms) * 1000
        return Copied(last.total, last.left, speed)


class ThrottlesSeen:
    """Which topics and brokers have a throttle, by the settings of the metadata log."""

    def __init__(self) -> None:
        self._of: Configs | None = None
        self.topics: tuple[str, ...] = ()
        self.rates: dict[int, int] = {}

    def look(self, configs: Configs) -> None:
        """Take the settings; costs nothing when they are those of before."""
        if configs is self._of:
            return
        self._of = configs
        self.topics = tuple(
            sorted(
                name
                for (kind, name), of in configs.items()
                if kind == RESOURCE_TOPIC
                and any(of.get(each, "") not in ("", EVERY) for each in REPLICAS)
            )
        )
        self.rates = {
            int(name): int(rate)
            for (kind, name), of in configs.items()
            if kind == RESOURCE_BROKER and name.isdecimal()
            for rate in [next((of[each] for each in RATES if each in of), "")]
            if rate.isdecimal()
        }

    def rate_words(self, brokers: Iterable[int]) -> str:
        """`at most 1.0 MiB/s each` for brokers that copy; "" where nothing holds them back."""
        rates = {self.rates[each] for each in brokers if each in self.rates}
        if not rates:
            return ""
        least, most = min(rates), max(rates)
        return f"at most {size(least)}/s" + ("" if least == most else f" to {size(most)}/s")
