"""When the active segment ends and a new one begins. Pure; it must never touch a file."""

from zlib import crc32

from broker.storage.index import TIME_ENTRY_BYTES
from broker.storage.log_config import LogConfig
from broker.storage.segment import RELATIVE_OFFSET_MAX, Segment


def roll_needed(
    segment: Segment, config: LogConfig, size: int, last_offset: int, timestamp_ms: int
) -> bool:
    """Whether a batch of ``size`` bytes that ends with ``last_offset`` needs a new segment."""
    if segment.size + size > config.segment_bytes or segment.index_full:
        return True
    if last_offset - segment.base_offset > RELATIVE_OFFSET_MAX:
        return True
    first_ms = segment.first_timestamp_ms
    return first_ms >= 0 and timestamp_ms - first_ms > config.roll_ms - segment.jitter_ms


def is_overdue(segment: Segment, config: LogConfig, now_ms: int) -> bool:
    """Whether the first record is segment.ms old."""
    first_ms = segment.load_first_timestamp()
    return first_ms >= 0 and now_ms - first_ms > config.roll_ms - segment.jitter_ms


def set_limits(segment: Segment, config: LogConfig, name: str) -> None:
    """What ends the active segment besides its size: a full index, a share of segment.jitter.ms."""
    segment.index_entries_max = max(1, config.segment_index_bytes // TIME_ENTRY_BYTES)
    segment.index_full = len(segment.index) >= segment.index_entries_max
    if config.segment_jitter_ms:
        spread = min(config.segment_jitter_ms, config.roll_ms)
        segment.jitter_ms = crc32(f"{name}:{segment.base_offset}".encode()) % spread
