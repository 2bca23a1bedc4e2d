"""Read records of a topic, as they come or up to a point."""

from __future__ import annotations

from shell.exits import ExitCode
from shell.output import RAW
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session


async def _tail(
    session: Session,
    *,
    topic: str,
    from_: str,
    until: str | None,
    max: int | None,  # noqa: A002
    delimiter: str,
) -> ExitCode:
    import time

    from shell.reading import Range, tail
    from shell.values import parse_position, parse_topic_partition

    now_ms = int(time.time() * 1000)
    name, partition = parse_topic_partition(topic)
    wanted = Range(
        topic=name,
        partition=partition,
        start=parse_position(from_, now_ms),
        until=parse_position(until, now_ms) if until is not None else None,
        limit=max,
        delimiter=_unescape(delimiter).encode(),
    )
    await tail(session, wanted)
    return ExitCode.DONE


def _unescape(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\t", "\t").replace("\\0", "\0")


COMMANDS = (
    Command(
        name="tail",
        summary="Read a topic's records, as they come or up to a point.",
        details="Positions: start, end, an offset (42), the last N of each partition (-5), or a "
        "time (@2026-01-31T12:00, @-10m). Without --until it waits for more; Ctrl-C ends it. JSON "
        "lines hold values as text, or as base64 with encoding base64 when they are not UTF-8.",
        arguments=(Argument("TOPIC[:PARTITION]", "What to read.", kind=Kind.TOPIC_PARTITION),),
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
            Option(("--delimiter",), "What follows each value with --format raw.", default="\\n"),
        ),
        examples=(
            "tail orders",
            "tail orders --from start --until end --format json",
            "tail orders:3 --from -5",
            "tail pictures --from start --max 1 --format raw --delimiter '' > cat.png",
        ),
        run=_tail,
        extra_formats=(RAW,),
        endless=True,
    ),
)
