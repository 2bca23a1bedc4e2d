"""Produce records: from arguments, standard input or files; text, JSON, CSV or any bytes."""

from __future__ import annotations

from collections.abc import Sequence

from shell.exits import ExitCode, UsageProblem
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session

COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
INPUTS = ("lines", "json", "csv", "records")
PARTITIONERS = ("murmur2", "crc32", "round-robin", "random")


async def _produce(
    session: Session,
    *,
    topic: str,
    values: Sequence[str],
    file: str | None,
    whole: bool,
    follow: bool,
    from_end: bool,
    input: str,  # noqa: A002
    key: str | None,
    key_field: str | None,
    key_separator: str | None,
    value_field: str | None,
    header: Sequence[tuple[str, str]],
    header_field: Sequence[str],
    timestamp: str | None,
    timestamp_field: str | None,
    tombstone: bool,
    delimiter: str,
    keep_arrays: bool,
    partition: int | None,
    keep_partition: bool,
    partitioner: str,
    acks: str,
    compression: str,
    rate: str | None,
    each: bool,
    keep_going: bool,
    dry_run: bool,
) -> ExitCode:
    _check_source(topic, values, file, input, whole=whole, follow=follow, from_end=from_end)
    _check_parts(input, key, key_field, key_separator, value_field, tombstone=tombstone)
    _check_rest(input, acks, delimiter, each=each, keep=(keep_partition, keep_arrays))
    from shell.inputs import Recipe
    from shell.producing import Plan, produce

    recipe = Recipe(
        form=input,
        key=key,
        key_field=key_field,
        key_separator=key_separator,
        value_field=value_field,
        headers=tuple((n, v.encode("utf-8", "surrogateescape")) for n, v in header),
        header_fields=tuple(header_field),
        timestamp_ms=_timestamp_ms(timestamp),
        timestamp_field=timestamp_field,
        partition=partition,
        keep_partition=keep_partition,
        tombstone=tombstone,
        delimiter=delimiter,
        keep_arrays=keep_arrays,
    )
    plan = Plan(
        topic=topic,
        recipe=recipe,
        values=tuple(values),
        file=file,
        whole=whole,
        follow=follow,
        from_end=from_end,
        rate=_rate(rate),
        partitioner=partitioner,
        acks={"0": 0, "1": 1}.get(acks, "all"),
        compression=None if compression == "none" else compression,
        each=each,
        keep_going=keep_going,
        dry_run=dry_run,
    )
    return await produce(session, plan)


def _check_topic(topic: str) -> None:
    name, separator, partition = topic.rpartition(":")
    if separator:
        shown = f" {partition}" if partition.isdecimal() else ""
        raise UsageProblem(
            f"'{topic}' is not a topic's name.",
            hint=f"To write to one partition: produce {name} --partition{shown or ' NUMBER'} ...",
        )


def _check_rest(
    form: str, acks: str, delimiter: str, *, each: bool, keep: tuple[bool, bool]
) -> None:
    keep_partition, keep_arrays = keep
    if keep_arrays and form != "json":
        raise UsageProblem("--keep-arrays is for --input json.")
    if each and acks == "0":
        raise UsageProblem("With --acks 0 brokers do not tell offsets: leave out --each.")
    if keep_partition and form != "records":
        raise UsageProblem("--keep-partition is for --input records: nothing else names one.")
    if len(delimiter) != 1:
        raise UsageProblem("--delimiter is one character.")


def _check_source(
    topic: str,
    values: Sequence[str],
    file: str | None,
    form: str,
    *,
    whole: bool,
    follow: bool,
    from_end: bool,
) -> None:
    _check_topic(topic)
    if values and file is not None:
        raise UsageProblem("Give values or --file, not both.")
    if values and form == "csv":
        raise UsageProblem("CSV comes from --file or standard input: it begins with a heading.")
    if whole and file is None:
        raise UsageProblem("--whole sends a file as one record: name it with --file.")
    if follow and (file in {None, "-"} or whole):
        raise UsageProblem("--follow reads a file that grows, line by line: name it with --file.")
    if from_end and not follow:
        raise UsageProblem("--from-end goes with --follow.")


def _check_parts(
    form: str,
    key: str | None,
    key_field: str | None,
    key_separator: str | None,
    value_field: str | None,
    *,
    tombstone: bool,
) -> None:
    if sum(option is not None for option in (key, key_field, key_separator)) > 1:
        raise UsageProblem("Give one of --key, --key-field and --key-separator.")
    if key_separator is not None and form != "lines":
        raise UsageProblem("--key-separator is for --input lines; take --key-field.")
    if form == "records" and (key_field or value_field):
        raise UsageProblem("--input records brings its keys and values: no field is taken.")
    if tombstone and form != "records" and (key_field or value_field or key or key_separator):
        raise UsageProblem("With --tombstone each value or line is a key: leave out the others.")


