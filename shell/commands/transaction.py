"""Transactions: which are open, which hang, and how they are ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shell.asking import confirm, tell_missing
from shell.commands.partition import named_partitions
from shell.exits import ExitCode, Failed, UsageProblem
from shell.nearest import did_you_mean
from shell.output import Cell, Table
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session
from shell.values import format_duration

if TYPE_CHECKING:
    from clusters.admin import ActiveProducer, AdminClient, Gathered, TransactionInfo

# As long as brokers let a transaction be open by default (transaction.max.timeout.ms).
_HANGING_AFTER = "15m"


async def _list(
    session: Session,
    *,
    open_for: int | None,
    state: Sequence[str],
    all: bool,  # noqa: A002
) -> ExitCode | None:
    wanted = _states(state, all=all)
    async with session.admin() as admin:
        told = await admin.transactions(wanted)
    now_ms = _now_ms()
    found = [
        each
        for each in told.items
        if open_for is None
        or (each.started_ms is not None and now_ms - each.started_ms >= open_for)
    ]
    session.output.document(
        [each.to_json() for each in found], lambda: [_transactions_table(found, now_ms)]
    )
    if not found and not told.failures:
        what = "No transaction is open" if not (state or all) else "There is no such transaction"
        session.output.say(f"{what}{'' if open_for is None else ' for so long'}.", "dim")
    return tell_missing(session, told.failures)


def _states(named: Sequence[str], *, all: bool) -> Sequence[str]:  # noqa: A002
    from clusters.admin.transaction_model import OPEN_STATES, STATES

    if all:
        if named:
            raise UsageProblem("Give --state or --all, not both.")
        return ()
    known = {each.lower(): each for each in STATES}
    for each in named:
        if each.lower() not in known:
            raise UsageProblem(
                f"There is no state '{each}' of a transaction; there are {', '.join(STATES)}."
                + did_you_mean(each, STATES)
            )
    return [known[each.lower()] for each in named] or OPEN_STATES


def _transactions_table(found: Sequence[TransactionInfo], now_ms: int) -> Table:
    def since(each: TransactionInfo) -> object:
        if each.started_ms is None or not each.is_open:
            return None
        open_ms = max(0, now_ms - each.started_ms)
        late = each.timeout_ms is not None and open_ms > each.timeout_ms
        return Cell(format_duration(open_ms), "bad" if late else "")

    columns = (
        "TRANSACTIONAL ID",
        "STATE",
        "OPEN FOR",
        "TIMEOUT",
        "PRODUCER",
        "EPOCH",
        "COORDINATOR",
        "PARTITIONS",
    )
    rows = [
        (
            each.transactional_id,
            Cell(each.state, "warn" if each.is_open else "dim"),
            since(each),
            None if each.timeout_ms is None else format_duration(each.timeout_ms),
            each.producer_id,
            each.producer_epoch,
            each.coordinator,
            ", ".join(f"{topic}:{number}" for topic, number in each.partitions) or None,
        )
        for each in found
    ]
    return Table(columns, rows, right=frozenset(columns[2:7]))


async def _hanging(
    session: Session, *, partitions: Sequence[str], open_for: int
) -> ExitCode | None:
    async with session.admin() as admin:
        told = await _found_hanging(admin, partitions, open_for)
    session.output.document(
        [each.to_json() for each in told.items], lambda: [_hanging_table(told.items)]
    )
    if not told.items and not told.failures:
        session.output.say("No transaction hangs.", "dim")
    elif told.items:
        session.output.say("`transaction abort --hanging TOPIC:PARTITION` ends them.", "dim")
    missing = tell_missing(session, told.failures)
    return ExitCode.UNHEALTHY if told.items else missing


async def _found_hanging(
    admin: AdminClient, partitions: Sequence[str], open_for: int
) -> Gathered[ActiveProducer]:
    placed = await named_partitions(admin, partitions)
    keys = [(each.topic, each.partition) for each in placed]
    return await admin.hanging_transactions(keys, open_for, _now_ms())


def _hanging_table(found: Sequence[ActiveProducer]) -> Table:
    now_ms = _now_ms()
    columns = ("TOPIC", "PARTITION", "OPEN FROM", "PRODUCER", "EPOCH", "LAST WRITE")
    rows = [
        (
            each.topic,
            each.partition,
            each.txn_start_offset,
            each.producer_id,
            each.producer_epoch,
            format_duration(max(0, now_ms - each.last_timestamp_ms)) + " ago",
        )
        for each in found
    ]
    return Table(columns, rows, right=frozenset(columns[1:]))


async def _abort(
    session: Session,
    *,
    id: str | None,  # noqa: A002 - the argument's name
    hanging: Sequence[str],
    open_for: int,
    dry_run: bool,
) -> ExitCode | None:
    if (id is None) == (not hanging):
        raise UsageProblem(
            "Name what to abort in one way: a transactional id, or --hanging TOPIC:PARTITION.",
            hint="`transaction list` and `transaction hanging` show both.",
        )
    if id is not None:
        await _abort_known(session, id, dry_run=dry_run)
        return None
    return await _abort_hanging(session, hanging, open_for, dry_run=dry_run)


async def _abort_known(session: Session, name: str, *, dry_run: bool) -> None:
    async with session.admin() as admin:
        told = await admin.transactions()
    found = {each.transactional_id: each for each in told.items}
    if name not in found:
        for failure in told.failures:
            session.output.warn(str(failure))
        # To fence an id that is not there would make it.
        raise Failed(f'There is no transactional id "{name}".{did_you_mean(name, found)}')
    each, now_ms = found[name], _now_ms()
    session.output.document([each.to_json()], lambda: [_transactions_table([each], now_ms)])
    if not each.is_open:
        session.output.say(f"No transaction of {name} is open; nothing was changed.")
        return
    lost = "Its records are dropped for readers of read_committed; whoever writes is fenced."
    if dry_run:
        session.output.say(f"The transaction of {name} would be aborted. {lost}")
        session.output.say("Nothing was changed.")
        return
    confirm(session, f"This aborts the transaction of {name}. {lost}")
    async with session.admin() as admin:
        await admin.fence(name)
    session.output.say(f"Aborted the transaction of {name}.")


async def _abort_hanging(
    session: Session, partitions: Sequence[str], open_for: int, *, dry_run: bool
) -> ExitCode | None:
    async with session.admin() as admin:
        told = await _found_hanging(admin, partitions, open_for)
    session.output.document(
        [each.to_json() for each in told.items], lambda: [_hanging_table(told.items)]
    )
    missing = tell_missing(session, told.failures)
    if not told.items:
        session.output.say("No transaction hangs there; nothing was changed.")
        return missing
    what = f"{len(told.items)} hanging transaction{'' if len(told.items) == 1 else 's'}"
    if dry_run:
        session.output.say(f"Would abort {what}; nothing was changed.")
        return missing
    confirm(
        session, f"This aborts {what}: their records are dropped for readers of read_committed."
    )
    async with session.admin() as admin:
        for each in told.items:
            await admin.abort_hanging(each)
            session.output.say(
                f"Aborted: {each.topic}:{each.partition} from {each.txn_start_offset}, "
                f"producer {each.producer_id}."
            )
    return missing


def _now_ms() -> int:
    return round(time.time() * 1000)


_PARTITIONS = "TOPIC or TOPIC:PARTITIONS, as in orders:0,4-7; all without."
_LONG = Option(
    ("--open-for",),
    "Only those without a record for so long.",
    kind=Kind.DURATION,
    default=_HANGING_AFTER,
    metavar="TIME",
)

COMMANDS = (
    Command(
        name="transaction list",
        summary="List the transactions that are open: who holds readers of read_committed up.",
        details="Their coordinators are asked. One that is open for longer than its timeout is "
        "about to be aborted, or cannot be.",
        options=(
            Option(
                ("--open-for",),
                "Only those that have been open for so long.",
                kind=Kind.DURATION,
                metavar="TIME",
            ),
            Option(
                ("--state",),
                "Transactional ids in this state instead, such as Empty or CompleteAbort; may "
                "repeat.",
                many=True,
            ),
            Option(("--all",), "All transactional ids, in any state.", kind=Kind.FLAG),
        ),
        examples=("transaction list", "transaction list --open-for 1m", "transaction list --all"),
        run=_list,
    ),
    Command(
        name="transaction hanging",
        summary="Find open transactions that no coordinator will ever end (exit code 10).",
        details="Such a one stays in its partition after a bug or a lost coordinator, and readers "
        "of read_committed wait before it for ever. Nothing is called so while a coordinator does "
        "not answer.",
        arguments=(
            Argument(
                "PARTITIONS", _PARTITIONS, kind=Kind.TOPIC_PARTITION, required=False, many=True
            ),
        ),
        options=(_LONG,),
        examples=("transaction hanging", "transaction hanging payments --open-for 1h"),
        run=_hanging,
    ),
    Command(
        name="transaction abort",
        summary="Abort a transaction: one that is open, or those that hang in a partition.",
        details="With a transactional id its producer is fenced, as when another one begins with "
        "that id, and the coordinator aborts what it had begun. Those that hang are ended by a "
        "marker in their partition. What will be aborted is shown and asked for.",
        arguments=(Argument("ID", "The transactional id.", required=False),),
        options=(
            Option(
                ("--hanging",),
                "Those that hang here instead: TOPIC or TOPIC:PARTITIONS; may repeat.",
                kind=Kind.TOPIC_PARTITION,
                many=True,
                metavar="PARTITIONS",
            ),
            _LONG,
            Option(("--dry-run",), "Only show what would be aborted.", kind=Kind.FLAG),
        ),
        examples=(
            "transaction abort payments-7",
            "transaction abort --hanging payments:3 --dry-run",
            "transaction abort --hanging payments:3 --yes",
        ),
        run=_abort,
        changes=True,
        destructive=True,
        asks_itself=True,
    ),
)
