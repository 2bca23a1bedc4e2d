"""The gate around each restart: may this broker be stopped now, and has it come back whole?

Decisions are pure (`obstacles`, `unheard`, `missing_after`); around them, bounded waits that name
what they wait for. Must never take a broker for a living one because it was so before: in-sync
replicas are told for up to `replica.lag.time.max.ms` after a broker was cut off, so those that
the cluster will rest on must have fetched since the question was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from broker.protocol.errors import LogctlError
from clusters.admin.client import AdminClient
from clusters.admin.model import ClusterInfo, QuorumInfo
from clusters.errors import GateClosed, OperationError
from clusters.phases.base import Node, Run
from clusters.phases.voters import lacking_majority

REQUEST_MS = 5_000
TOPICS_AT_ONCE = 8
LISTED_MAX = 5
# A voter counts as caught up when it is this close to what is committed.
QUORUM_LAG_MAX = 50
# Voters fetch several times a second; the leader's own time is the newest.
QUORUM_SILENCE_MS = 5_000
# Every node fetches the metadata log at least twice a second, also when nothing happens.
HEARD_WITHIN_S = 2.0
HEARD_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionReading:
    """One partition, with the min.insync.replicas that holds for it."""

    topic: str
    partition: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    min_isr: int

    def __str__(self) -> str:
        in_sync = ", ".join(map(str, self.isr)) or "none"
        return f"{self.topic}-{self.partition} (in sync: {in_sync}; min {self.min_isr})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A cluster at one moment."""

    cluster: ClusterInfo
    quorum: QuorumInfo | None
    partitions: tuple[PartitionReading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacles:
    """Why a broker must not be stopped: what may pass by itself, and what never will.

    `pause` is what stops for the moment of a restart and is no reason against it.
    """

    passing: tuple[str, ...]
    lasting: tuple[str, ...]
    pause: str = ""


def unheard(before: QuorumInfo, now: QuorumInfo) -> frozenset[int]:
    """Nodes that did not fetch the metadata log between two answers of one leader.

    All times are the leader's own. Empty when it tells none (DescribeQuorum v0).
    """
    asked_ms = max((each.last_fetch_ms for each in (*before.voters, *before.observers)), default=0)
    if asked_ms <= 0:
        return frozenset()
    return frozenset(
        each.id
        for each in (*now.voters, *now.observers)
        if each.id != now.leader_id and each.last_fetch_ms <= asked_ms
    )


def obstacles(
    reading: Reading,
    broker_id: int,
    silent: AbstractSet[int] = frozenset(),
    *,
    named: AbstractSet[int] = frozenset(),
) -> Obstacles:
    """What would break if a broker stopped now and those that are `silent` were lost already.

    `named` are the voters of the cluster file. One that it does not name any more and that does not
    run is counted by the quorum until the others have their new settings.
    """
    passing: list[str] = []
    lasting: list[str] = []
    pause = ""
    for partition in reading.partitions:
        if broker_id not in partition.isr:
            continue
        left = len(set(partition.isr) - silent - {broker_id})
        if left >= max(1, partition.min_isr):
            continue
        possible = len(partition.replicas) - 1 >= max(1, partition.min_isr)
        what = "offline" if left == 0 else "below min.insync.replicas"
        (passing if possible else lasting).append(f"{partition} would go {what}")
    if reading.quorum is not None:
        voters = reading.quorum.voters
        if any(voter.id == broker_id for voter in voters):
            ready = [
                voter.id
                for voter in voters
                if voter.id not in {broker_id, *silent} and _close(reading, voter.id)
            ]
            majority = len(voters) // 2 + 1
            lost = {voter.id for voter in voters} - {broker_id, *ready}
            others = {voter.id for voter in voters}
            if len(ready) < majority and len(lost) == 1 and others - lost == named:
                # One voter less: its majorities and the new ones have a voter in common.
                pause = (
                    f"broker {min(lost)}, which the file no longer names, does not run, and the "
                    f"quorum still counts it: until broker {broker_id} is back nobody is elected, "
                    "and topics and settings do not change"
                )
            elif len(ready) < majority:
                text = (
                    f"only {len(ready)} of {len(voters)} voters would be left in the quorum, "
                    f"{majority} are needed"
                )
                (lasting if len(voters) - 1 < majority else passing).append(text)
    return Obstacles(passing=tuple(passing), lasting=tuple(lasting), pause=pause)


def missing_after(reading: Reading, broker_id: int, *, is_broker: bool) -> str:
    """What a restarted broker still lacks; "" when it is whole again."""
    if is_broker:
        states = {broker.id: broker.state for broker in reading.cluster.brokers}
        if states.get(broker_id) != "up":
            return f"waiting for broker {broker_id} to register and catch up"
    behind = [
        partition
        for partition in reading.partitions
        if broker_id in partition.replicas and broker_id not in partition.isr
    ]
    if behind:
        return f"waiting for broker {broker_id} to be in sync for {_listed(behind)}"
    if reading.cluster.controller_id < 0:
        return "waiting for a controller to be elected"
    if reading.quorum is not None:
        known = {voter.id for voter in reading.quorum.voters}
        if broker_id in known and not _close(reading, broker_id):
            return f"waiting for voter {broker_id} to catch up with the quorum"
    return ""


def _close(reading: Reading, voter_id: int) -> bool:
    """Whether a voter lives and has what is committed; the end that it last told may be old."""
    assert reading.quorum is not None
    quorum = reading.quorum
    if voter_id == quorum.leader_id:
        return True
    if any(broker.id == voter_id and broker.state != "up" for broker in reading.cluster.brokers):
        return False
    now_ms = max(max(each.last_fetch_ms, each.last_caught_up_ms) for each in quorum.voters)
    for voter in quorum.voters:
        if voter.id == voter_id:
            silent = 0 < voter.last_fetch_ms < now_ms - QUORUM_SILENCE_MS
            return not silent and voter.log_end_offset >= max(
                0, quorum.high_watermark - QUORUM_LAG_MAX
            )
    return False


def _listed(partitions: Sequence[PartitionReading]) -> str:
    names = [f"{each.topic}-{each.partition}" for each in partitions[:LISTED_MAX]]
    more = len(partitions) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _some(reasons: Sequence[str]) -> str:
    """The first reasons, and how many more there are."""
    more = len(reasons) - LISTED_MAX
    return "; ".join(reasons[:LISTED_MAX]) + (f"; and {more} more" if more > 0 else "")


def _admin(run: Run, without: int | None) -> AdminClient:
    """A client that asks the broker `without` last."""
    hosts = [host for host in run.spec.hosts if "broker" in host.roles]
    addresses = [
        f"{host.reachable_at}:{run.spec.client_port(host)}"
        for host in sorted(hosts, key=lambda host: host.id == without)
    ]
    return AdminClient(addresses, timeout_ms=REQUEST_MS, network=run.network)


async def read_cluster(run: Run, *, without: int | None = None) -> Reading:
    """Ask the cluster for all that the gate looks at. Raises LogctlError."""
    async with _admin(run, without) as admin:
        cluster, quorum = await admin.cluster(), await admin.quorum()
        default_min = int(run.spec.settings.get("min.insync.replicas", "1") or 1)
        slots = asyncio.Semaphore(TOPICS_AT_ONCE)

        async def read(name: str) -> list[PartitionReading]:
            async with slots:
                detail = await admin.topic(name, offsets=False)
            text = detail.config.get("min.insync.replicas", "")
            minimum = int(text) if text.isdecimal() else default_min
            return [
                PartitionReading(
                    topic=name,
                    partition=each.partition,
                    replicas=tuple(each.replicas),
                    isr=tuple(each.isr),
                    leader=each.leader,
                    min_isr=minimum,
                )
                for each in detail.partitions
            ]

        found = await asyncio.gather(*(read(topic.topic) for topic in await admin.topics()))
    return Reading(
        cluster=cluster, quorum=quorum, partitions=tuple(each for part in found for each in part)
    )


async def find_obstacles(run: Run, node: Node) -> Obstacles:
    """What would break if a broker stopped now; those that are left must be heard meanwhile.

    Takes as long as the next fetch of the brokers that matter, `HEARD_WITHIN_S` when one of them
    does not come. Raises LogctlError when the cluster does not answer.
    """
    reading = await read_cluster(run, without=node.id)
    before = reading.quorum
    found = obstacles(reading, node.id, named=run.voters)
    if before is None or found.passing or found.lasting:
        return found
    deadline = asyncio.get_running_loop().time() + HEARD_WITHIN_S
    async with _admin(run, node.id) as admin:
        while True:
            now = await admin.quorum()
            if (now.leader_id, now.leader_epoch) != (before.leader_id, before.leader_epoch):
                before = now
            silent = unheard(before, now) - {node.id}
            broken = obstacles(replace(reading, quorum=now), node.id, silent, named=run.voters)
            reasons = (*broken.passing, *broken.lasting)
            # That one does not run is not said of who has merely not fetched since just now.
            late = asyncio.get_running_loop().time() >= deadline
            if not reasons and (late or not broken.pause):
                return broken
            if late:
                names = " and ".join(f"broker {each}" for each in sorted(silent))
                text = f"controller {now.leader_id} does not hear {names}: {_some(reasons)}"
                return Obstacles(passing=(text,), lasting=())
            await asyncio.sleep(HEARD_INTERVAL_S)


async def gate_before(run: Run, node: Node, phase: str) -> None:
    """Wait until a broker may be stopped. Raises GateClosed with what it would break."""
    if len(run.spec.hosts) == 1:
        return  # there is nobody to take over, so nothing to wait for
    loop = asyncio.get_running_loop()
    deadline = loop.time() + run.spec.rollout.timeout / 1000
    told = ""
    while True:
        answered = True
        try:
            found = await find_obstacles(run, node)
            reasons = [*found.passing, *found.lasting]
        except LogctlError as error:
            answered = False
            found, reasons = (
                Obstacles(passing=(), lasting=()),
                [f"the cluster did not answer: {error}"],
            )
            if len(run.targets) < len(run.spec.hosts) and (lacking := await lacking_majority(run)):
                raise GateClosed(f"Broker {node.id} was not stopped: {lacking}.") from None
        if run.force and answered:
            for reason in reasons:
                run.say(phase, "warning", f"forced: {reason}", node.id)
            return
        if not reasons:
            if found.pause:
                run.say(phase, "warning", found.pause, node.id)
            return
        shown = _some(reasons)
        if found.lasting:
            raise GateClosed(
                f"Broker {node.id} was not stopped: {shown}. Waiting does not help: add replicas "
                "or voters, or go on with --force, which interrupts what is named here."
            )
        if loop.time() >= deadline:
            raise GateClosed(
                f"Broker {node.id} was not stopped: after {run.spec.rollout.timeout / 1000:g} s "
                f"still {shown}. Heal the cluster first (`logctl cluster status`)."
            )
        if shown != told:
            told = shown
            run.say(phase, "wait", f"not yet: {shown}", node.id)
        await asyncio.sleep(run.spec.rollout.interval / 1000)


async def gate_roll(run: Run, ids: Sequence[int]) -> None:
    """Before the first of several restarts: raises GateClosed when one of them is never possible.

    Else it would be found out when half of the brokers run with another release.
    """
    if run.force or len(run.spec.hosts) == 1:
        return
    try:
        reading = await read_cluster(run)
    except LogctlError:
        return  # the gate of the first broker waits, and tells
    refused = {each: obstacles(reading, each, named=run.voters).lasting for each in ids}
    lines = [f"broker {each}: {_some(found)}" for each, found in refused.items() if found]
    if lines:
        raise GateClosed(
            f"Nothing was restarted; {'. '.join(lines)}. Waiting does not help: add replicas or "
            "voters, or go on with --force, which interrupts what is named here."
        )


async def gate_stop(run: Run, node: Node) -> None:
    """Look once whether a broker may be stopped by hand. Raises GateClosed with what would break.

    A cluster that does not answer has nothing to lose; brokers of this machine are for drills.
    """
    if node.connection.is_local or not node.found.running:
        return
    try:
        found = await find_obstacles(run, node)
    except LogctlError:
        return
    reasons = [*found.passing, *found.lasting]
    if reasons:
        raise GateClosed(
            f"Broker {node.id} was not stopped: {_some(reasons)}. "
            "Stop it nevertheless with --force."
        )


async def gate_after(run: Run, node: Node, phase: str) -> None:
    """Wait for stable readings of a broker that is whole again. Raises OperationError."""
    loop = asyncio.get_running_loop()
    rollout = run.spec.rollout
    deadline = loop.time() + rollout.timeout / 1000
    stable, told, pid = 0, "", None
    while True:
        view = await node.driver.look()
        if (pid is not None and view.pid != pid) or view.state in {"stopped", "stale"}:
            ended = "ended" if view.state != "running" else "was restarted by its supervisor"
            raise OperationError(f"Broker {node.id} {ended} after its start")
        pid = view.pid
        try:
            reading = await read_cluster(run, without=node.id)
            missing = missing_after(reading, node.id, is_broker=node.layout.is_broker)
        except LogctlError as error:
            missing = f"waiting for the cluster to answer ({error})"
        stable = 0 if missing else stable + 1
        if stable >= rollout.stable_readings:
            return
        if missing and missing != told:
            told = missing
            run.say(phase, "wait", missing, node.id)
        if loop.time() >= deadline:
            raise OperationError(
                f"Broker {node.id} did not come back within {rollout.timeout / 1000:g} s: {missing}"
            )
        await asyncio.sleep(rollout.interval / 1000)
