"""Moving replicas to other brokers: a plan by hand, from a file or generated; progress; cancel."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shell.asking import confirm
from shell.commands.partition import named_partitions
from shell.commands.partition_throttle import (
    LEFT,
    brokers_of,
    check,
    copies_of,
    rate_text,
    read_rate,
    release,
)
from shell.exits import ExitCode, Failed, UsageProblem
from shell.output import Table
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session
from shell.sources import parse_places
from shell.values import counted, format_bytes, format_duration

if TYPE_CHECKING:
    from clusters.admin import AdminClient, PlacedPartition
    from clusters.admin.throttles import Copying

Partition = tuple[str, int]
Plan = dict[Partition, tuple[int, ...]]
POLL_S = 0.5
# Partitions told one by one.
_TOLD = 5


def read_by_hand(text: str) -> tuple[list[tuple[str, int | None]], tuple[int, ...]]:
    """The places and brokers of TOPIC=ID,ID or TOPIC:PARTITIONS=ID,ID. Raises UsageProblem."""
    place, _, brokers = text.rpartition("=")
    if not place:
        raise UsageProblem(f"'{text}' is not TOPIC:PARTITIONS=ID,ID.")
    return parse_places([place]), _ids(brokers, text)


def ordered(texts: Sequence[str], placed: Iterable[PlacedPartition]) -> Plan:
    """The plan of words such as orders:0-3=2,1,3, in that order. Raises UsageProblem."""
    plan: Plan = {}
    for places, ids in map(read_by_hand, texts):
        named = set(places)
        for each in placed:
            key = (each.topic, each.partition)
            if key not in named and (each.topic, None) not in named:
                continue
            if plan.setdefault(key, ids) != ids:
                raise UsageProblem(f"{each.topic}:{each.partition} is given two lists of brokers.")
    return plan


def _ids(text: str, whole: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageProblem(f"'{whole}': broker ids are numbers with commas between, as in 1,2,3.")
    ids = tuple(int(part) for part in parts)
    if len(set(ids)) != len(ids):
        raise UsageProblem(f"'{whole}' names a broker twice.")
    return ids


def read_file(path: str) -> Plan:
    """A plan in the JSON of Kafka's reassignment files. Raises Failed with what is wrong."""
    try:
        with open(path, encoding="utf-8") as file:
            entries = json.load(file)["partitions"]
        plan: Plan = {}
        for entry in entries:
            topic, index, replicas = entry["topic"], entry["partition"], entry["replicas"]
            if not isinstance(topic, str) or type(index) is not int or not replicas:
                raise TypeError
            plan[topic, index] = _ids(",".join(map(str, replicas)), f"{topic}:{index}")
        return plan
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError):
        raise Failed(
            f"{path} is no plan; expected is "
            '{"partitions": [{"topic": "orders", "partition": 0, "replicas": [1, 2, 3]}]}.'
        ) from None


async def _move(
    session: Session,
    *,
    partitions: Sequence[str],
    to_brokers: str | None,
    replication: int | None,
    file: str | None,
    save: str | None,
    throttle: str | None,
    cancel: bool,
    wait: bool,
    dry_run: bool,
) -> ExitCode | None:
    rate = None if throttle is None else read_rate(throttle)
    if cancel:
        return await _cancel(session, partitions, dry_run=dry_run)
    async with session.admin() as admin:
        plan, placed = await _plan(admin, partitions, to_brokers, replication, file)
        before = {(p.topic, p.partition): p for p in placed}
        plan = {key: new for key, new in plan.items() if before[key].replicas != new}
        _check_writes(plan, before)
        _show(session, plan, before)
        if save is not None:
            _save(save, plan)
            session.output.say(f"Saved the plan to {save}.")
        if not plan:
            session.output.say("Nothing has to move.")
            return None
        amount = await _bytes_to_copy(admin, plan, before)
        shown = "an amount that is not known" if amount is None else format_bytes(amount)
        moves = "1 partition moves" if len(plan) == 1 else f"{len(plan)} partitions move"
        session.output.say(f"{moves}; {shown} to copy.")
        copies = copies_of(plan, {key: each.replicas for key, each in before.items()})
        if rate is not None:
            await _tell_throttle(session, admin, copies, rate, amount)
        _tell_preferred(session, plan, before)
        if dry_run:
            from broker.protocol.api_keys import ApiKey

            await admin.check_cluster(ApiKey.ALTER_PARTITION_REASSIGNMENTS)
            session.output.say("Nothing was changed.")
            return None
    confirm(session, _question(plan, before))
    if rate is None or not copies:
        async with session.admin() as admin:
            await admin.reassign(plan)
    else:
        await _begin_throttled(session, plan, copies, rate)
    session.output.say("The move has begun.")
    if not wait:
        session.output.say("`partition moves` shows how far it is.", "dim")
        if rate is not None and copies:
            session.output.say(f"The throttle stays when it is done: {LEFT}")
        return None
    return await _waited(session, plan, copies if rate is not None else {})


