"""Which of the oldest segments may go. Pure arithmetic over segments; it must never remove one."""

from collections.abc import Sequence

from broker.storage.log_config import LogConfig
from broker.storage.segment import Segment


def expired_segments(
    segments: Sequence[Segment], config: LogConfig, now_ms: int, high_watermark: int
) -> int:
    """How many segments, from the oldest on, retention.ms or retention.bytes let go.

    None that reaches above ``high_watermark``. All of them only by time.
    """
    if not config.delete:
        return 0
    by_time = _by_time(segments, config.retention_ms, now_ms, high_watermark)
    return max(by_time, _by_size(segments, config.retention_bytes, high_watermark))


def _by_time(
    segments: Sequence[Segment], retention_ms: int, now_ms: int, high_watermark: int
) -> int:
    if retention_ms < 0:
        return 0
    count = 0
    for segment in segments:
        if segment.end_offset > high_watermark or not segment.size:
            break
        largest_ms, _ = segment.largest_timestamp()
        if largest_ms < 0:
            largest_ms = segment.load_first_timestamp()  # what compaction left has no records
        if largest_ms < 0 or now_ms - largest_ms <= retention_ms:
            break
        count += 1
    return count


def _by_size(segments: Sequence[Segment], retention_bytes: int, high_watermark: int) -> int:
    if retention_bytes < 0:
        return 0
    count = 0
    excess = sum(segment.size for segment in segments) - retention_bytes
    for segment in segments[:-1]:
        if segment.end_offset > high_watermark or excess < segment.size:
            break
        excess -= segment.size
        count += 1
    return count
