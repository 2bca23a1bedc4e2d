"""Calls on offsets of partitions: where they begin and end, by time, and raising the beginning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from clusters.admin.asking import Asking, Partition
from clusters.admin.errors import AdminError, code_words
from clusters.admin.gathered import Failure, Gathered
from clusters.admin.offset_model import OffsetSpec, PartitionOffset


class OffsetCalls(Asking):
    """What the admin client can do with offsets."""

    async def list_offsets(
        self, asked: Mapping[Partition, OffsetSpec]
    ) -> Gathered[PartitionOffset]:
        """Offsets of partitions from their leaders, all asked at once, sorted.

        A partition without a leader, or whose leader does not answer in time, is a Failure.
        """
        if not asked:
            return Gathered(())

        def body(partitions: list[Partition], timeout_ms: int) -> Struct:
            by_topic: dict[str, list[Struct]] = {}
            for topic, partition in partitions:
                by_topic.setdefault(topic, []).append(
                    Struct(
                        partition_index=partition,
                        current_leader_epoch=-1,
                        timestamp=asked[topic, partition].timestamp_ms,
                    )
                )
            return Struct(
                replica_id=-1,
                isolation_level=0,
                topics=[Struct(name=name, partitions=each) for name, each in by_topic.items()],
                timeout_ms=timeout_ms,
            )

        answers, failures = await self._at_leaders(
            asked, ApiKey.LIST_OFFSETS, body, _by_partition, "offset", self._deadline()
        )
        found = []
        for (topic, partition), told in answers.items():
            if told.error_code != ErrorCode.none:
                failures.append(_failure(topic, partition, "offset", told))
                continue
            found.append(
                PartitionOffset(
                    topic=topic,
                    partition=partition,
                    offset=told.offset if told.offset >= 0 else None,
                    timestamp_ms=told.timestamp,
                    leader_epoch=told.get("leader_epoch", -1),
                )
            )
        found.sort(key=lambda each: (each.topic, each.partition))
        return Gathered(tuple(found), tuple(failures))

    async def offsets(
        self, partitions: Iterable[Partition], timestamp: int = -1
    ) -> dict[Partition, int | None]:
        """The offset at a time (ms since 1970; -1 end, -2 start, -3 largest timestamp).

        Asks all leaders at once; None for a partition whose leader did not answer, or that has no
        record that late.
        """
        asked = dict.fromkeys(partitions, OffsetSpec(timestamp))
        found: dict[Partition, int | None] = dict.fromkeys(asked)
        for each in (await self.list_offsets(asked)).items:
            found[each.topic, each.partition] = each.offset
        return found

    async def delete_records(self, before: Mapping[Partition, int]) -> dict[Partition, int]:
        """Delete records below an offset (-1: all that is committed) (KIP-107).

        Returns the new low watermarks. Every partition is tried; raises AdminError naming those
        that were refused or did not answer (`done` holds the others).
        """
        deadline = self._deadline()

        def body(partitions: list[Partition], timeout_ms: int) -> Struct:
            by_topic: dict[str, list[Struct]] = {}
            for topic, partition in partitions:
                by_topic.setdefault(topic, []).append(
                    Struct(partition_index=partition, offset=before[topic, partition])
                )
            return Struct(
                topics=[Struct(name=name, partitions=each) for name, each in by_topic.items()],
                timeout_ms=timeout_ms,
            )

        answers, failures = await self._at_leaders(
            before, ApiKey.DELETE_RECORDS, body, _by_partition, "deletion", deadline
        )
        done: dict[Partition, int] = {}
        for (topic, partition), told in sorted(answers.items()):
            if told.error_code != ErrorCode.none:
                failures.append(_failure(topic, partition, "deletion", told))
            else:
                done[topic, partition] = told.low_watermark
        if failures:
            parts = "; ".join(f"{each.where}: {each.reason}" for each in failures)
            raise RecordsNotDeleted(f"Records were not deleted in all partitions: {parts}", done)
        return done


class RecordsNotDeleted(AdminError):
    """Some partitions kept their records; `done` has the new low watermarks of the others."""

    def __init__(self, text: str, done: Mapping[Partition, int]) -> None:
        self.done = dict(done)
        super().__init__(text)


def _by_partition(answer: Struct) -> dict[Partition, Struct]:
    return {
        (topic.name, each.partition_index): each
        for topic in answer.topics
        for each in topic.partitions
    }


def _failure(topic: str, partition: int, what: str, told: Struct) -> Failure:
    reason = code_words(told.error_code, told.get("error_message"))
    return Failure(where=f"{topic}:{partition}", what=what, reason=reason)
