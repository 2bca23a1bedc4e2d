"""Whether a broker can still write: its log dirs as it tells of them, and what is wrong in words.

A broker whose disk is full lives, answers and may lead partitions that nobody can write to; only
its log dirs tell (KIP-113; KIP-827 for the bytes). Pure.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from clusters.units import size_text

if TYPE_CHECKING:
    from clusters.admin import LogDir

# With less than both, a broker stops taking records, whether it said so yet or not.
FULL_BYTES, FULL_SHARE = 16 << 20, 0.01
# It begins again only with more room: an offline dir with less than one of these is just full.
SHORT_BYTES, SHORT_SHARE = 64 << 20, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDirStatus:
    """A log dir; byte counts are of its volume, None where the broker does not tell them.

    `trouble` says what is wrong, None when nothing is.
    """

    path: str
    error: str | None
    total_bytes: int | None
    usable_bytes: int | None
    trouble: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


def status_of(log_dir: LogDir) -> LogDirStatus:
    """What a broker told about one log dir, with what is wrong."""
    return LogDirStatus(
        path=log_dir.path,
        error=log_dir.error,
        total_bytes=log_dir.total_bytes,
        usable_bytes=log_dir.usable_bytes,
        trouble=trouble_of(log_dir),
    )


def trouble_of(log_dir: LogDir) -> str | None:
    """Why a log dir cannot be written, with the dir; None when it can."""
    total, usable = log_dir.total_bytes, log_dir.usable_bytes
    full = short = False
    if total and usable is not None:
        full = usable < min(FULL_BYTES, total * FULL_SHARE)
        short = usable < SHORT_BYTES or usable < total * SHORT_SHARE
    if log_dir.error is None and not full:
        return None
    if full or short:
        room = f"{size_text(usable or 0)} of {size_text(total or 0)} free"
        return f"the disk of its log dir {log_dir.path} is full ({room})"
    return f"its log dir {log_dir.path} is offline: {log_dir.error}"
