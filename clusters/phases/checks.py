"""Everything that would stand in the way, found before anything changes and told at once."""

from __future__ import annotations

from collections.abc import Sequence

from clusters.errors import CheckFailed
from clusters.phases.base import Node, Run
from clusters.phases.host_checks import CheckResult, check_hosts
from clusters.phases.leaving import find_leaving, leaving_failures, voters_failures
from clusters.spec.loader import new_cluster_id

FREE_BYTES_MIN = 64 << 20


class Checks:
    """Identity of data folders, free ports, usable folders, and the state of other machines."""

    title = "checks"

    async def run(self, run: Run) -> None:
        """Fill `run.cluster_id`. Raises CheckFailed with every failure."""
        failures = _identity(run)
        if run.takes_out:
            await find_leaving(run)
            failures += await leaving_failures(run)
            failures += voters_failures(run)
        else:
            failures += await _strangers(run)
        for node in run.nodes.values():
            if node.connection.is_local and not node.found.running:
                failures += await _folders(run, node)
                failures += await _ports(node)
        fresh = self._installs(run)
        results = await check_hosts(run, reach=fresh)
        failures += [result.text() for result in results if result.state == "fail"]
        told = results if fresh else [result for result in results if result.check == "disk"]
        for text in warnings_of(told):
            run.say(self.title, "warning", text)
        if failures:
            raise CheckFailed(list(dict.fromkeys(failures)))

    @staticmethod
    def _installs(run: Run) -> bool:
        return any(node.found.installed.generation is None for node in run.nodes.values())


def warnings_of(results: Sequence[CheckResult]) -> list[str]:
    """The warnings, each once with the hosts that it is about."""
    hosts: dict[str, list[str]] = {}
    for result in results:
        if result.state == "warn":
            text = f"{result.message}{'. ' if result.advice else ''}{result.advice}"
            hosts.setdefault(text, []).append(result.host)
    return [f"{', '.join(dict.fromkeys(names))}: {text}" for text, names in hosts.items()]


def _identity(run: Run) -> list[str]:
    failures: list[str] = []
    ids: dict[str, str] = {}
    manifest = run.manifest.manifest
    for broker_id, node in run.nodes.items():
        facts = node.found
        folder = node.layout.data_dirs[0]
        failures += [
            f"Broker {broker_id}: {filled} holds files that logctl did not put there. Move them "
            f"away, or name another folder in the cluster file."
            for filled in facts.data_dirs_with_files
        ]
        if facts.owner is None:
            continue
        if facts.owner.get("cluster") != run.spec.name or facts.owner.get("node_id") != broker_id:
            failures.append(
                f"Broker {broker_id}: {folder} belongs to broker {facts.owner.get('node_id')} of "
                f"the cluster {facts.owner.get('cluster')}. Name another folder in the file."
            )
            continue
        ids.setdefault(str(facts.owner.get("cluster_id")), f"{folder} of broker {broker_id}")
    if any(node.found.running for node in run.nodes.values()) and manifest is not None:
        ids.setdefault(manifest.cluster_id, "the running brokers")
    if run.spec.cluster_id is not None:
        ids.setdefault(run.spec.cluster_id, run.spec.source or "the cluster file")
    if len(ids) > 1:
        told = ", ".join(f"{cluster_id} in {place}" for cluster_id, place in ids.items())
        failures.append(
            f"The parts of the cluster {run.spec.name} have different cluster ids: {told}. "
            "Move the folder that does not belong away."
        )
    run.cluster_id = next(iter(ids), "") or _manifest_id(run) or new_cluster_id()
    return failures


def _manifest_id(run: Run) -> str | None:
    # Only a part of the cluster may be a target: the others' data tells the id as well.
    manifest = run.manifest.manifest
    return manifest.cluster_id if manifest is not None else None


async def _strangers(run: Run) -> list[str]:
    from clusters.hosts.local import LocalConnection

    failures = []
    manifest = run.manifest.manifest
    known = {host.id for host in run.spec.hosts}
    for broker_id, record in sorted(manifest.brokers.items() if manifest else ()):
        if broker_id in known or record.process is None:
            continue
        if await LocalConnection().is_alive(record.process):
            failures.append(
                f"Broker {broker_id} of the cluster {run.spec.name} runs (pid "
                f"{record.process.pid}), but {run.spec.source or 'the file'} does not name it. "
                "`logctl cluster up` takes it out of the cluster, once its replicas are moved "
                "away; `logctl cluster down` takes all of them down."
            )
    return failures


async def _folders(run: Run, node: Node) -> list[str]:
    layout, connection = node.layout, node.connection
    failures = []
    wanted = [(path, False) for path in layout.given_folders]
    wanted += [(path, True) for path in layout.data_dirs]
    given_missing = False
    for path, create in wanted:
        if create and given_missing:
            continue
        facts = await connection.folder_facts(path, create=create)
        if facts.obstacle is not None:
            given_missing = given_missing or not create
            help_ = "Create it" if "no folder" in facts.obstacle else "Make it usable"
            failures.append(
                f"Broker {node.id}: {facts.obstacle} on {connection.name}. {help_}, or name "
                "another folder in the cluster file."
            )
        elif create and facts.free_bytes < FREE_BYTES_MIN:
            failures.append(
                f"Broker {node.id}: only {facts.free_bytes >> 20} MiB are free at {path} on "
                f"{connection.name}; at least {FREE_BYTES_MIN >> 20} MiB are needed."
            )
    return failures


async def _ports(node: Node) -> list[str]:
    layout, connection = node.layout, node.connection
    failures = []
    for kind, port in layout.ports:
        use = await connection.port_use(layout.listen_host, port)
        if use is not None:
            failures.append(
                f"Broker {node.id}: the {kind} port {layout.listen_host}:{port} is in use by "
                f"{use}. Stop it, or choose another port in the cluster file."
            )
    return failures