async def _tell_throttle(
    session: Session,
    admin: AdminClient,
    copies: Mapping[Partition, Copying],
    rate: int,
    amount: int | None,
) -> None:
    """What a throttle means for this move. Raises Failed where brokers do not take it."""
    if not copies:
        session.output.say("Nothing is copied, so nothing is throttled.")
        return
    await check(admin, copies, rate)
    ids = ", ".join(map(str, sorted(brokers_of(copies))))
    least = ""
    if amount:
        # No sooner than the broker that gets the most has it all; all of it at one is the longest.
        targets = {broker for each in copies.values() for broker in each.targets}
        shortest = format_duration(round(amount / len(targets) / rate * 1000))
        least = f"; it takes {shortest} or longer"
    session.output.say(f"Brokers {ids} copy at most {rate_text(rate)} each{least}.")


async def _begin_throttled(
    session: Session, plan: Plan, copies: Mapping[Partition, Copying], rate: int
) -> None:
    """Throttle first, so that nothing is copied at full speed; taken back when nothing moves."""
    from broker.protocol.errors import LogctlError
    from clusters.admin.throttles import hold_back

    try:
        async with session.admin() as admin:
            await hold_back(admin, copies, rate)
            try:
                await admin.reassign(plan)
            except LogctlError:
                await release(session, {topic for topic, _ in copies}, brokers_of(copies))
                raise
    except asyncio.CancelledError:
        # The cluster may have got what it has not answered yet.
        session.output.say(
            f"The move may have begun (`partition moves` tells) and stays throttled. {LEFT}"
        )
        raise


async def _waited(
    session: Session, plan: Plan, copies: Mapping[Partition, Copying]
) -> ExitCode | None:
    """Wait for the end of a move, and take its throttle away with it."""
    from broker.protocol.errors import LogctlError

    try:
        code = await _follow(session, plan)
    except Failed:
        # Cancelled by somebody, or replaced by another: what held it back holds nothing back.
        if copies:
            await release(session, {topic for topic, _ in copies}, brokers_of(copies))
        raise
    except (asyncio.CancelledError, LogctlError):
        session.output.end_progress()
        stays = f" and stays throttled. {LEFT}" if copies else "."
        session.output.say(f"The move goes on{stays} `partition move --cancel` stops it.")
        raise
    if copies:
        await release(session, {topic for topic, _ in copies}, brokers_of(copies))
    return code


def _question(plan: Plan, before: Mapping[Partition, PlacedPartition]) -> str:
    fewer = sum(max(0, len(before[key].replicas) - len(new)) for key, new in plan.items())
    gone = f" It takes {counted(fewer, 'replica')} away." if fewer else ""
    return f"This moves replicas of {counted(len(plan), 'partition')}.{gone}"


def _check_writes(plan: Plan, before: Mapping[Partition, PlacedPartition]) -> None:
    """Refuse what would keep everybody from writing with acks=all. Raises UsageProblem."""
    for key, new in sorted(plan.items()):
        least = before[key].min_isr
        if least is not None and len(new) < least <= len(before[key].replicas):
            raise UsageProblem(
                f"{key[0]}:{key[1]} would have {len(new)} of the {least} replicas that "
                "min.insync.replicas wants: nobody could write with acks=all.",
                hint=f"First: config set topic {key[0]} min.insync.replicas={len(new)}",
            )