def _timestamp_ms(text: str | None) -> int | None:
    if text is None:
        return None
    import time

    from shell.values import Anchor, parse_position

    position = parse_position(f"@{text.removeprefix('@')}", int(time.time() * 1000))
    assert position.anchor is Anchor.TIME
    return position.value


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e9:
        raise UsageProblem(f"'{text}' is not a rate; write records a second, as in 100 or 0.5.")
    return rate


COMMANDS = (
    Command(
        name="produce",
        summary="Write records to a topic.",
        details="Values come from the arguments, else from --file, else line by line from standard "
        "input. Bytes are sent as they are. A record with a key goes to the partition of its key's "
        "hash. With acks=all (the default) the producer is idempotent: no record is written "
        "twice.\n\n"
        "--input says what the input is: lines (each a value), json (values that are checked; one "
        "a line, spread over lines, or the elements of an array; fields may give key, headers and "
        "time), csv (a heading, then rows; each row becomes a JSON object "
        "unless --value-field names its column), records (what `tail --format json` printed; key, "
        "value, headers and time are written unchanged).\n\n"
        "Ctrl-C stops reading, waits for what is under way, and says what was written. A record "
        "that fails is named by its line and ends the command; --keep-going goes on with the rest "
        "and exits 1 at the end.",
        arguments=(
            Argument("TOPIC", "The topic to write to.", kind=Kind.TOPIC),
            Argument("VALUES", "One record each.", required=False, many=True),
        ),
        options=(
            Option(("--file",), "Read records from this file, one a line.", kind=Kind.FILE),
            Option(("--whole",), "Send the whole file as one record.", kind=Kind.FLAG),
            Option(
                ("--follow",),
                "Go on as the file grows, also when it is rotated; until Ctrl-C.",
                kind=Kind.FLAG,
            ),
            Option(
                ("--from-end",),
                "With --follow: leave out what is in the file now.",
                kind=Kind.FLAG,
            ),
            Option(
                ("--input", "-i"),
                "What the input is.",
                kind=Kind.CHOICE,
                choices=INPUTS,
                default="lines",
            ),
            Option(("--key", "-k"), "The key of every record."),
            Option(
                ("--key-field",), "Take the key from this JSON field or CSV column.", metavar="NAME"
            ),
            Option(("--key-separator",), "Lines are KEY, this separator, VALUE."),
            Option(
                ("--value-field",),
                "Take the value from this JSON field or CSV column.",
                metavar="NAME",
            ),
            Option(
                ("--header", "-H"), "A header of every record; may repeat.", Kind.PAIR, many=True
            ),
            Option(
                ("--header-field",),
                "Take a header from this JSON field or CSV column; may repeat.",
                many=True,
                metavar="NAME",
            ),
            Option(
                ("--timestamp",),
                "The time of every record: ISO 8601, or milliseconds since 1970.",
                metavar="TIME",
            ),
            Option(
                ("--timestamp-field",),
                "Take the time from this JSON field or CSV column.",
                metavar="NAME",
            ),
            Option(
                ("--tombstone",),
                "Each value or line is a key whose value is null: compaction forgets it.",
                kind=Kind.FLAG,
            ),
            Option(
                ("--keep-arrays",),
                "With --input json: an array is one record, not one for each element.",
                kind=Kind.FLAG,
            ),
            Option(("--delimiter",), "What separates the columns of CSV.", default=","),
            Option(("--partition",), "Write to this partition.", kind=Kind.INTEGER, minimum=0),
            Option(
                ("--keep-partition",),
                "With --input records: write to the partition each record came from.",
                kind=Kind.FLAG,
            ),
            Option(
                ("--partitioner",),
                "How a partition is chosen: Kafka's hash of the key, librdkafka's, in turn, or "
                "by chance.",
                kind=Kind.CHOICE,
                choices=PARTITIONERS,
                default="murmur2",
            ),
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
            Option(("--rate",), "Write at most so many records a second.", metavar="N"),
            Option(("--each",), "Print each record's offset, not a summary.", kind=Kind.FLAG),
            Option(
                ("--keep-going",),
                "Tell of records that fail and write the others; a retried one may change order.",
                kind=Kind.FLAG,
            ),
            Option(("--dry-run",), "Check all of the input and write nothing.", kind=Kind.FLAG),
        ),
        examples=(
            "produce orders hello world",
            'produce orders --key-field customer \'{"customer": "c42", "total": 12.5}\'',
            "produce orders --file orders.jsonl --input json --compression zstd",
            "produce orders --file orders.csv --input csv --key-field id --header-field region",
            "produce audit --file /var/log/app.log --follow --rate 500",
            "produce copy --input records --file saved.jsonl",
            "produce users --tombstone c42 c43",
            "produce pictures --file cat.png --whole --header type=image/png",
        ),
        run=_produce,
        changes=True,
    ),
)
