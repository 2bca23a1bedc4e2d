"""Find out what is there, without changing anything: one script for each machine."""

from __future__ import annotations

import os
import time
from typing import Any

from clusters.errors import HostError
from clusters.hosts.base import Connection
from clusters.hosts.fact_script import BrokerPlaces, fact_script
from clusters.hosts.local import LocalConnection
from clusters.hosts.machine_facts import InstalledBroker, MachineFacts, json_object, parse_facts
from clusters.layout import MARKER, BrokerLayout
from clusters.manifest import BrokerRecord, ProcessIdentity
from clusters.phases.base import BrokerFacts, Node, Run, all_or_tell
from clusters.phases.markers import read_marker
from clusters.phases.plan_model import settings_of
from clusters.processes import BuiltinProcess, DirectProcess, SystemdProcess, unit_text
from clusters.processes.builtin import supervised_view
from clusters.processes.systemd import unit_view

CLOCK_READINGS = 3
FACTS_TIMEOUT_MS = 20_000


class GatherFacts:
    """Which brokers run, what is installed, whose data lies in their folders."""

    title = "facts"

    async def run(self, run: Run) -> None:
        """Fill the facts of `run.nodes`."""

        async def gather(nodes: list[Node]) -> None:
            await gather_facts(run, nodes)
            for node in nodes:
                run.say(self.title, "done", "", node.id)

        await all_or_tell(run.machines(), gather)


async def gather_facts(run: Run, nodes: list[Node]) -> None:
    """Fill the facts of nodes on one machine."""
    if nodes[0].connection.is_local:
        for node in nodes:
            await _local_facts(run, node)
    else:
        await _remote_facts(run, nodes)


# This machine


async def _local_facts(run: Run, node: Node) -> None:
    layout, connection = node.layout, node.connection
    assert isinstance(connection, LocalConnection)
    generation = await connection.read_link(layout.current)
    installed = InstalledBroker(generation=os.path.basename(generation) if generation else None)
    previous = await connection.read_link(layout.previous)
    installed.previous = os.path.basename(previous) if previous else None
    if (text := await connection.read_file(layout.config_path)) is not None:
        installed.files["config"] = text
    if (change := await connection.read_file(layout.change_path)) is not None:
        installed.files["change"] = change
    node.process = DirectProcess(
        connection,
        run.manifest,
        layout.id,
        layout.log_path,
        lambda process: record_of(run, node, process),
    )
    owner: dict[str, Any] | None = None
    filled: list[str] = []
    for folder in layout.data_dirs:
        found = await read_marker(connection, folder)
        owner = owner or found
        if found is None and await connection.list_folder(folder):
            filled.append(folder)
    node.facts = BrokerFacts(
        view=await node.process.look(),
        installed=installed,
        owner=owner,
        data_dirs_with_files=tuple(filled),
    )


def record_of(run: Run, node: Node, process: ProcessIdentity | None) -> BrokerRecord:
    """What the manifest says about a node; the plan tells the generation that it will have."""
    layout = node.layout
    installed = node.found.installed
    text = run.engine.configuration(run.spec, layout, run.cluster_id)
    planned = run.plan.of(node.id) if run.plan is not None else None
    return BrokerRecord(
        id=node.id,
        address=layout.address,
        process=process,
        config_path=layout.config_path,
        config_digest=config_digest(text),
        log_path=layout.log_path,
        data_dirs=layout.data_dirs,
        host=layout.host.address,
        generation=planned.generation if planned else installed.generation or "",
        release=(planned.release if planned else installed.release) or "",
    )


def config_digest(text: str) -> str:
    """A short name for settings alone."""
    import hashlib

    return hashlib.sha256("\n".join(settings_of(text)).encode()).hexdigest()[:16]


# Other machines


async def _remote_facts(run: Run, nodes: list[Node]) -> None:
    connection = nodes[0].connection
    root = nodes[0].layout.cluster_root
    paths = [path for node in nodes for path in (*node.layout.data_roots, node.layout.node_dir)]
    paths += [os.path.dirname(node.layout.log_path) for node in nodes]
    script = fact_script(
        root=root,
        user=run.spec.run.user,
        paths=paths,
        brokers=[_places(node.layout) for node in nodes],
    )
    answer = await connection.run(script, what="gather facts about it", timeout_ms=FACTS_TIMEOUT_MS)
    try:
        machine = parse_facts(answer.out)
    except (ValueError, IndexError) as error:
        raise HostError(f"{connection.name} tells facts that make no sense: {error}") from None
    if answer.status != 0 or not machine.architecture:
        raise HostError(
            f"{connection.name} could not gather facts about it: "
            f"{answer.complaint or 'the script wrote nothing'}"
        )
    machine.clock_offset_ms = await clock_offset_ms(connection)
    for node in nodes:
        node.machine = machine
        installed = machine.brokers.get(node.id) or InstalledBroker()
        _set_process(run, node, machine, installed)
        owner, filled = _owner(node, installed)
        assert node.process is not None
        node.facts = BrokerFacts(
            view=await node.process.look(),
            installed=installed,
            owner=owner,
            data_dirs_with_files=filled,
        )


def _places(layout: BrokerLayout) -> BrokerPlaces:
    return BrokerPlaces(
        id=layout.id,
        node_dir=layout.node_dir,
        data_dirs=layout.data_dirs,
        unit=layout.unit,
        unit_path=layout.unit_path,
        marker=MARKER,
    )


def uses_systemd(run: Run, node: Node, machine: MachineFacts) -> bool:
    """Whether a node's broker is (to be) kept up by systemd."""
    wanted = run.spec.run.supervisor
    if wanted == "auto":
        return machine.has_systemd and node.connection.is_root
    return wanted == "systemd"


def _set_process(run: Run, node: Node, machine: MachineFacts, installed: InstalledBroker) -> None:
    layout, connection = node.layout, node.connection
    if uses_systemd(run, node, machine):
        command = run.engine.command(connection.python, layout)
        uptime = machine.values.get("uptime", "").split()
        show = installed.unit_state
        node.process = SystemdProcess(
            connection,
            layout,
            unit_text(run.spec, layout, command),
            show=show,
            uptime_s=float(uptime[0]) if uptime else None,
        )
        unit_view(show, None)
    else:
        seen = supervised_view(machine, installed)
        node.process = BuiltinProcess(connection, run.spec, layout, seen)


def _owner(node: Node, installed: InstalledBroker) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    owner: dict[str, Any] | None = None
    for index, folder in enumerate(node.layout.data_dirs):
        content = installed.files.get(f"marker-{index}")
        if content is None:
            continue
        marker = json_object(content)
        if marker is None:
            raise HostError(
                f"{node.connection.name}: {folder}/{MARKER} is damaged; restore it or move the "
                "folder away"
            )
        owner = owner or marker
    return owner, tuple(node.layout.data_dirs[index] for index in installed.filled)


async def clock_offset_ms(connection: Connection) -> float | None:
    """A machine's clock minus ours in milliseconds, by the quickest of a few readings."""
    best: tuple[float, float] | None = None
    for _ in range(CLOCK_READINGS):
        before = time.time()
        answer = await connection.run("date +%s.%N", what="read its clock", as_user=True)
        after = time.time()
        seconds, _, rest = answer.text.strip().partition(".")
        if not seconds.isdecimal():
            return None
        fraction = float(f"0.{rest}") if rest.isdecimal() else 0.5
        offset_ms = (int(seconds) + fraction - (before + after) / 2) * 1000
        if best is None or after - before < best[0]:
            best = (after - before, offset_ms)
    return best[1] if best is not None else None