async def _plan(
    admin: AdminClient,
    texts: Sequence[str],
    to_brokers: str | None,
    replication: int | None,
    file: str | None,
) -> tuple[Plan, list[PlacedPartition]]:
    brokers = await admin.brokers()
    up = {broker.id for broker in brokers if broker.state == "up"}
    by_hand = [text for text in texts if "=" in text]
    made = to_brokers is not None or replication is not None
    ways = sum((bool(by_hand), made, file is not None))
    if ways != 1 or (by_hand and len(by_hand) != len(texts)) or (file and texts):
        raise UsageProblem(
            "Say where to in one way: TOPIC:PARTITIONS=ID,ID..., or TOPIC --to-brokers ID,ID, or "
            "TOPIC --replication NUMBER, or --file PLAN.json."
        )
    if made:
        if replication is not None and not texts:
            raise UsageProblem("Name the topics that --replication is for.")
        racks = {broker.id: broker.rack for broker in brokers}
        targets = sorted(up)
        if to_brokers is not None:
            targets = [*_ids(to_brokers, f"--to-brokers {to_brokers}")]
            _check_up(targets, up)
        placed = await named_partitions(admin, texts)
        down: set[int] = set()
        if to_brokers is None:
            # What they hold may stay: they may come back.
            down = {broker for each in placed for broker in each.replicas} - up
        return _made(placed, [*targets, *sorted(down)], racks, replication, down), placed
    if file is None:
        for _, ids in map(read_by_hand, by_hand):
            _check_up(ids, up)
        placed = await named_partitions(admin, [text.rpartition("=")[0] for text in by_hand])
        return ordered(by_hand, placed), placed
    plan = read_file(file)
    for ids in plan.values():
        _check_up(ids, up)
    placed = await named_partitions(admin, [f"{topic}:{index}" for topic, index in plan])
    return plan, placed


def _made(
    placed: Sequence[PlacedPartition],
    targets: Sequence[int],
    racks: Mapping[int, str | None],
    replication: int | None,
    down: Collection[int],
) -> Plan:
    from clusters.admin.moves import NotEnoughBrokers, placed_on

    current = {(each.topic, each.partition): each.replicas for each in placed}
    in_sync = {(each.topic, each.partition): each.isr for each in placed}
    try:
        return placed_on(current, targets, racks, count=replication, in_sync=in_sync, no_new=down)
    except NotEnoughBrokers as error:
        raise UsageProblem(f"{error}.") from None


def _check_up(ids: Sequence[int], up: set[int]) -> None:
    missing = sorted(set(ids) - up)
    if missing:
        raise UsageProblem(
            f"Broker {', '.join(map(str, missing))} is not up; up are "
            f"{', '.join(map(str, sorted(up)))}."
        )


def _show(session: Session, plan: Plan, before: Mapping[Partition, PlacedPartition]) -> None:
    data = [
        {
            "topic": topic,
            "partition": index,
            "before": list(before[topic, index].replicas),
            "after": list(new),
        }
        for (topic, index), new in sorted(plan.items())
    ]
    session.output.document(
        data,
        lambda: [
            Table(
                ("TOPIC", "PARTITION", "REPLICAS", "BECOME"),
                [(d["topic"], d["partition"], d["before"], d["after"]) for d in data],
                right=frozenset({"PARTITION"}),
            )
        ],
    )


def _tell_preferred(
    session: Session, plan: Plan, before: Mapping[Partition, PlacedPartition]
) -> None:
    """Say whose first replica changes: it does not lead for that, but on an election."""
    changed = [
        f"{topic}:{index} from {before[topic, index].replicas[0]} to {new[0]}"
        for (topic, index), new in sorted(plan.items())
        if before[topic, index].replicas[:1] != new[:1]
    ]
    if changed:
        more = f" and {len(changed) - _TOLD} more" if len(changed) > _TOLD else ""
        session.output.say(f"Preferred leaders change: {', '.join(changed[:_TOLD])}{more}.")
        session.output.say("`partition elect` lets them lead once the replicas moved.", "dim")


def _save(path: str, plan: Plan) -> None:
    entries = [
        {"topic": topic, "partition": index, "replicas": list(replicas)}
        for (topic, index), replicas in sorted(plan.items())
    ]
    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"version": 1, "partitions": entries}, file, indent=2)
            file.write("\n")
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}.") from None


