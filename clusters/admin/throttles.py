"""Limits on how fast replicas that move are copied, and what is left of them afterwards (KIP-73).

Two kinds of settings that mean nothing without each other: a rate on each broker, and on topics
which replicas it holds for. Brokers never remove them; whoever sets them has to. Must never take
away what still holds for a move under way, unless that was asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from broker.protocol.lazy_dataclass import dataclass
from clusters.admin.errors import AdminError

if TYPE_CHECKING:
    from clusters.admin.client import AdminClient

LEADER_RATE = "leader.replication.throttled.rate"
FOLLOWER_RATE = "follower.replication.throttled.rate"
LEADER_REPLICAS = "leader.replication.throttled.replicas"
FOLLOWER_REPLICAS = "follower.replication.throttled.replicas"
RATES = (LEADER_RATE, FOLLOWER_RATE)
REPLICAS = (LEADER_REPLICAS, FOLLOWER_REPLICAS)
EVERY = "*"
SEEN_S, SEEN_PAUSE_S = 3.0, 0.05

Partition = tuple[str, int]
# (partition, broker), as the settings of a topic list them.
Pairs = frozenset[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Copying:
    """A partition's replicas that copies are read from, and those that are made."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]

    @property
    def brokers(self) -> tuple[int, ...]:
        """All that take part."""
        return self.sources + self.targets


@dataclass(frozen=True, slots=True)
class Throttles:
    """What is set: rates in bytes per second by broker, replicas as text by topic.

    `unknown` are brokers that are not up: only they themselves would tell.
    """

    rates: Mapping[int, Mapping[str, str]]
    replicas: Mapping[str, Mapping[str, str]]
    unknown: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rates or self.replicas)


def copying(before: Sequence[int], after: Sequence[int]) -> Copying | None:
    """What is copied when replicas move; None when nothing is."""
    added = tuple(each for each in after if each not in before)
    return Copying(tuple(before), added) if added else None


def pairs_of(text: str) -> Pairs | None:
    """The pairs of `0:1,0:3`; None for what is no such list, as `*` is not."""
    found = set()
    for part in filter(None, (each.strip() for each in text.split(","))):
        partition, _, broker = part.partition(":")
        if not (partition.isdecimal() and broker.isdecimal()):
            return None
        found.add((int(partition), int(broker)))
    return frozenset(found)


def text_of(pairs: Iterable[tuple[int, int]]) -> str:
    """The text of pairs, sorted."""
    return ",".join(f"{partition}:{broker}" for partition, broker in sorted(pairs))


