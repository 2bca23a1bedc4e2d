"""Brokers that run but that the file no longer names: their way out of quorum and cluster.

The voters of the quorum stand in the settings of each broker, so one leaves it by the restart of
the others. Until the last of them has its new settings some count it as a voter and some do not.
That is safe for one voter at a time: each majority of the old set and each of the new one have a
voter in common (Raft thesis 4.1). It keeps running meanwhile, for the old majorities need it; and
it must not lead, for those with new settings do not follow it. Its replicas are moved before: what
only it has must never be stopped.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from broker.protocol.errors import LogctlError
from clusters.admin.client import AdminClient
from clusters.admin.model import QuorumInfo
from clusters.errors import HostError, OperationError
from clusters.hosts.local import LocalConnection
from clusters.hosts.machine_facts import InstalledBroker
from clusters.layout import broker_layout
from clusters.manifest import BrokerRecord
from clusters.phases.base import BrokerFacts, Node, Run
from clusters.phases.facts import gather_facts
from clusters.phases.gate import PartitionReading, read_cluster
from clusters.processes import DirectProcess
from clusters.spec.models import LOCAL_ADDRESS

REQUEST_MS = 5_000
HANDED_OVER_S = 30.0
POLL_S = 0.1


async def find_leaving(run: Run) -> None:
    """Fill `run.leaving` with brokers that were deployed once, run, and are not named any more."""
    manifest = run.manifest.manifest
    known = {host.id for host in run.spec.hosts}
    for broker_id, record in sorted(manifest.brokers.items() if manifest else ()):
        if broker_id in known:
            continue
        local = record.host == LOCAL_ADDRESS
        node = await (_local(run, record) if local else _remote(run, record))
        if node is not None and node.found.running:
            run.leaving[broker_id] = node
        elif not local:
            run.gone.append(broker_id)


async def _local(run: Run, record: BrokerRecord) -> Node | None:
    if record.process is None:
        return None
    host = run.spec.hosts[0].model_copy(update={"id": record.id, "address": LOCAL_ADDRESS})
    connection = LocalConnection()
    node = Node(layout=broker_layout(run.spec, host), connection=connection)
    node.process = DirectProcess(
        connection,
        run.manifest,
        record.id,
        record.log_path,
        lambda process: replace(record, process=process),
    )
    node.facts = BrokerFacts(
        view=await node.process.look(),
        installed=InstalledBroker(),
        owner=None,
        data_dirs_with_files=(),
    )
    return node


async def _remote(run: Run, record: BrokerRecord) -> Node | None:
    host = run.spec.hosts[0].model_copy(update={"id": record.id, "address": record.host})
    try:
        connection = await run.connector.connect(host)
        node = Node(layout=broker_layout(run.spec, host, connection.home), connection=connection)
        await gather_facts(run, [node])
    except HostError as error:
        text = f"the file no longer names it, and whether it runs cannot be told: {error}"
        run.say("checks", "warning", text, record.id)
        return None
    return node


async def leaving_failures(run: Run) -> list[str]:
    """Why the brokers in `run.leaving` cannot be taken out now; [] when they can."""
    if not run.leaving:
        return []
    names = ", ".join(map(str, run.leaving))
    source = run.spec.source or "the file"
    head = f"Broker {names} runs, but {source} does not name it any more"
    try:
        reading = await read_cluster(run)
    except LogctlError as error:
        advice = "Heal the cluster first, or take all of it down (`logctl cluster down`)."
        return [f"{head}, and the cluster does not tell what it holds: {error} {advice}"]
    failures = [
        f"{head}, and {_holding(run, broker_id, held)}"
        for broker_id in run.leaving
        if (held := [each for each in reading.partitions if broker_id in each.replicas])
    ]
    before = {voter.id for voter in reading.quorum.voters} if reading.quorum is not None else set()
    return failures + _at_once(before, run)


def _holding(run: Run, broker_id: int, held: list[PartitionReading]) -> str:
    topics = " ".join(dict.fromkeys(each.topic for each in held))
    others = ",".join(str(host.id) for host in run.spec.hosts if "broker" in host.roles)
    count = "a partition has" if len(held) == 1 else f"{len(held)} partitions have"
    return (
        f"{count} a replica on broker {broker_id}. Move what it holds to the others first: "
        f"`logctl partition move {topics} --to-brokers {others} --wait`."
    )


def voters_failures(run: Run) -> list[str]:
    """Why the voters of the quorum cannot be changed as the file asks; [] when they can.

    By what brokers with data have in their settings, also those that are stopped: new ones may be
    up before them.
    """
    failures: list[str] = []
    for node in run.nodes.values():
        if node.found.running or node.found.owner is not None:
            failures += _at_once(_voters_in(node.found.installed.configuration or ""), run)
    return list(dict.fromkeys(failures))


def _voters_in(configuration: str) -> set[int]:
    """The voters of a settings file (`ID@HOST:PORT,...`)."""
    for line in configuration.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "controller.quorum.voters":
            ids = (voter.partition("@")[0].strip() for voter in value.split(","))
            return {int(each) for each in ids if each.isdecimal()}
    return set()


def _at_once(before: set[int], run: Run) -> list[str]:
    """Two brokers that come could elect each other, without the records of those that are there."""
    after = {host.id for host in run.spec.hosts if "controller" in host.roles}
    gone, new = sorted(before - after), sorted(after - before)
    if not before or len(gone) + len(new) < 2:
        return []
    told = ", ".join([*(f"{each} goes" for each in gone), *(f"{each} comes" for each in new)])
    return [
        (
            f"More than one voter of the quorum would change at once ({told}), and two majorities "
            "could decide without each other. Change one, run `up`, then change the next; brokers "
            "with `roles: [broker]` are no voters and may come and go together."
        )
    ]


async def lead_elsewhere(run: Run) -> None:
    """See to it that no broker in `run.leaving` leads the quorum, by restarting the one that does.

    Those with new settings do not follow it. Raises OperationError when it goes on leading.
    """
    for broker_id, node in run.leaving.items():
        if await _leader(run) != broker_id:
            continue
        run.say("leave", "start", "it leads the quorum: handing over by a restart", broker_id)
        await node.driver.stop(run.stop_timeout_ms)
        await _led_by_another(run, broker_id)
        words = await node.driver.start(run.engine.command(node.connection.python, node.layout))
        await _votes_again(run, broker_id)
        run.say("leave", "done", f"it handed the quorum over, {words}", broker_id)


async def _quorum(run: Run) -> QuorumInfo | None:
    try:
        async with AdminClient(
            run.spec.bootstrap, timeout_ms=REQUEST_MS, network=run.network
        ) as admin:
            return await admin.quorum()
    except LogctlError:
        return None


async def _leader(run: Run) -> int:
    quorum = await _quorum(run)
    return -1 if quorum is None else quorum.leader_id


async def _led_by_another(run: Run, broker_id: int) -> None:
    deadline = asyncio.get_running_loop().time() + HANDED_OVER_S
    while (leader := await _leader(run)) in (-1, broker_id):
        if asyncio.get_running_loop().time() >= deadline:
            who = f"broker {broker_id} still leads" if leader >= 0 else "nobody leads"
            raise OperationError(
                f"Nothing was changed: {HANDED_OVER_S:g} s after broker {broker_id} stopped {who} "
                "the quorum. Look why with `logctl cluster status`, then run the same command "
                "again."
            )
        await asyncio.sleep(POLL_S)


async def _votes_again(run: Run, broker_id: int) -> None:
    """Wait until the leader hears the restarted voter; the gate of the first restart looks too."""
    deadline = asyncio.get_running_loop().time() + HANDED_OVER_S
    while asyncio.get_running_loop().time() < deadline:
        quorum = await _quorum(run)
        if quorum is not None and any(
            voter.id == broker_id and voter.log_end_offset >= quorum.high_watermark
            for voter in quorum.voters
        ):
            return
        await asyncio.sleep(POLL_S)


class Leave:
    """Stops the brokers that the file no longer names, and has the cluster forget them."""

    title = "leave"

    async def run(self, run: Run) -> None:
        """Raises OperationError when one of them holds something by now."""
        if not run.leaving:
            return
        failures = await leaving_failures(run)
        if failures:
            raise OperationError("\n".join(failures))
        for broker_id, node in run.leaving.items():
            run.say(self.title, "start", "stopping it: the file no longer names it", broker_id)
            stopped = await node.driver.stop(run.stop_timeout_ms)
            if stopped.killed:
                seconds = run.stop_timeout_ms / 1000
                text = f"it did not stop in {seconds:g} s and was killed"
                run.say(self.title, "warning", text, broker_id)
            run.left.append(broker_id)
            text = "it is out of the quorum and stopped; its files stay where they are"
            if refusal := await self._unregister(run, broker_id):
                run.say(self.title, "warning", refusal, broker_id)
            else:
                text = (
                    "it is out of the quorum, stopped and forgotten by the cluster; its files stay"
                )
            run.say(self.title, "done", text, broker_id)

    @staticmethod
    async def _unregister(run: Run, broker_id: int) -> str:
        try:
            async with AdminClient(
                run.spec.bootstrap, timeout_ms=REQUEST_MS, network=run.network
            ) as admin:
                await admin.unregister_broker(broker_id)
        except LogctlError as error:
            return f"{str(error).rstrip('.')}. Try again: `logctl broker unregister {broker_id}`"
        return ""