async def _sizes(admin: AdminClient) -> dict[tuple[int, str, int], int]:
    return {
        (each.broker, replica.topic, replica.partition): replica.size_bytes
        for each in (await admin.log_dirs()).items
        for replica in each.replicas
        if not replica.is_future
    }


async def _bytes_to_copy(
    admin: AdminClient, plan: Plan, before: Mapping[Partition, PlacedPartition]
) -> int | None:
    sizes = await _sizes(admin)
    total = 0
    for key, new in plan.items():
        added = len(set(new) - set(before[key].replicas))
        size = sizes.get((before[key].leader, *key))
        if added and size is None:
            return None
        total += added * (size or 0)
    return total


async def progress(admin: AdminClient) -> list[dict[str, Any]]:
    """The moves under way, with the bytes that the new replicas still lack (None: not known)."""
    moves, sizes, placed = await asyncio.gather(
        admin.reassignments(), _sizes(admin), admin.partitions()
    )
    leaders = {(each.topic, each.partition): each for each in placed}
    found = []
    for move in moves:
        each = leaders.get((move.topic, move.partition))
        whole = None
        if each is not None:
            whole = sizes.get((each.leader, move.topic, move.partition))
        left = None
        if whole is not None and each is not None:
            left = sum(
                max(0, whole - sizes.get((broker, move.topic, move.partition), 0))
                for broker in move.adding
                if broker not in each.isr
            )
        found.append(move.to_json() | {"bytes_left": left})
    return found


async def _follow(session: Session, plan: Plan) -> ExitCode | None:
    keys = set(plan)
    began = time.monotonic()
    first: int | None = None
    waits: set[int] = set()
    while True:
        async with session.admin() as admin:
            moves = [
                move for move in await progress(admin) if (move["topic"], move["partition"]) in keys
            ]
            waits = await _tell_waiting(session, admin, moves, waits)
        if not moves:
            session.output.end_progress()
            took = format_duration(round((time.monotonic() - began) * 1000))
            return await _tell_moved(session, plan, took)
        left = sum(move["bytes_left"] or 0 for move in moves)
        first = max(first or 0, left)
        rate = (first - left) / max(0.001, time.monotonic() - began)
        eta = f", {format_duration(round(left / rate * 1000))} to go" if rate > 1 and left else ""
        session.output.progress(
            f"{counted(len(moves), 'partition')} moving, {format_bytes(left)} left{eta}"
        )
        await asyncio.sleep(POLL_S)


async def _tell_waiting(
    session: Session, admin: AdminClient, moves: Sequence[Mapping[str, Any]], told: set[int]
) -> set[int]:
    """Say once which brokers moves wait for because they are not up; returns those."""
    adding = {broker for move in moves for broker in move["adding"]}
    states = {broker.id: broker.state for broker in await admin.brokers()} if adding else {}
    waits = {broker for broker in adding if states.get(broker) != "up"}
    for broker in sorted(waits - told):
        state = states.get(broker, "gone")
        session.output.warn(
            f"broker {broker} is {state}: what goes there waits until it is up again, or until "
            "`partition move --cancel`."
        )
    for broker in sorted((told - waits) & adding):
        session.output.say(f"Broker {broker} is up again.")
    return waits


async def _tell_moved(session: Session, plan: Plan, took: str) -> ExitCode | None:
    """What became of a move that is no longer under way: done, or cancelled by somebody."""
    async with session.admin() as admin:
        now = {(each.topic, each.partition): each.replicas for each in await admin.partitions()}
    undone = sorted(key for key, wanted in plan.items() if set(now.get(key, ())) != set(wanted))
    if len(undone) < len(plan):
        session.output.say(f"{counted(len(plan) - len(undone), 'partition')} moved in {took}.")
    if not undone:
        return None
    for topic, index in undone:
        held = now.get((topic, index))
        where = "is gone" if held is None else f"is on {','.join(map(str, held))}"
        session.output.warn(f"{topic}:{index} was not moved: it {where}.")
    raise Failed(f"{len(undone)} of {len(plan)} moves were cancelled or replaced by others.")


