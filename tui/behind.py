"""How far a group is behind, as far as that was told. Pure.

What leaders did not answer for is never drawn as if it were caught up with, and is no trend.
"""

from clusters.admin import PartitionLag
from tui.drawing import count

AT_LEAST = "≥"


def is_untold(lag: PartitionLag) -> bool:
    """Whether there is a commit, but nobody said where the partition ends."""
    return lag.lag is None and lag.end is None and lag.committed is not None


def lag_text(lag: int | None, untold: int) -> str:
    """So many records, or at least so many where `untold` partitions are not counted."""
    return f"{AT_LEAST}{count(lag)}" if untold and lag is not None else count(lag)
