"""Which groups read a topic, and how far each is behind there.

A group reads a topic when it committed offsets of it, or when members have partitions of it. A
group that does not answer costs its own row alone. Must never change anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.protocol.errors import LogctlError
from clusters.admin import Failure
from clusters.admin.groups import lag_rows

if TYPE_CHECKING:
    from clusters.admin import AdminClient, GroupSummary, PartitionLag

GROUPS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Reader:
    """A group as a reader of one topic.

    `members` have `partitions` of it, or the group committed in them; `lag` is what is counted, and
    `whole` whether that is all of it.
    """

    summary: GroupSummary
    members: int
    partitions: int
    lag: int
    whole: bool

    def to_json(self) -> dict[str, Any]:
        """As data; a lag that is not known in each partition is null."""
        return self.summary.to_json() | {
            "members": self.members,
            "partitions": self.partitions,
            "lag": self.lag if self.whole else None,
        }


async def readers_of(
    admin: AdminClient, topic: str, groups: Sequence[GroupSummary]
) -> tuple[list[Reader], list[Failure]]:
    """The readers among the groups, those that are furthest behind first, and what is not known.

    Raises UnknownTopic.
    """
    detail = await admin.topic(topic)
    ends = {(topic, each.partition): each.end_offset for each in detail.partitions}
    gate = asyncio.Semaphore(GROUPS_AT_ONCE)

    async def one(summary: GroupSummary) -> tuple[PartitionLag, ...] | Failure:
        async with gate:
            try:
                told, offsets = await asyncio.gather(
                    admin.group(summary.group), admin.group_offsets(summary.group)
                )
            except LogctlError as error:
                return Failure(where=f"group {summary.group}", what="offsets", reason=str(error))
        return tuple(row for row in lag_rows(told, offsets, {}, ends) if row.topic == topic)

    readers, failures = [], []
    for summary, found in zip(groups, await asyncio.gather(*map(one, groups)), strict=True):
        if isinstance(found, Failure):
            failures.append(found)
        elif found:
            readers.append(_reader(summary, found))
    return sorted(readers, key=lambda each: (-each.lag, each.summary.group)), failures


def _reader(summary: GroupSummary, rows: Sequence[PartitionLag]) -> Reader:
    return Reader(
        summary=summary,
        members=len({row.member for row in rows if row.member is not None}),
        partitions=len(rows),
        lag=sum(row.lag or 0 for row in rows),
        # Nothing is committed yet: nobody can tell how much is left to read.
        whole=all(row.lag is not None for row in rows),
    )
