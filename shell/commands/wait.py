"""Waits until a condition on the cluster holds, for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shell.exits import ExitCode, UsageProblem
from shell.observing import observe, read_condition
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session


async def _wait(
    session: Session,
    *,
    condition: Sequence[str],
    for_: int | None,
    within: int | None,
    every: int | None,
) -> ExitCode:
    from shell.waiting import EVERY_MS_MIN, WAIT_TIMEOUT_MS, wait_until

    query = read_condition(" ".join(condition))
    if for_ is not None:
        if query.for_ms is not None:
            raise UsageProblem("The time is given twice: by --for and in the condition.")
        query = replace(query, for_ms=for_, for_text=f"{for_}ms")
    limit_ms = WAIT_TIMEOUT_MS if within is None else within
    output = session.output
    last = await wait_until(
        session,
        lambda limited: observe(limited, [query]),
        query,
        limit_ms=limit_ms,
        every_ms=max(EVERY_MS_MIN, every or 1_000),
        tell=lambda waited_ms, seen: output.progress(f"waited {waited_ms // 1000} s: {seen}"),
    )
    output.end_progress()
    if last is not None:
        output.error(f"Does not hold after {limit_ms / 1000:g} s: {query}; {last}")
        return ExitCode.UNHEALTHY
    output.say(f"Holds: {query}", "good")
    return ExitCode.DONE


COMMANDS = (
    Command(
        name="wait",
        summary="Wait until a condition on the cluster holds.",
        details="Exit code 0 when it holds, 10 when it did not in time. A cluster that does not "
        "answer is waited for. Looks as soon as the cluster changes, where the metadata log can be "
        "followed, and every second besides. The language is described in docs/query-language.md.",
        arguments=(
            Argument("CONDITION", "As in: no partitions where offline.", Kind.QUERY, many=True),
        ),
        options=(
            Option(("--for",), "It must hold this long, as in 10s.", kind=Kind.DURATION),
            Option(("--within",), "Give up after this long (default 5m).", kind=Kind.DURATION),
            Option(("--every",), "Look at least this often (default 1s).", kind=Kind.DURATION),
        ),
        examples=(
            "wait 'no partitions where under_replicated' --for 10s --within 10m",
            "wait 'count(brokers where state = up) = 3'",
        ),
        run=_wait,
    ),
)
