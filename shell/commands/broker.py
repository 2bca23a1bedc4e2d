"""Brokers as the cluster tells of them: list, describe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shell.exits import Failed
from shell.output import Block, Cell, Facts, Table
from shell.registry import Argument, Command, Kind
from shell.session import Session

if TYPE_CHECKING:
    from clusters.admin import BrokerInfo

_TONES = {"up": "good", "fenced": "warn", "down": "bad"}
_ID = Argument("ID", "The broker's id.", kind=Kind.BROKER)


async def _list(session: Session) -> None:
    async with session.admin() as admin:
        brokers = await admin.brokers()
    session.output.document(
        [broker.to_json() for broker in brokers], lambda: [_brokers_table(brokers)]
    )


def _brokers_table(brokers: Sequence[BrokerInfo]) -> Table:
    return Table(
        ("ID", "ADDRESS", "RACK", "STATE", "LEADERS", "REPLICAS", "CONTROLLER"),
        [
            (
                broker.id,
                f"{broker.host}:{broker.port}",
                broker.rack,
                Cell(broker.state, _TONES.get(broker.state, "")),
                broker.leaders,
                broker.replicas,
                "active" if broker.is_controller else None,
            )
            for broker in brokers
        ],
        right=frozenset({"ID", "LEADERS", "REPLICAS"}),
    )


async def _describe(session: Session, *, id: int) -> None:  # noqa: A002 - the argument's name
    async with session.admin() as admin:
        brokers = await admin.brokers()
        found = next((broker for broker in brokers if broker.id == id), None)
        if found is None:
            known = ", ".join(str(broker.id) for broker in brokers)
            raise Failed(f"There is no broker {id}; there are {known}.")
        leads: list[tuple[str, int, Sequence[int]]] = []
        follows: list[tuple[str, int, Sequence[int]]] = []
        for summary in await admin.topics():
            detail = await admin.topic(summary.topic)
            for partition in detail.partitions:
                if id in partition.replicas:
                    row = (detail.topic, partition.partition, partition.isr)
                    (leads if partition.leader == id else follows).append(row)
    hosted = sorted([(*row, "leader") for row in leads] + [(*row, "follower") for row in follows])
    data = found.to_json() | {
        "partitions": [
            {"topic": topic, "partition": partition, "role": role, "in_sync": id in isr}
            for topic, partition, isr, role in hosted
        ]
    }

    def blocks() -> list[Block]:
        rows = [
            (topic, partition, role, True if id in isr else Cell("no", "warn"))
            for topic, partition, isr, role in hosted
        ]
        facts = [(name, value) for name, value in found.to_json().items()]
        return [Facts(facts), Table(("TOPIC", "PARTITION", "ROLE", "IN SYNC"), rows)]

    session.output.document(data, blocks)


COMMANDS = (
    Command(
        name="broker list",
        summary="List the brokers: address, rack, state, leaders, replicas.",
        examples=("broker list", "broker list --format json"),
        run=_list,
    ),
    Command(
        name="broker describe",
        summary="Show one broker and the partitions that live on it.",
        arguments=(_ID,),
        examples=("broker describe 2",),
        run=_describe,
    ),
)
