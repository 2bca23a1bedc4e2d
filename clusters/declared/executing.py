"""Does the steps of a plan, one after the other, and says of each what came of it.

A step that fails stops what depends on it, the other steps of its topic or principal, and nothing
else. What is done already is found out from the cluster, so that a plan broken off can be given
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.protocol.errors import ErrorCode, LogctlError
from clusters.declared.access_executing import Passwords, do_access, set_quota
from clusters.declared.steps import Kind, Progress, Step, progress
from clusters.declared.world import World

if TYPE_CHECKING:
    from clusters.admin import AdminClient

MOVES_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a step: done, already, failed or skipped; `detail` says why."""

    step: Step
    result: str
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {"result": self.result, "detail": self.detail, "step": self.step.to_json()}


Report = Callable[[Step, str], None]


def moved(steps: Sequence[Step], world: World) -> list[tuple[Step, Any]]:
    """Steps that the world does not wait for any more, with what it shows instead."""
    found = []
    for step in steps:
        state, seen = progress(step, world)
        if state is Progress.MOVED:
            found.append((step, seen))
    return found


async def execute(
    admin: AdminClient,
    steps: Sequence[Step],
    world: World,
    outcomes: list[Outcome],
    report: Report,
    *,
    moves_timeout_ms: int,
    passwords: Passwords | None = None,
) -> None:
    """Do the steps that the world still waits for; `outcomes` grows as they end.

    `passwords` are those of `read_passwords`.
    """
    broken: set[tuple[str, str]] = set()
    for step in steps:
        if progress(step, world)[0] is Progress.DONE:
            outcomes.append(Outcome(step, "already"))
            continue
        if (step.topic, step.name) in broken:
            detail = f"an earlier step of {step.name or f'topic {step.topic}'} failed"
            outcomes.append(Outcome(step, "skipped", detail))
            continue
        report(step, "")
        try:
            if step.section is not None:
                await do_access(admin, step, passwords or {})
            else:
                await _do(admin, step, report, moves_timeout_ms)
        except LogctlError as error:
            broken.add((step.topic, step.name))
            outcomes.append(Outcome(step, "failed", str(error)))
        else:
            outcomes.append(Outcome(step, "done"))


async def validate(admin: AdminClient, steps: Sequence[Step]) -> list[tuple[Step, str]]:
    """Ask the cluster whether it would do the steps; what it says against them."""
    against: list[tuple[Step, str]] = []
    for step in steps:
        try:
            await _validate(admin, step)
        except LogctlError as error:
            against.append((step, str(error)))
    return against


async def _validate(admin: AdminClient, step: Step) -> None:
    match step.kind:
        case Kind.CREATE_TOPIC:
            await _create(admin, step, validate_only=True)
        case Kind.ADD_PARTITIONS:
            await admin.create_partitions(
                step.topic, step.after["partitions"], step.after["assignment"], validate_only=True
            )
        case Kind.SET_CONFIGS:
            await _configure(admin, step, validate_only=True)
        case Kind.SET_QUOTA:
            await set_quota(admin, step, validate_only=True)
        case _:
            pass


async def _do(admin: AdminClient, step: Step, report: Report, moves_timeout_ms: int) -> None:
    match step.kind:
        case Kind.CREATE_TOPIC:
            await _create(admin, step)
        case Kind.ADD_PARTITIONS:
            await admin.create_partitions(
                step.topic, step.after["partitions"], step.after["assignment"]
            )
        case Kind.SET_CONFIGS:
            await _configure(admin, step)
        case Kind.MOVE_REPLICAS:
            await _move(admin, step, report, moves_timeout_ms)
        case Kind.COMMIT_OFFSETS:
            assert step.group is not None
            offsets = {(step.topic, int(p)): o for p, o in step.after["offsets"].items()}
            await admin.commit_offsets(step.group, offsets)
        case Kind.DELETE_TOPIC:
            await admin.delete_topic(step.topic)


async def _create(admin: AdminClient, step: Step, *, validate_only: bool = False) -> None:
    after = step.after
    placed = after["assignment"]
    await admin.create_topic(
        step.topic,
        partitions=-1 if placed else after["partitions"] or -1,
        replication_factor=-1 if placed else after["replication"] or -1,
        configs=after["configs"],
        assignments=dict(enumerate(placed)) if placed else None,
        validate_only=validate_only,
    )


async def _configure(admin: AdminClient, step: Step, *, validate_only: bool = False) -> None:
    wanted = step.after["configs"]
    await admin.alter_configs(
        "topic",
        step.topic,
        {name: value for name, value in wanted.items() if value is not None},
        [name for name, value in wanted.items() if value is None],
        validate_only=validate_only,
    )


async def _move(admin: AdminClient, step: Step, report: Report, timeout_ms: int) -> None:
    targets = {(step.topic, int(p)): tuple(r) for p, r in step.after["assignment"].items()}
    await admin.reassign(targets)
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            while True:
                left = [m for m in await admin.reassignments() if (m.topic, m.partition) in targets]
                if not left:
                    return
                report(step, f"{len(left)} of {len(targets)} partitions still move")
                await asyncio.sleep(MOVES_POLL_S)
    except TimeoutError:
        from clusters.admin import AdminError

        raise AdminError(
            f"the move has begun and goes on, but did not end within {timeout_ms // 1000} s; "
            "`query partitions where reassigning` shows how it stands",
            code=int(ErrorCode.request_timed_out),
        ) from None
