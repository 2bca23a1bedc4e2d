"""Brokers as the cluster tells of them: list, describe."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shell.asking import tell_limited, tell_missing
from shell.deploying import free_cell
from shell.exits import ExitCode, Failed, Refused
from shell.output import Block, Cell, Facts, Table
from shell.registry import Argument, Command, Kind, Option, Question
from shell.session import Session
from shell.values import format_bytes

if TYPE_CHECKING:
    from clusters.admin import AdminClient, BrokerInfo, ConfigEntry
    from clusters.log_dirs import LogDirStatus

_TONES = {"up": "good", "fenced": "warn", "down": "bad"}
_ID = Argument("ID", "The broker's id.", kind=Kind.BROKER)
_DRY_RUN = Option(("--dry-run",), "Only show what would be done.", kind=Kind.FLAG)


async def _list(session: Session) -> ExitCode | None:
    from clusters.log_dirs import status_of

    async with session.admin() as admin:
        brokers = await admin.brokers()
        # A broker that does not answer is no reason to keep the list back: its state tells enough.
        found = [(each.broker, status_of(each)) for each in (await admin.log_dirs()).items]
        dirs = {
            broker.id: [each for owner, each in found if owner == broker.id] for broker in brokers
        }
        session.output.document(
            [
                broker.to_json() | {"log_dirs": [each.to_json() for each in dirs[broker.id]]}
                for broker in brokers
            ],
            lambda: [_brokers_table(brokers, dirs)],
        )
        await tell_limited(session, admin, "topic", empty=False, verb="counted")
    return _tell_troubles(session, dirs)


def _tell_troubles(session: Session, dirs: Mapping[int, Sequence[LogDirStatus]]) -> ExitCode | None:
    """Warn of every log dir that cannot be written; returns UNHEALTHY when there is one."""
    troubles = [
        f"broker {broker_id}: {each.trouble}."
        for broker_id, listed in dirs.items()
        for each in listed
        if each.trouble
    ]
    for text in troubles:
        session.output.warn(text)
    return ExitCode.UNHEALTHY if troubles else None


def _brokers_table(
    brokers: Sequence[BrokerInfo], dirs: Mapping[int, Sequence[LogDirStatus]]
) -> Table:
    return Table(
        ("ID", "ADDRESS", "RACK", "STATE", "LEADERS", "REPLICAS", "DISK FREE", "CONTROLLER"),
        [
            (
                broker.id,
                f"{broker.host}:{broker.port}" if broker.host else None,
                broker.rack,
                Cell(broker.state, _TONES.get(broker.state, "")),
                broker.leaders,
                broker.replicas,
                free_cell(dirs[broker.id]),
                "active" if broker.is_controller else None,
            )
            for broker in brokers
        ],
        right=frozenset({"ID", "LEADERS", "REPLICAS", "DISK FREE"}),
    )


async def _describe(session: Session, *, id: int) -> ExitCode | None:  # noqa: A002 - its name
    from clusters.log_dirs import status_of

    async with session.admin() as admin:
        brokers = await admin.brokers()
        found = next((broker for broker in brokers if broker.id == id), None)
        if found is None:
            known = ", ".join(str(broker.id) for broker in brokers)
            raise Failed(f"There is no broker {id}; there are {known}.")
        placed, dirs, entries = await asyncio.gather(
            admin.partitions(), admin.log_dirs([id]), _settings(admin, found)
        )
    sizes = {
        (replica.topic, replica.partition): replica.size_bytes
        for each in dirs.items
        for replica in each.replicas
        if not replica.is_future
    }
    hosted = [
        {
            "topic": each.topic,
            "partition": each.partition,
            "role": "leader" if each.leader == id else "follower",
            "in_sync": id in each.isr,
            "size_bytes": sizes.get((each.topic, each.partition)),
        }
        for each in placed
        if id in each.replicas
    ]
    data = found.to_json() | {
        "log_dirs": [
            {
                **status_of(each).to_json(),
                "used_bytes": each.used_bytes,
            }
            for each in dirs.items
        ],
        "config": {entry.name: entry.value for entry in entries if not entry.is_default},
        "partitions": hosted,
    }
    session.output.document(data, lambda: _blocks(found, data))
    told = _tell_troubles(session, {id: [status_of(each) for each in dirs.items]})
    return tell_missing(session, dirs.failures) or told


async def _settings(admin: AdminClient, broker: BrokerInfo) -> list[ConfigEntry]:
    """What the broker is set to; nothing of one that does not run, which is told elsewhere."""
    from clusters.admin import AdminError

    if broker.state != "up":
        return []
    try:
        return await admin.configs("broker", str(broker.id))
    except AdminError:
        return []


def _blocks(broker: BrokerInfo, data: Mapping[str, Any]) -> list[Block]:
    def size(count: int | None) -> str | None:
        return None if count is None else format_bytes(count)

    facts: list[tuple[str, object]] = [
        ("id", broker.id),
        ("address", broker.address or None),
        ("rack", broker.rack),
        ("state", Cell(broker.state, _TONES.get(broker.state, ""))),
        ("controller", "active" if broker.is_controller else None),
        ("leaders", broker.leaders),
        ("replicas", broker.replicas),
    ]
    facts += [(f"config {name}", value) for name, value in data["config"].items()]
    dirs = Table(
        ("LOG DIR", "USED", "FREE", "TOTAL", "TROUBLE"),
        [
            (
                each["path"],
                size(each["used_bytes"]),
                size(each["usable_bytes"]),
                size(each["total_bytes"]),
                Cell(each["trouble"], "bad") if each["trouble"] else None,
            )
            for each in data["log_dirs"]
        ],
        right=frozenset({"USED", "FREE", "TOTAL"}),
    )
    hosted = Table(
        ("TOPIC", "PARTITION", "ROLE", "IN SYNC", "SIZE"),
        [
            (
                each["topic"],
                each["partition"],
                each["role"],
                True if each["in_sync"] else Cell("no", "warn"),
                size(each["size_bytes"]),
            )
            for each in data["partitions"]
        ],
        right=frozenset({"PARTITION", "SIZE"}),
    )
    return [Facts(facts), *([dirs] if data["log_dirs"] else []), hosted]


async def _unregister(
    session: Session,
    *,
    id: int,  # noqa: A002
    force: bool,
    dry_run: bool,
) -> ExitCode | None:
    async with session.admin() as admin:
        broker = next((each for each in await admin.brokers() if each.id == id), None)
        # Kafka would unregister one that runs, which then could not lead until it is restarted.
        if broker is not None and broker.state == "up":
            raise Refused(
                f"Broker {id} is up.", hint=f"Stop it for good first (`logctl broker stop {id}`)."
            )
        held = 0 if broker is None else broker.replicas
        if held and not force:
            partitions = "1 partition" if held == 1 else f"{held} partitions"
            raise Refused(
                f"Broker {id} still counts as a replica of {partitions}, which would stay short.",
                hint="Move them first (`logctl partition move TOPIC --to-brokers ...`), or add "
                "--force.",
            )
        if dry_run:
            session.output.say(
                f"The cluster would forget broker {id}, which holds {held} "
                f"{'replica' if held == 1 else 'replicas'}; nothing was changed."
            )
            return None
        await admin.unregister_broker(id)
    session.output.say(f"The cluster no longer knows broker {id}.")
    return None


def _unregister_question(session: Session, *, id: int, **_: Any) -> Question:  # noqa: A002
    return Question(f"The cluster forgets broker {id}; started again, it registers anew.")


COMMANDS = (
    Command(
        name="broker list",
        summary="List the brokers: address, rack, state, leaders, replicas.",
        examples=("broker list", "broker list --format json"),
        run=_list,
    ),
    Command(
        name="broker describe",
        summary="Show one broker: its log dirs, its settings, and the partitions that live on it.",
        arguments=(_ID,),
        examples=("broker describe 2",),
        run=_describe,
    ),
    Command(
        name="broker unregister",
        summary="Have the cluster forget a broker that was taken away and holds nothing.",
        arguments=(_ID,),
        options=(
            Option(("--force",), "Also where partitions have a replica on it.", kind=Kind.FLAG),
            _DRY_RUN,
        ),
        examples=("broker unregister 4 --dry-run", "broker unregister 4 --yes"),
        run=_unregister,
        changes=True,
        destructive=True,
        question=_unregister_question,
    ),
)
