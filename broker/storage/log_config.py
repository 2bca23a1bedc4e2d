"""The settings that a log obeys, with Kafka's defaults. Plain data; it must never parse text."""

from dataclasses import dataclass

DAY_MS = 24 * 60 * 60 * 1000
INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """Topic settings by their Kafka names with dots made underscores; -1 means without limit.

    ``compact`` and ``delete`` are the two halves of ``cleanup.policy``.
    """

    segment_bytes: int = 1 << 30
    segment_ms: int = 7 * DAY_MS
    segment_jitter_ms: int = 0
    segment_index_bytes: int = 10 << 20
    index_interval_bytes: int = 4096
    file_delete_delay_ms: int = 0
    retention_ms: int = 7 * DAY_MS
    retention_bytes: int = -1
    max_message_bytes: int = 1_048_588
    flush_messages: int = INT64_MAX
    flush_ms: int = INT64_MAX
    message_timestamp_before_max_ms: int = INT64_MAX
    message_timestamp_after_max_ms: int = 3_600_000
    producer_id_expiration_ms: int = DAY_MS
    # How batches are stored: a codec's number, or -1 for what their producer chose.
    compression: int = -1
    compression_level: int | None = None
    compact: bool = False
    delete: bool = True
    min_cleanable_dirty_ratio: float = 0.5
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = INT64_MAX
    delete_retention_ms: int = DAY_MS

    @property
    def roll_ms(self) -> int:
        """After how long a segment ends: max.compaction.lag.ms must not wait for segment.ms."""
        return min(self.segment_ms, self.max_compaction_lag_ms) if self.compact else self.segment_ms
