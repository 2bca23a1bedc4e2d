"""Topics: list, create, describe, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shell.exits import UsageProblem
from shell.output import Block, Cell, Facts, Table
from shell.registry import Argument, Command, Kind, Option, Question
from shell.session import Session

if TYPE_CHECKING:
    from clusters.admin import TopicDetail, TopicSummary

_TOPIC = Argument("TOPIC", "The topic's name.", kind=Kind.TOPIC)


async def _list(session: Session, *, internal: bool) -> None:
    async with session.admin() as admin:
        topics = await admin.topics()
    shown = [topic for topic in topics if internal or not topic.internal]
    session.output.document([topic.to_json() for topic in shown], lambda: [_summary_table(shown)])


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


def _settings(config: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Settings as the cluster wants them: `7d` and `64MiB` become plain numbers."""
    from clusters.units import setting_text

    settings: dict[str, str] = {}
    for name, value in config:
        try:
            settings[name] = setting_text(name, value)
        except ValueError as error:
            raise UsageProblem(f"--config {name}={value}: {error}") from error
    return settings


async def _create(
    session: Session,
    *,
    topic: str,
    partitions: int | None,
    replication: int | None,
    config: Sequence[tuple[str, str]],
    dry_run: bool,
) -> None:
    settings = _settings(config)
    async with session.admin() as admin:
        await admin.create_topic(
            topic,
            partitions=-1 if partitions is None else partitions,
            replication_factor=-1 if replication is None else replication,
            configs=settings,
            validate_only=dry_run,
        )
        if dry_run:
            session.output.say(f"Topic {topic} can be created; nothing was changed.")
            return
        detail = await admin.topic(topic)
    replicas = len(detail.partitions[0].replicas) if detail.partitions else 0
    session.output.say(
        f"Created topic {topic}: {len(detail.partitions)} partitions, {replicas} replicas each."
    )
    if session.output.format != "table":
        session.output.document(detail.to_json(), list)


async def _describe(session: Session, *, topic: str) -> None:
    async with session.admin() as admin:
        detail = await admin.topic(topic)
    for problem in detail.problems:
        session.output.warn(problem)
    session.output.document(detail.to_json(), lambda: _detail_blocks(detail))


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


async def _delete(session: Session, *, topic: str) -> None:
    async with session.admin() as admin:
        await admin.delete_topic(topic)
    session.output.say(f"Deleted topic {topic}.")


def _delete_question(session: Session, *, topic: str, **_: Any) -> Question:
    return Question(f"This deletes topic {topic} and all of its records.")


COMMANDS = (
    Command(
        name="topic list",
        summary="List the topics, with what is wrong with them.",
        options=(Option(("--internal",), "Also the cluster's own topics.", kind=Kind.FLAG),),
        examples=("topic list", "topic list --format json"),
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
                kind=Kind.PAIR,
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
        examples=("topic describe orders", "topic describe orders --format json"),
        run=_describe,
    ),
    Command(
        name="topic delete",
        summary="Delete a topic and all of its records.",
        arguments=(_TOPIC,),
        examples=("topic delete orders", "topic delete orders --yes"),
        run=_delete,
        changes=True,
        destructive=True,
        question=_delete_question,
    ),
)
