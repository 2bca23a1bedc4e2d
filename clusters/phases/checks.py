"""Everything that would stand in the way, found before anything changes and told at once."""

from __future__ import annotations

import hashlib

from clusters.errors import CheckFailed
from clusters.phases.base import Run
from clusters.spec.loader import new_cluster_id

FREE_BYTES_MIN = 64 << 20


def digest(text: str) -> str:
    """A short name for a configuration, to tell whether a running broker has another one."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Checks:
    """Identity of data folders, free ports, usable folders, and the file against what runs."""

    title = "checks"

    async def run(self, run: Run) -> None:
        """Fill `run.cluster_id`. Raises CheckFailed with every failure."""
        failures = _identity(run)
        failures += await _strangers(run)
        failures += await _majority(run)
        for broker_id in run.targets:
            if run.facts[broker_id].running:
                failures += _changed_settings(run, broker_id)
            else:
                failures += await _folders(run, broker_id)
                failures += await _ports(run, broker_id)
        if failures:
            raise CheckFailed(list(dict.fromkeys(failures)))


def _identity(run: Run) -> list[str]:
    failures: list[str] = []
    ids: dict[str, str] = {}
    for broker_id in run.targets:
        facts, layout = run.facts[broker_id], run.layouts[broker_id]
        folder = layout.data_dirs[0]
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
        ids.setdefault(str(facts.owner.get("cluster_id")), folder)
    if any(facts.running for facts in run.facts.values()) and run.manifest is not None:
        ids.setdefault(run.manifest.cluster_id, "the running brokers")
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
    return run.manifest.cluster_id if run.manifest is not None else None


async def _strangers(run: Run) -> list[str]:
    failures = []
    connection = next(iter(run.connections.values()))
    for broker_id, record in sorted(run.manifest.brokers.items() if run.manifest else ()):
        if broker_id in run.layouts or record.process is None:
            continue
        if await connection.is_alive(record.process):
            failures.append(
                f"Broker {broker_id} of the cluster {run.spec.name} runs (pid "
                f"{record.process.pid}), but {run.spec.source or 'the file'} does not name it. "
                "Run `logctl cluster down` first."
            )
    return failures


async def _majority(run: Run) -> list[str]:
    voters = {broker_id for broker_id, layout in run.layouts.items() if layout.is_controller}
    up = voters & set(run.targets)
    connection = next(iter(run.connections.values()))
    for broker_id, record in sorted(run.manifest.brokers.items() if run.manifest else ()):
        if record.process is not None and await connection.is_alive(record.process):
            up.add(broker_id)
    if len(up & voters) * 2 > len(voters):
        return []
    where = run.spec.source or "the cluster file"
    text = (
        f"Only {len(up & voters)} of the {len(voters)} voters would run, which is no majority: the "
        f"cluster could not elect a controller. Start all with `logctl cluster up {where}`."
    )
    return [text]


def _changed_settings(run: Run, broker_id: int) -> list[str]:
    record = run.saved().brokers[broker_id]
    wanted = run.engine.configuration(run.spec, run.layouts[broker_id], run.cluster_id)
    if digest(_without_heading(wanted)) == record.config_digest:
        return []
    where = run.spec.source or "the cluster file"
    text = (
        f"Broker {broker_id} runs with other settings than {where} asks for now. Apply them with "
        f"`logctl cluster down {where}` and `logctl cluster up {where}`."
    )
    return [text]


def _without_heading(text: str) -> str:
    # The heading names the file, and moving the file is no change of the broker.
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def config_digest(text: str) -> str:
    """The digest of a configuration as kept in the manifest."""
    return digest(_without_heading(text))


async def _folders(run: Run, broker_id: int) -> list[str]:
    layout, connection = run.layouts[broker_id], run.connections[broker_id]
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
                f"Broker {broker_id}: {facts.obstacle} on {connection.name}. {help_}, or name "
                "another folder in the cluster file."
            )
        elif create and facts.free_bytes < FREE_BYTES_MIN:
            failures.append(
                f"Broker {broker_id}: only {facts.free_bytes >> 20} MiB are free at {path} on "
                f"{connection.name}; at least {FREE_BYTES_MIN >> 20} MiB are needed."
            )
    return failures


async def _ports(run: Run, broker_id: int) -> list[str]:
    layout, connection = run.layouts[broker_id], run.connections[broker_id]
    failures = []
    for kind, port in layout.ports:
        use = await connection.port_use(layout.listen_host, port)
        if use is not None:
            failures.append(
                f"Broker {broker_id}: the {kind} port {layout.listen_host}:{port} is in use by "
                f"{use}. Stop it, or choose another port in the cluster file."
            )
    return failures
