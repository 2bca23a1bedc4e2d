"""Produce records: from arguments, standard input or a file; text, JSON or any bytes."""

from __future__ import annotations

from collections.abc import Sequence

from shell.exits import ExitCode, UsageProblem
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session

COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")


async def _produce(
    session: Session,
    *,
    topic: str,
    values: Sequence[str],
    file: str | None,
    whole: bool,
    key: str | None,
    key_field: str | None,
    key_separator: str | None,
    header: Sequence[tuple[str, str]],
    partition: int | None,
    acks: str,
    compression: str,
    each: bool,
) -> ExitCode:
    if values and file is not None:
        raise UsageProblem("Give values or --file, not both.")
    if sum(option is not None for option in (key, key_field, key_separator)) > 1:
        raise UsageProblem("Give one of --key, --key-field and --key-separator.")
    if whole and file is None:
        raise UsageProblem("--whole sends a file as one record: name it with --file.")
    if each and acks == "0":
        raise UsageProblem("With --acks 0 brokers do not tell offsets: leave out --each.")
    from shell.producing import Keys, Plan, produce

    plan = Plan(
        topic=topic,
        values=tuple(values),
        file=file,
        whole=whole,
        keys=Keys(fixed=key, field=key_field, separator=key_separator),
        headers=tuple((name, value.encode()) for name, value in header),
        partition=partition,
        acks={"0": 0, "1": 1}.get(acks, "all"),
        compression=None if compression == "none" else compression,
        each=each,
    )
    await produce(session, plan)
    return ExitCode.DONE


COMMANDS = (
    Command(
        name="produce",
        summary="Write records to a topic.",
        details="Values come from the arguments, else from --file, else line by line from standard "
        "input. Bytes are sent as they are. A record with a key goes to the partition of its key's "
        "hash. With acks=all (the default) the producer is idempotent: no record is written twice.",
        arguments=(
            Argument("TOPIC", "The topic to write to.", kind=Kind.TOPIC),
            Argument("VALUES", "One record each.", required=False, many=True),
        ),
        options=(
            Option(("--file",), "Read records from this file, one a line.", kind=Kind.FILE),
            Option(("--whole",), "Send the whole file as one record.", kind=Kind.FLAG),
            Option(("--key", "-k"), "The key of every record."),
            Option(("--key-field",), "Values are JSON objects: take the key from this field."),
            Option(("--key-separator",), "Lines are KEY, this separator, VALUE."),
            Option(
                ("--header", "-H"), "A header of every record; may repeat.", Kind.PAIR, many=True
            ),
            Option(("--partition",), "Write to this partition.", kind=Kind.INTEGER, minimum=0),
            Option(
                ("--acks",),
                "Who must have a record first: nobody, the leader, or every in-sync replica.",
                kind=Kind.CHOICE,
                choices=("0", "1", "all"),
                default="all",
            ),
            Option(
                ("--compression", "-z"),
                "How batches are compressed.",
                kind=Kind.CHOICE,
                choices=COMPRESSIONS,
                default="none",
            ),
            Option(("--each",), "Print each record's offset, not a summary.", kind=Kind.FLAG),
        ),
        examples=(
            "produce orders hello world",
            'produce orders --key-field customer \'{"customer": "c42", "total": 12.5}\'',
            "produce orders --file orders.jsonl --compression zstd",
            "produce pictures --file cat.png --whole --header type=image/png",
        ),
        run=_produce,
        changes=True,
    ),
)
