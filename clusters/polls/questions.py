"""The questions that the polls ask of a cluster, over one admin client that stays connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from broker.protocol.errors import LogctlError
from clusters.admin import ActiveProducer, AdminClient, ConfigEntry
from clusters.admin.denied import Rights
from clusters.admin.groups import lag_partitions, lag_rows
from clusters.polls.poller import PollKind

EARLIEST, LATEST = -2, -1
PARTITIONS_AT_ONCE = 1_000
GROUPS_AT_ONCE = 16
GROUPS_MAX = 200
GROUPS_WAIT_S = 5.0
NOT_IN_TIME = "not told in time"
Partition = tuple[str, int]
# The partitions of a topic, or all for "": what the metadata log says there are.
PartitionsOf = Callable[[str], Sequence[Partition]]


class Questions:
    """Kinds of polls: quorum, ends (subject: topic or ""), ranges (topic), groups, group, lag,
    lags, transactions (topic), configs (topic), broker configs (id), settings ("topic NAME" or
    "broker ID"), log dirs, rights.
    """

    def __init__(self, admin: AdminClient, partitions_of: PartitionsOf) -> None:
        self._admin = admin
        self._partitions_of = partitions_of
        # Groups that did not answer in time when all lags were asked last.
        self._untold: set[str] = set()

    def kinds(self) -> Mapping[str, PollKind]:
        """What `Poller` takes."""
        admin = self._admin
        return {
            "quorum": PollKind(lambda _: admin.quorum(), 2_000),
            "ends": PollKind(self._ends, 2_000, 8_000),
            "ranges": PollKind(self._ranges, 2_000, 5_000),
            "groups": PollKind(lambda _: admin.groups(), 3_000, 5_000),
            "group": PollKind(admin.group, 2_000, 5_000),
            "lag": PollKind(admin.group_lag, 2_000, 5_000),
            "lags": PollKind(self._lags, 5_000, 10_000),
            "transactions": PollKind(self._transactions, 10_000, 5_000),
            "configs": PollKind(lambda name: admin.configs("topic", name), 15_000, 5_000),
            "broker configs": PollKind(lambda id_: admin.configs("broker", id_), 60_000, 5_000),
            "settings": PollKind(self._settings, 10_000, 5_000),
            "rights": PollKind(self._rights, 60_000, 5_000),
            "log dirs": PollKind(lambda _: admin.log_dirs(), 10_000, 8_000),
        }

    async def _rights(self, _: str) -> Rights:
        """Who this client is, and what it may not do."""
        lacking = await self._admin.lacking_rights()
        return Rights(self._admin.principal, lacking)

    async def _settings(self, of: str) -> list[ConfigEntry]:
        """All settings of a topic or broker, with what they are for."""
        kind, _, name = of.partition(" ")
        return await self._admin.configs(
            "broker" if kind == "broker" else "topic", name, documentation=True
        )

    async def _transactions(self, topic: str) -> tuple[ActiveProducer, ...]:
        """Producers with an open transaction in a topic, as far as its leaders are asked."""
        asked = list(self._partitions_of(topic))[:PARTITIONS_AT_ONCE]
        told = await self._admin.producers(asked)
        return tuple(each for each in told.items if each.txn_start_offset is not None)

    async def _ends(self, topic: str) -> dict[Partition, int | None]:
        """The end offset of each partition; None where the leader did not answer."""
        return await self._offsets(self._partitions_of(topic), LATEST)

    async def _ranges(self, topic: str) -> dict[Partition, tuple[int | None, int | None]]:
        """(start, end) of each partition."""
        asked = self._partitions_of(topic)
        starts, ends = await asyncio.gather(
            self._offsets(asked, EARLIEST), self._offsets(asked, LATEST)
        )
        return {each: (starts.get(each), ends.get(each)) for each in asked}

    async def _offsets(
        self, asked: Sequence[Partition], timestamp: int
    ) -> dict[Partition, int | None]:
        found: dict[Partition, int | None] = {}
        # In pieces, so that a large cluster never holds the event loop for long.
        for start in range(0, len(asked), PARTITIONS_AT_ONCE):
            part = asked[start : start + PARTITIONS_AT_ONCE]
            found.update(await self._admin.offsets(part, timestamp))
        return found

    async def _lags(self, _: str) -> dict[str, Any]:
        """The lag of every group by name: partitions, or the words of why not.

        Where groups are many and the cluster is slow, what was told in time is the answer; the rest
        comes first the next time.
        """
        summaries = await self._admin.groups()
        names = [each.group for each in summaries.items][:GROUPS_MAX]
        names.sort(key=lambda name: name not in self._untold)
        gate = asyncio.Semaphore(GROUPS_AT_ONCE)

        async def one(name: str) -> Any:
            async with gate:
                try:
                    return await asyncio.gather(
                        self._admin.group(name), self._admin.group_offsets(name)
                    )
                except LogctlError as error:
                    return str(error)

        tasks = {name: asyncio.create_task(one(name)) for name in names}
        try:
            if tasks:
                await asyncio.wait(tasks.values(), timeout=GROUPS_WAIT_S)
        finally:
            for task in tasks.values():
                task.cancel()
        told = {name: task.result() for name, task in tasks.items() if task.done()}
        self._untold = {name for name in names if name not in told}
        found = {name: each for name, each in told.items() if not isinstance(each, str)}
        # Where partitions end is asked once for all groups that read them.
        read = (lag_partitions(detail, offsets) for detail, offsets in found.values())
        asked = sorted({key for partitions in read for key in partitions})
        ends = await self._offsets(asked, LATEST)
        lags: dict[str, Any] = dict.fromkeys(sorted(names), NOT_IN_TIME)
        lags |= told
        for name, (detail, offsets) in found.items():
            lags[name] = lag_rows(detail, offsets, {}, ends)
        return lags
