"""Topics: list, create, describe, delete. Changes to what is there are in topic_change.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shell.asking import card_text, confirm, tell_limited
from shell.commands.config import settings_as_plain, settings_table
from shell.commands.partition import HEALTH_OPTIONS, Health
from shell.exits import ExitCode, Failed
from shell.observing import keys_where, rows_where
from shell.output import Block, Cell, Facts, Table
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session
from shell.sources import chosen_sources, is_pattern
from shell.values import counted

if TYPE_CHECKING:
    from clusters.admin import AdminClient, CreatedTopic, TopicDetail, TopicSummary

_HEARD_PAUSE_S = 0.1
_TOPIC = Argument("TOPIC", "The topic's name.", kind=Kind.TOPIC)


async def _list(
    session: Session,
    *,
    internal: bool,
    where: str | None,
    under_replicated: bool,
    offline: bool,
    under_min_isr: bool,
    at_min_isr: bool,
) -> None:
    health = Health(under_replicated, offline, under_min_isr, at_min_isr)
    async with session.admin() as admin:
        topics = await admin.topics()
        sick = None
        if health.asked:
            placed = await admin.partitions(min_isr=True)
            sick = {each.topic for each in placed if health.fits(each)}
        shown = [topic for topic in topics if internal or not topic.internal]
        if sick is not None:
            # What is sick is shown also when it is the cluster's own.
            shown = rows_where(topics, sick, lambda topic: topic.topic)
        if where:
            kept = await keys_where(session, where, "topics")
            shown = rows_where(shown, kept, lambda topic: topic.topic)
        session.output.document(
            [topic.to_json() for topic in shown], lambda: [_summary_table(shown)]
        )
        await tell_limited(session, admin, "topic", empty=not topics)


def _summary_table(topics: Sequence[TopicSummary]) -> Table:
    def count(number: int, tone: str) -> object:
        return Cell(number, tone) if number else 0

    return Table(
        ("TOPIC", "PARTITIONS", "REPLICAS", "UNDER-REPLICATED", "OFFLINE"),
        [
            (
                topic.topic,
                topic.partitions,
                topic.replication_factor,
                count(topic.under_replicated, "warn"),
                count(topic.offline, "bad"),
            )
            for topic in topics
        ],
        right=frozenset({"PARTITIONS", "REPLICAS", "UNDER-REPLICATED", "OFFLINE"}),
    )


async def _create(
    session: Session,
    *,
    topic: str,
    partitions: int | None,
    replication: int | None,
    config: Sequence[tuple[str, str]],
    dry_run: bool,
) -> None:
    settings = settings_as_plain(config, "--config ")
    async with session.admin() as admin:
        made = await admin.create_topic(
            topic,
            partitions=-1 if partitions is None else partitions,
            replication_factor=-1 if replication is None else replication,
            configs=settings,
            validate_only=dry_run,
        )
        if dry_run:
            session.output.say(f"Topic {topic} can be created; nothing was changed.")
            session.output.say(f"  {_shape(made)}")
            for name, value in sorted(settings.items()):
                session.output.say(f"  {name}={value}")
            return
        detail = await _once_heard_of(admin, topic, session.settings.timeout_ms / 1000)
    replicas = len(detail.partitions[0].replicas) if detail.partitions else 0
    session.output.say(
        f"Created topic {topic}: {counted(len(detail.partitions), 'partition')}, "
        f"{counted(replicas, 'replica')} each."
    )
    if session.output.format != "table":
        session.output.document(detail.to_json(), list)


async def _once_heard_of(admin: AdminClient, topic: str, within_s: float) -> TopicDetail:
    """A topic that was just made: not every broker has heard of it yet, and any may be asked."""
    from clusters.admin import UnknownTopic

    until = time.monotonic() + within_s
    while True:
        try:
            return await admin.topic(topic)
        except UnknownTopic:
            if time.monotonic() > until:
                raise Failed(
                    f'The topic "{topic}" was created, but a broker has not heard of it yet.',
                    hint="See `quorum describe` for who is behind.",
                ) from None
            await asyncio.sleep(_HEARD_PAUSE_S)


def _shape(made: CreatedTopic) -> str:
    """How many partitions and replicas; a cluster of old need not tell what its defaults are."""

    def told(number: int, what: str) -> str:
        if number < 0:
            return f"as many {what}s as is the cluster's default"
        return f"{number} {what}{'' if number == 1 else 's'}"

    return f"{told(made.partitions, 'partition')}, {told(made.replication_factor, 'replica')} each"


async def _describe(
    session: Session,
    *,
    topic: str,
    all: bool,  # noqa: A002 - the option's name
) -> ExitCode | None:
    async with session.admin() as admin:
        detail = await admin.topic(topic)
    for problem in detail.problems:
        session.output.warn(problem)
    data = detail.to_json()
    if all:
        data |= {"config_entries": [entry.to_json() for entry in detail.config_entries]}
    session.output.document(
        data,
        lambda: [
            *_detail_blocks(detail),
            *([settings_table(detail.config_entries)] if all else []),
        ],
    )
    return ExitCode.UNHEALTHY if detail.problems else None


def _detail_blocks(detail: TopicDetail) -> list[Block]:
    rows: list[tuple[object, ...]] = []
    for partition in detail.partitions:
        missing = [replica for replica in partition.replicas if replica not in partition.isr]
        leader: object = partition.leader
        if partition.leader < 0:
            leader = Cell("none", "bad")
        rows.append(
            (
                partition.partition,
                leader,
                partition.leader_epoch,
                partition.replicas,
                Cell(",".join(map(str, partition.isr)) or "-", "warn")
                if missing
                else partition.isr,
                Cell(",".join(map(str, partition.offline)), "bad") if partition.offline else None,
                partition.start_offset,
                partition.end_offset,
            )
        )
    columns = ("PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "OFFLINE", "START", "END")
    right = frozenset({"PARTITION", "LEADER", "EPOCH", "START", "END"})
    facts: list[tuple[str, object]] = [("topic", detail.topic), ("id", detail.id)]
    facts += [(f"config {name}", value) for name, value in sorted(detail.config.items())]
    return [Facts(facts), Table(columns, rows, right=right)]


async def _delete(session: Session, *, topics: Sequence[str], dry_run: bool) -> None:
    from broker.protocol.errors import LogctlError

    async with session.admin() as admin:
        names = await _named(admin, topics)
        if dry_run:
            from broker.protocol.api_keys import ApiKey

            await admin.check_topics(ApiKey.DELETE_TOPICS, names)
    one = len(names) == 1
    if dry_run:
        what = f"Topic {names[0]}" if one else f"{len(names)} topics ({', '.join(names)})"
        session.output.say(f"{what} would be deleted; nothing was changed.")
        session.output.say(card_text(session, names))
        return
    if not session.settings.yes:
        what = (
            f"topic {names[0]} and all of its" if one else f"{len(names)} topics and all of their"
        )
        listed = "" if one else "".join(f"\n  {name}" for name in names)
        confirm(
            session,
            f"This deletes {what} records. This cannot be undone.{listed}\n"
            f"{card_text(session, names)}",
        )
    async with session.admin() as admin:
        for done, name in enumerate(names):
            try:
                await admin.delete_topic(name)
            except LogctlError as error:
                if one:
                    raise
                left = ", ".join(names[done:])
                raise Failed(f"{error}", hint=f"Not deleted: {left}.") from None
            session.output.say(f"Deleted topic {name}.")


async def _named(admin: AdminClient, words: Sequence[str]) -> list[str]:
    """The topics of words, patterns replaced by what they match; each is there.

    Patterns match none of the cluster's own topics. Raises UnknownTopic or UsageProblem.
    """
    found: dict[str, None] = {}
    known = await admin.topics() if any(map(is_pattern, words)) else []
    own = [each.topic for each in known if not each.internal]
    for word in words:
        if is_pattern(word):
            found |= dict.fromkeys(source.topic for source in chosen_sources([word], own))
        else:
            # Before the first is deleted: one that is mistyped must not leave the rest half done.
            await admin.topic(word, offsets=False)
            found[word] = None
    return list(found)


COMMANDS = (
    Command(
        name="topic list",
        summary="List the topics, with what is wrong with them.",
        options=(
            *HEALTH_OPTIONS,
            Option(
                ("--where",),
                "Only topics for which a condition holds, as in 'size > 1GiB'.",
                kind=Kind.QUERY,
                metavar="CONDITION",
            ),
            Option(("--internal",), "Also the cluster's own topics.", kind=Kind.FLAG),
        ),
        examples=(
            "topic list",
            "topic list --under-replicated",
            "topic list --where 'size > 1GiB' --format json",
        ),
        run=_list,
    ),
    Command(
        name="topic create",
        summary="Create a topic.",
        details="Without --partitions and --replication the cluster's defaults apply.",
        arguments=(Argument("TOPIC", "The new topic's name."),),
        options=(
            Option(("--partitions", "-p"), "How many partitions.", kind=Kind.INTEGER, minimum=1),
            Option(
                ("--replication", "-r"),
                "How many brokers keep a copy of each partition.",
                kind=Kind.INTEGER,
                minimum=1,
            ),
            Option(
                ("--config", "-c"),
                "A topic setting by Kafka's name; 7d and 64MiB are understood; may repeat.",
                kind=Kind.TOPIC_CONFIG,
                many=True,
            ),
            Option(("--dry-run",), "Only ask whether it could be created.", kind=Kind.FLAG),
        ),
        examples=(
            "topic create orders --partitions 6 --replication 3",
            "topic create audit -p 1 -r 3 --config retention.ms=7d",
        ),
        run=_create,
        changes=True,
    ),
    Command(
        name="topic describe",
        summary="Show a topic's partitions: leader, replicas, ISR, offsets; and its settings.",
        arguments=(_TOPIC,),
        options=(Option(("--all",), "Also every setting with its source.", kind=Kind.FLAG),),
        examples=("topic describe orders", "topic describe orders --all"),
        run=_describe,
    ),
    Command(
        name="topic delete",
        summary="Delete topics and all of their records.",
        arguments=(
            Argument(
                "TOPICS",
                "Topics to delete, by name or by a pattern such as 'tmp-*'.",
                kind=Kind.TOPIC,
                many=True,
            ),
        ),
        details="Asked for first, with the topics that a pattern matches, and who reads and writes "
        "them. Patterns match none of the cluster's own topics.",
        options=(Option(("--dry-run",), "Only show what would be lost.", kind=Kind.FLAG),),
        examples=(
            "topic delete orders",
            "topic delete 'tmp-*' --dry-run",
            "topic delete orders payments --yes",
        ),
        run=_delete,
        changes=True,
        destructive=True,
        asks_itself=True,
    ),
)
