"""Which partitions of which topics are read: `orders`, `orders:3`, `orders:0,4-7`, `orders-*`.

Pure: takes words and names, returns data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from shell.exits import UsageProblem
from shell.nearest import did_you_mean

# No cluster holds more partitions than this.
PARTITION_MAX = 10_000_000


@dataclass(frozen=True, slots=True)
class Source:
    """A topic, and the partitions of it that are read; None means all, also those added later."""

    topic: str
    partitions: tuple[int, ...] | None = None


def parse_source(text: str) -> Source:
    """Return the source of TOPIC, TOPIC:3, TOPIC:0,3 or TOPIC:0-5; raises UsageProblem."""
    topic, separator, listed = text.rpartition(":")
    if not separator:
        return Source(text)
    partitions: list[int] = []
    for part in listed.split(","):
        first, dash, last = part.partition("-")
        if not topic or not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageProblem(
                f"'{text}' is not TOPIC or TOPIC:PARTITIONS; partitions are numbers, as in "
                "orders:3 or orders:0,4-7."
            )
        low, high = int(first), int(last if dash else first)
        if high > PARTITION_MAX:
            raise UsageProblem(f"'{text}' names a partition that no topic can have.")
        partitions += range(low, high + 1)
    if not partitions:
        raise UsageProblem(f"'{text}' names no partition: a range goes from low to high.")
    return Source(topic, tuple(dict.fromkeys(partitions)))


def parse_places(texts: Iterable[str]) -> list[tuple[str, int | None]]:
    """Return (topic, partition) for each that words name; partition None is the whole topic.

    Raises UsageProblem.
    """
    found: list[tuple[str, int | None]] = []
    for source in map(parse_source, texts):
        if source.partitions is None:
            found.append((source.topic, None))
        else:
            found += [(source.topic, index) for index in source.partitions]
    return found


def is_pattern(topic: str) -> bool:
    """Return whether a topic is a pattern: topics' names never hold these characters."""
    return any(mark in topic for mark in "*?[")


def chosen_sources(texts: Sequence[str], topics: Iterable[str]) -> list[Source]:
    """Return the sources that words name, patterns replaced by the topics they match.

    Partitions of a topic that is named twice are joined. Raises UsageProblem for a pattern that
    matches nothing.
    """
    known = sorted(topics)
    found: dict[str, tuple[int, ...] | None] = {}
    for source in map(parse_source, texts):
        names = [source.topic]
        if is_pattern(source.topic):
            names = [name for name in known if fnmatchcase(name, source.topic)]
            if not names:
                near = did_you_mean(source.topic.strip("*?"), known)
                raise UsageProblem(f"No topic matches '{source.topic}'.{near}")
        for name in names:
            before = found.get(name, ())
            joined = None if source.partitions is None or before is None else before
            if joined is not None and source.partitions is not None:
                joined = tuple(dict.fromkeys((*joined, *source.partitions)))
            found[name] = joined
    return [Source(name, partitions) for name, partitions in found.items()]
