"""The metadata quorum: voters and observers, and how far each is behind."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shell.exits import ExitCode
from shell.output import Cell, Facts, Table
from shell.registry import Command
from shell.session import Session
from shell.values import format_duration

if TYPE_CHECKING:
    from clusters.admin import QuorumReplica

# A node that has not been caught up for this long is worth a colour.
SLOW_MS = 5_000


async def _describe(session: Session) -> ExitCode | None:
    async with session.admin() as admin:
        quorum = await admin.quorum()
        features = {each.feature: each.level for each in await admin.features()}
    now_ms = round(time.time() * 1000)

    def ago(at_ms: int, leads: bool) -> object:
        if leads or at_ms < 0:
            return None
        behind = max(0, now_ms - at_ms)
        return Cell(format_duration(behind), "warn" if behind > SLOW_MS else "")

    def rows(role: str, replicas: Sequence[QuorumReplica]) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for each in replicas:
            leads = each.id == quorum.leader_id
            found.append(
                (
                    each.id,
                    Cell("leader", "good") if leads else role,
                    each.log_end_offset,
                    quorum.lag(each),
                    ago(each.last_fetch_ms, leads),
                    ago(each.last_caught_up_ms, leads),
                )
            )
        return found

    columns = ("NODE", "ROLE", "LOG END", "LAG", "LAST FETCH", "LAST CAUGHT UP")
    session.output.document(
        quorum.to_json() | {"features": features},
        lambda: [
            Facts(
                [
                    ("leader", quorum.leader_id if quorum.leader_id >= 0 else Cell("none", "bad")),
                    ("epoch", quorum.leader_epoch),
                    ("high watermark", quorum.high_watermark),
                    ("metadata.version", features.get("metadata.version")),
                ]
            ),
            Table(
                columns,
                [*rows("voter", quorum.voters), *rows("observer", quorum.observers)],
                right=frozenset(columns) - {"ROLE"},
            ),
        ],
    )
    return ExitCode.UNHEALTHY if quorum.leader_id < 0 else None


COMMANDS = (
    Command(
        name="quorum describe",
        summary="Show the metadata quorum: leader, voters, observers, and how far each is behind.",
        examples=("quorum describe", "quorum describe --format json"),
        run=_describe,
    ),
)