def with_copies(
    copies: Mapping[Partition, Copying], known: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Settings by topic that hold these copies back, too; what is listed already stays."""
    wanted: dict[str, dict[str, set[tuple[int, int]]]] = {}
    for (topic, partition), each in copies.items():
        of = wanted.setdefault(topic, {name: set() for name in REPLICAS})
        of[LEADER_REPLICAS].update((partition, broker) for broker in each.sources)
        of[FOLLOWER_REPLICAS].update((partition, broker) for broker in each.targets)
    changes: dict[str, dict[str, str]] = {}
    for topic, of in wanted.items():
        for name, pairs in of.items():
            text = known.get(topic, {}).get(name, "")
            listed = pairs_of(text)
            # `*` holds all of them back as it is.
            if listed is not None and not pairs <= listed:
                changes.setdefault(topic, {})[name] = text_of(pairs | listed)
    return changes


def without_moved(
    known: Mapping[str, Mapping[str, str]], moving: Collection[Partition]
) -> dict[str, dict[str, str | None]]:
    """Settings by topic once what does not move is no longer listed; None: nothing is left of it.

    `*` was written by somebody for all time and stays.
    """
    changes: dict[str, dict[str, str | None]] = {}
    for topic, of in known.items():
        for name, text in of.items():
            listed = pairs_of(text)
            if listed is None:
                continue
            kept = [pair for pair in listed if (topic, pair[0]) in moving]
            if len(kept) < len(listed):
                changes.setdefault(topic, {})[name] = text_of(kept) or None
    return changes


async def throttles(admin: AdminClient, topics: Collection[str] | None = None) -> Throttles:
    """What is set on brokers that are up, and on these topics (all, unless named)."""
    if topics is None:
        topics = [each.topic for each in await admin.topics()]
    rates: dict[int, dict[str, str]] = {}
    away = []
    for broker in await admin.brokers():
        if broker.state != "up":
            away.append(broker.id)
            continue
        found = {
            each.name: each.value
            for each in await admin.configs("broker", str(broker.id))
            if each.name in RATES and each.source == "dynamic broker" and each.value
        }
        if found:
            rates[broker.id] = found
    told = await admin.topic_settings(topics, REPLICAS)
    replicas = {
        topic: {name: text for name, text in sorted(of.items()) if text}
        for topic, of in sorted(told.items())
    }
    return Throttles(rates, {topic: of for topic, of in replicas.items() if of}, tuple(away))


async def check_rate(admin: AdminClient, brokers: Iterable[int], rate_bytes: int) -> None:
    """Ask brokers whether they would take a rate. Raises AdminError with what they say."""
    for broker in sorted(set(brokers)):
        await _set_rate(admin, broker, rate_bytes, validate_only=True)


async def hold_back(
    admin: AdminClient, copies: Mapping[Partition, Copying], rate_bytes: int
) -> None:
    """Let each broker send and take at most so many bytes per second for these copies.

    Raises AdminError; what was set until then is taken back.
    """
    brokers = sorted({broker for each in copies.values() for broker in each.brokers})
    await check_rate(admin, brokers, rate_bytes)
    known = await throttles(admin, {topic for topic, _ in copies})
    try:
        for broker in brokers:
            await _set_rate(admin, broker, rate_bytes)
        for topic, of in with_copies(copies, known.replicas).items():
            await admin.alter_configs("topic", topic, of)
    except AdminError:
        await restore(admin, known, brokers, {topic for topic, _ in copies})
        raise


async def restore(
    admin: AdminClient, known: Throttles, brokers: Iterable[int], topics: Iterable[str]
) -> None:
    """Set what was set before."""
    for broker in brokers:
        if broker not in known.unknown:
            of = known.rates.get(broker, {})
            await admin.alter_configs(
                "broker", str(broker), of, [name for name in RATES if name not in of]
            )
    for topic in topics:
        of = known.replicas.get(topic, {})
        await admin.alter_configs("topic", topic, of, [each for each in REPLICAS if each not in of])


async def _set_rate(
    admin: AdminClient, broker: int, rate_bytes: int, *, validate_only: bool = False
) -> None:
    rates = {name: str(rate_bytes) for name in RATES}
    await admin.alter_configs("broker", str(broker), rates, validate_only=validate_only)


async def let_go(
    admin: AdminClient, topics: Collection[str], brokers: Collection[int]
) -> tuple[Throttles, Collection[Partition]]:
    """Remove what no longer holds anything back: of topics what does not move, rates once nothing
    moves at all. Gives what is left of it, and what moves.
    """
    moving = {(each.topic, each.partition) for each in await admin.reassignments()}
    known = await throttles(admin, topics)
    for topic, of in without_moved(known.replicas, moving).items():
        kept = {name: text for name, text in of.items() if text is not None}
        await admin.alter_configs(
            "topic", topic, kept, [name for name, text in of.items() if text is None]
        )
    if not moving:
        for broker in sorted(set(brokers) & {*known.rates, *known.unknown}):
            await admin.alter_configs("broker", str(broker), None, RATES)
    deadline = time.monotonic() + SEEN_S
    while True:
        left = await throttles(admin, topics)
        mine = {broker: of for broker, of in left.rates.items() if broker in brokers}
        # Removed means committed; a broker shows it some milliseconds later.
        lists = {
            topic: of
            for topic, of in left.replicas.items()
            if any(pairs_of(text) is not None for text in of.values())
        }
        if moving or not (mine or lists) or time.monotonic() > deadline:
            return Throttles(mine, lists), moving
        await asyncio.sleep(SEEN_PAUSE_S)


async def remove_all(admin: AdminClient, found: Throttles) -> None:
    """Remove what was found, whatever it holds back, and all of brokers that could not tell."""
    for topic, of in found.replicas.items():
        await admin.alter_configs("topic", topic, None, list(of))
    for broker in sorted({*found.rates, *found.unknown}):
        await admin.alter_configs("broker", str(broker), None, RATES)
