"""Readers of the small languages on the command line: durations, addresses, offsets, key=value.

Each raises UsageProblem with what was expected; none looks at a clock or a cluster.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shell.exits import UsageProblem

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# Offsets, and times in milliseconds, are such numbers on the wire.
INT64_MAX = 2**63 - 1
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
DEFAULT_KAFKA_PORT = 9092


def parse_duration_ms(text: str) -> int:
    """Return the milliseconds of "10s", "500ms", "1.5m", "2h", "7d"; a bare number is seconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageProblem(
            f"'{text}' is not a duration; write a number and a unit, as in 500ms, 10s, 5m, 2h."
        )
    return round(float(match[1]) * _UNITS_MS[match[2] or "s"])


def parse_bootstrap(text: str) -> list[str]:
    """Return the addresses of "HOST:PORT,HOST:PORT"; a missing port is 9092."""
    addresses = [_address(part.strip()) for part in text.split(",") if part.strip()]
    if not addresses:
        raise UsageProblem("--bootstrap needs at least one HOST:PORT.")
    return addresses


def _address(text: str) -> str:
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(DEFAULT_KAFKA_PORT)
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageProblem(f"'{text}' is not a HOST:PORT (a port is a number from 1 to 65535).")
    return f"{host}:{int(port)}"


def parse_pair(text: str, what: str = "KEY=VALUE") -> tuple[str, str]:
    """Return the two sides of "name=value"; the value may be empty and may hold more "="."""
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise UsageProblem(f"'{text}' is not a {what}.")
    return name.strip(), value


def parse_topic_partition(text: str) -> tuple[str, int | None]:
    """Return ("orders", 3) of "orders:3" and ("orders", None) of "orders"."""
    topic, separator, partition = text.rpartition(":")
    if not separator:
        return text, None
    if not topic or not partition.isdecimal():
        raise UsageProblem(f"'{text}' is not TOPIC or TOPIC:PARTITION (a partition is a number).")
    return topic, int(partition)


class Anchor(StrEnum):
    """What a position in a partition is measured from."""

    START = "start"
    END = "end"
    LAST = "last"
    OFFSET = "offset"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a partition; `value` is a count, an offset or milliseconds since 1970."""

    anchor: Anchor
    value: int = 0


def parse_position(text: str, now_ms: int) -> Position:
    """Return the position of start, end, -N, OFFSET or @TIME.

    @TIME is ISO 8601 (without a zone: local time), milliseconds since 1970, or a duration before
    now, as in @-10m.
    """
    if text in {"start", "end"}:
        return Position(Anchor(text))
    if text.startswith("@"):
        return Position(Anchor.TIME, _parse_time_ms(text[1:], now_ms))
    if text.startswith("-") and text[1:].isdecimal():
        return Position(Anchor.LAST, _whole(text[1:]))
    if text.isdecimal():
        return Position(Anchor.OFFSET, _whole(text))
    raise UsageProblem(
        f"'{text}' is not a position; write start, end, an offset such as 42, -5 for the last "
        "five, or a time such as @2026-01-31T12:00 or @-10m."
    )


def _parse_time_ms(text: str, now_ms: int) -> int:
    if text.startswith("-") and _DURATION.fullmatch(text[1:]):
        return max(0, now_ms - parse_duration_ms(text[1:]))
    # Eight digits are a day, as in 20260131.
    if text.isdecimal() and len(text) != 8:
        return _whole(text)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.astimezone()
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UsageProblem(
            f"'@{text}' is not a time; write @2026-01-31T12:00:00 (with Z or +02:00 for a zone), "
            "@-10m for ten minutes ago, or @ and milliseconds since 1970."
        ) from None


def _whole(text: str) -> int:
    """A number that fits where brokers keep offsets and times; raises UsageProblem."""
    # Python refuses to read thousands of digits.
    value = int(text) if len(text) <= len(str(INT64_MAX)) else INT64_MAX + 1
    if value > INT64_MAX:
        raise UsageProblem(f"'{text}' is too large: offsets and times go up to {INT64_MAX}.")
    return value


def format_time(at_ms: int) -> str:
    """Return ISO 8601 in UTC with milliseconds: "2026-01-31T12:00:00.000Z".

    A time that no calendar has (a client that counts microseconds, say) stays the number it is,
    which `parse_position` and `produce` take as well.
    """
    from datetime import UTC

    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    except OverflowError:
        return str(at_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def format_bytes(size_bytes: int) -> str:
    """Return a size for reading: "512 B", "1.5 KiB", "3.0 GiB"."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size_bytes} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 partition, 3 partitions."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_duration(duration_ms: int) -> str:
    """Return a duration for reading: "850 ms", "12 s", "3 m 20 s", "5 h 2 m"."""
    if duration_ms < 1_000:
        return f"{duration_ms} ms"
    seconds = duration_ms // 1_000
    for size, big, small in ((86_400, "d", "h"), (3_600, "h", "m"), (60, "m", "s")):
        if seconds >= size:
            rest = seconds % size // (size // 24 if big == "d" else size // 60)
            return f"{seconds // size} {big} {rest} {small}"
    return f"{seconds} s"
