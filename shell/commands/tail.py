"""Read records of topics, as they come or up to a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shell.exits import ExitCode, UsageProblem
from shell.output import HEX, RAW, STRING, TEMPLATE
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session

if TYPE_CHECKING:
    from shell.printing import Printer
    from shell.sources import Source
    from shell.values import Position


async def _tail(
    session: Session,
    *,
    topic: Sequence[str],
    from_: str,
    until: str | None,
    max: int | None,  # noqa: A002
    grep: Sequence[str],
    key: Sequence[str],
    value: Sequence[str],
    header: Sequence[str],
    where: Sequence[str],
    template: str | None,
    delimiter: str,
    group: str | None,
    committed: bool,
    isolation_level: str | None,
    control_records: bool,
) -> ExitCode:
    from shell.record_filters import build_filter

    accepted = build_filter(grep=grep, key=key, value=value, header=header, where=where)
    committed = _is_committed(isolation_level, committed=committed)
    printer = _printer(session, template, delimiter)
    printer.controls = control_records and _has_lines(session, template)
    printer.filter, printer.limit = accepted, max
    sources = await _sources(session, topic)
    printer.topics = len(sources) > 1
    if group is not None:
        await _as_member(session, group, sources, from_, until, printer, committed=committed)
    else:
        await _by_assignment(session, sources, from_, until, printer, committed=committed)
    if accepted is not None and until is not None:
        session.output.say(f"{printer.shown} of {printer.read} records shown.", "dim")
    return ExitCode.DONE


def _is_committed(level: str | None, *, committed: bool) -> bool:
    if committed and level == "read_uncommitted":
        raise UsageProblem("--committed is --isolation-level read_committed: leave one out.")
    return committed or level == "read_committed"


def _has_lines(session: Session, template: str | None) -> bool:
    """Whether control records can be among the records. Raises UsageProblem where they can't."""
    if template is not None or session.output.format in {RAW, HEX, STRING, TEMPLATE}:
        raise UsageProblem(
            "Control records are no data: this format has no place for them.",
            hint="Leave out --control-records, or take --format table, json or yaml.",
        )
    return True


def _printer(session: Session, template: str | None, delimiter: str) -> Printer:
    from shell.printing import Printer
    from shell.record_formats import parse_template, unescape

    if session.output.format == TEMPLATE and template is None:
        raise UsageProblem(
            "--format template needs a template.",
            hint="Give one: --template '{topic}-{partition}@{offset} {key} {value}'.",
        )
    return Printer(
        session.output,
        template=parse_template(template) if template is not None else None,
        delimiter=unescape(delimiter).encode(),
    )


async def _sources(session: Session, words: Sequence[str]) -> list[Source]:
    from shell.sources import chosen_sources, is_pattern, parse_source

    names: list[str] = []
    if any(is_pattern(parse_source(word).topic) for word in words):
        async with session.admin() as admin:
            names = [topic.topic for topic in await admin.topics()]
    return chosen_sources(words, names)


async def _by_assignment(
    session: Session,
    sources: Sequence[Source],
    from_: str,
    until: str | None,
    printer: Printer,
    *,
    committed: bool,
) -> None:
    import time

    from shell.reading import Range, tail
    from shell.values import parse_position

    now_ms = int(time.time() * 1000)
    stop, count = _end(until, now_ms)
    wanted = Range(
        sources=sources,
        start=parse_position(from_, now_ms),
        until=stop,
        count=count,
        began_ms=now_ms,
        committed=committed,
    )
    await tail(session, wanted, printer)


def _end(until: str | None, now_ms: int) -> tuple[Position | None, int | None]:
    """Where to stop: a position, or so many records of each partition (+N)."""
    from shell.values import parse_position

    if until is None:
        return None, None
    if until.startswith("+") and until[1:].isdecimal():
        return None, int(until[1:])
    return parse_position(until, now_ms), None


async def _as_member(
    session: Session,
    group: str,
    sources: Sequence[Source],
    from_: str,
    until: str | None,
    printer: Printer,
    *,
    committed: bool,
) -> None:
    if any(source.partitions is not None for source in sources):
        raise UsageProblem("With --group the group chooses the partitions: name topics alone.")
    if from_ not in {"start", "end"}:
        raise UsageProblem(
            "With --group, --from is start or end: where to begin when nothing is committed.",
            hint="`logctl group reset` moves a group to any other place.",
        )
    if session.read_only():
        from shell.exits import Refused

        raise Refused(
            "Reading as a member of a group commits offsets, and this session is read-only.",
            hint="Leave out --group to read without committing.",
        )
    import time

    stop, count = _end(until, int(time.time() * 1000))
    from shell.group_reading import Membership, tail_as_member

    wanted = Membership(
        group=group,
        sources=tuple(sources),
        from_start=from_ == "start",
        until=stop,
        count=count,
        committed=committed,
    )
    await tail_as_member(session, wanted, printer)


