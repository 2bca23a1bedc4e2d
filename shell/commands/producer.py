"""Producers that the leaders of partitions remember."""

from __future__ import annotations

import time
from collections.abc import Sequence

from shell.asking import tell_missing
from shell.exits import ExitCode, UsageProblem
from shell.output import Cell, Table
from shell.registry import Argument, Command, Kind
from shell.session import Session
from shell.sources import parse_places
from shell.values import format_duration


async def _list(session: Session, *, partitions: Sequence[str]) -> ExitCode | None:
    named = parse_places(partitions)
    async with session.admin() as admin:
        topics = sorted({topic for topic, _ in named}) or None
        placed = await admin.partitions(topics)
        keys = [(each.topic, each.partition) for each in placed]
        for topic, index in named:
            if index is not None and (topic, index) not in keys:
                raise UsageProblem(f"There is no partition {topic}:{index}.")
        if named:
            keys = [key for key in keys if (key[0], None) in named or key in named]
        told = await admin.producers(keys)
    now_ms = round(time.time() * 1000)

    def table() -> list[Table]:
        columns = ("TOPIC", "PARTITION", "PRODUCER", "EPOCH", "LAST SEQUENCE", "LAST WRITE", "TXN")
        rows = [
            (
                each.topic,
                each.partition,
                each.producer_id,
                each.producer_epoch,
                each.last_sequence,
                format_duration(max(0, now_ms - each.last_timestamp_ms)) + " ago"
                if each.last_timestamp_ms >= 0
                else None,
                None
                if each.txn_start_offset is None
                else Cell(f"open from {each.txn_start_offset}", "warn"),
            )
            for each in told.items
        ]
        return [Table(columns, rows, right=frozenset(columns) - {"TOPIC", "TXN"})]

    session.output.document([each.to_json() for each in told.items], table)
    return tell_missing(session, told.failures)


COMMANDS = (
    Command(
        name="producer list",
        summary="List the idempotent and transactional producers that partitions remember.",
        details="Producers without idempotence leave no trace and are not listed.",
        arguments=(
            Argument(
                "PARTITIONS",
                "TOPIC or TOPIC:PARTITIONS, as in orders:0,4-7; all without.",
                kind=Kind.TOPIC_PARTITION,
                required=False,
                many=True,
            ),
        ),
        examples=("producer list", "producer list orders", "producer list orders:3"),
        run=_list,
    ),
)