async def _cancel(session: Session, texts: Sequence[str], *, dry_run: bool) -> ExitCode | None:
    named = parse_places(texts)
    async with session.admin() as admin:
        moving = [
            (move.topic, move.partition)
            for move in await admin.reassignments()
            if not named or (move.topic, None) in named or (move.topic, move.partition) in named
        ]
        if not moving:
            session.output.say("No such move is under way.")
            return None
        shown = ", ".join(f"{topic}:{index}" for topic, index in moving)
        if dry_run:
            session.output.say(f"Would stop moving {shown}; nothing was changed.")
            return None
        throttled = await _throttled(admin, {topic for topic, _ in moving})
        await admin.reassign(dict.fromkeys(moving))
    session.output.say(f"Stopped moving {shown}; the old replicas stay.")
    if throttled:
        await release(session, throttled)
    return None


async def _throttled(admin: AdminClient, topics: Collection[str]) -> set[str]:
    """Those of the topics whose copying is throttled."""
    from clusters.admin.throttles import REPLICAS

    told = await admin.topic_settings(topics, REPLICAS)
    return {topic for topic, of in told.items() if any(of.values())}


async def _moves(session: Session) -> None:
    async with session.admin() as admin:
        data = await progress(admin)
    columns = ("TOPIC", "PARTITION", "REPLICAS", "ADDING", "REMOVING", "LEFT")
    session.output.document(
        data,
        lambda: [
            Table(
                columns,
                [
                    (
                        each["topic"],
                        each["partition"],
                        each["replicas"],
                        each["adding"],
                        each["removing"],
                        None if each["bytes_left"] is None else format_bytes(each["bytes_left"]),
                    )
                    for each in data
                ],
                right=frozenset({"PARTITION", "LEFT"}),
            )
        ],
    )


COMMANDS = (
    Command(
        name="partition move",
        summary="Move replicas to other brokers, or stop moving them.",
        details="The plan is given by hand (TOPIC:PARTITIONS=ID,ID, the first is preferred to "
        "lead), read from Kafka's reassignment JSON, or made for --to-brokers and --replication: "
        "what may stay stays, the rest spreads over racks and over the brokers with the least. Of "
        "fewer replicas those go first that are not in sync. It is shown and asked for before "
        "anything moves.",
        arguments=(
            Argument(
                "PARTITIONS",
                "TOPIC, TOPIC:PARTITIONS, or either with =ID,ID.",
                required=False,
                many=True,
            ),
        ),
        options=(
            Option(("--to-brokers",), "Brokers that hold it afterwards.", metavar="ID,ID..."),
            Option(
                ("--replication", "-r"),
                "How many replicas each has afterwards, on brokers that are up or on those of "
                "--to-brokers.",
                kind=Kind.INTEGER,
                minimum=1,
            ),
            Option(("--file",), "Read the plan from a file.", kind=Kind.FILE, metavar="PLAN.json"),
            Option(("--save",), "Write the plan to a file.", kind=Kind.FILE, metavar="PLAN.json"),
            Option(
                ("--throttle",),
                "Copy at most so many bytes per second at each broker, as in 10MiB. It is taken "
                "away at the end with --wait.",
                metavar="RATE",
            ),
            Option(("--cancel",), "Stop moves that are under way.", kind=Kind.FLAG),
            Option(("--wait",), "Show progress until everything has moved.", kind=Kind.FLAG),
            Option(("--dry-run",), "Only show the plan.", kind=Kind.FLAG),
        ),
        examples=(
            "partition move orders:0=3,1,2 --wait",
            "partition move orders:0-2=3,1,2 orders:3-5=1,2,3 --dry-run",
            "partition move orders --to-brokers 1,2,4 --dry-run --save plan.json",
            "partition move --file plan.json --wait --yes",
            "partition move orders --to-brokers 1,2,4 --throttle 10MiB --wait",
            "partition move orders payments --replication 3 --wait",
            "partition move --cancel",
        ),
        run=_move,
        changes=True,
    ),
    Command(
        name="partition moves",
        summary="List the moves of replicas under way, and the bytes left to copy.",
        examples=("partition moves",),
        run=_moves,
    ),
)