_PATTERN = "!PATTERN turns it round; may repeat."

COMMANDS = (
    Command(
        name="tail",
        summary="Read topics' records, as they come or up to a point.",
        details="Positions: start, end, an offset (42), the last N of each partition (-5), or a "
        "time (@2026-01-31T12:00, @-10m); --until also takes +N, so many of each partition (of "
        "those that are there; with --from end of those that come). "
        "Without --until it waits for more; Ctrl-C ends it. A member of a group begins where the "
        "group has read to, and stops at --until as well: what comes after stays for the next.\n\n"
        "All filters must fit. PATTERN is a regular expression. A condition of --where is a path "
        "into a JSON value, alone or with = != < <= > >= ~ or !~ and a value: 'total>100', "
        "'items[*].sku~^A'.\n\n"
        "JSON lines hold values as text, or as base64 with encoding base64 when they are not "
        "UTF-8; `produce --input records` writes them again unchanged. A template has {topic} "
        "{partition} {offset} {time} {timestamp} {key} {value} {headers} {header.NAME} "
        "{value.PATH} {json}. Records of __consumer_offsets are shown decoded.\n\n"
        "What a reader with isolation.level=read_committed does not get is marked: <aborted> and "
        "<open> by the transaction it was written in, <held> what comes after an open one (above "
        "the last stable offset): as it was when the record was read. What was open and is decided "
        "while reading goes on is told on stderr. JSON lines say so in "
        "transaction.state and stable. With --control-records they have control commit or abort, "
        "or progress: how far reading is, and how many records were left out. logd has no "
        "transactions: there every record counts as committed.",
        arguments=(
            Argument(
                "TOPIC[:PARTITIONS]",
                "What to read: orders, orders:3, orders:0,4-7, 'orders-*'.",
                kind=Kind.TOPIC_PARTITION,
                many=True,
            ),
        ),
        options=(
            Option(
                ("--from", "-f"),
                "Where to begin.",
                Kind.POSITION,
                default="end",
                metavar="POSITION",
            ),
            Option(("--until", "-u"), "Where to stop.", Kind.POSITION, metavar="POSITION"),
            Option(("--max", "-n"), "Stop after this many records.", kind=Kind.INTEGER, minimum=1),
            Option(
                ("--grep", "-g"),
                f"Only with PATTERN in key, value or a header. {_PATTERN}",
                many=True,
                metavar="PATTERN",
            ),
            Option(("--key", "-k"), "Only with PATTERN in the key.", many=True, metavar="PATTERN"),
            Option(("--value",), "Only with PATTERN in the value.", many=True, metavar="PATTERN"),
            Option(
                ("--header", "-H"),
                "Only with this header, or with PATTERN in it.",
                many=True,
                metavar="NAME[=PATTERN]",
            ),
            Option(
                ("--where", "-w"),
                "Only where this holds of the JSON value.",
                many=True,
                metavar="CONDITION",
            ),
            Option(("--template", "-t"), "Write each record by this template.", metavar="TEXT"),
            Option(
                ("--delimiter",),
                "What follows each record of the formats raw, string and template.",
                default="\\n",
            ),
            Option(
                ("--group", "-G"),
                "Read as a member of this group, and commit what was printed.",
                kind=Kind.GROUP,
            ),
            Option(
                ("--isolation-level",),
                "read_committed leaves out what aborted transactions wrote and waits for open "
                "ones; read_uncommitted, as when nothing is given, shows and marks all.",
                kind=Kind.CHOICE,
                choices=("read_uncommitted", "read_committed"),
                metavar="LEVEL",
            ),
            Option(("--committed",), "The same as --isolation-level read_committed.", Kind.FLAG),
            Option(
                ("--control-records",),
                "Write a line for each end of a transaction as well; filters let them through.",
                kind=Kind.FLAG,
            ),
        ),
        examples=(
            "tail orders",
            "tail orders:0,3 signups --from start --until end --format json",
            "tail orders --from @-10m --where 'customer.id=c42' --where 'total>100'",
            "tail orders --from start --until end --key '^c4' --template '{offset} {value.total}'",
            "tail orders --group billing --from start",
            "tail payments --from -100 --isolation-level read_committed",
            "tail __consumer_offsets --from start --until end",
            "tail pictures --from start --max 1 --format raw --delimiter '' > cat.png",
        ),
        run=_tail,
        extra_formats=(RAW, HEX, STRING, TEMPLATE),
        endless=True,
    ),
)
