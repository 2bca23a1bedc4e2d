"""Find out what is there, without changing anything."""

from __future__ import annotations

import json
import os
from typing import Any

from clusters.errors import HostError
from clusters.hosts.base import Connection
from clusters.layout import MARKER
from clusters.manifest import load_manifest
from clusters.phases.base import BrokerFacts, Run, for_each


class GatherFacts:
    """Which brokers run, and whose data lies in their folders."""

    title = "facts"

    async def run(self, run: Run) -> None:
        """Fill `run.manifest` and `run.facts`."""
        run.manifest = load_manifest(run.spec.name)

        async def gather(broker_id: int) -> None:
            run.facts[broker_id] = await _facts(run, broker_id)

        await for_each(run.targets, gather)


async def _facts(run: Run, broker_id: int) -> BrokerFacts:
    connection = run.connections[broker_id]
    layout = run.layouts[broker_id]
    record = run.manifest.brokers.get(broker_id) if run.manifest else None
    process = record.process if record else None
    owner: dict[str, Any] | None = None
    filled: list[str] = []
    for folder in layout.data_dirs:
        found = await read_marker(connection, folder)
        owner = owner or found
        if found is None and await connection.list_folder(folder):
            filled.append(folder)
    return BrokerFacts(
        running=process is not None and await connection.is_alive(process),
        owner=owner,
        data_dirs_with_files=tuple(filled),
    )


async def read_marker(connection: Connection, folder: str) -> dict[str, Any] | None:
    """The marker that says which cluster a folder belongs to; None when there is none."""
    path = os.path.join(folder, MARKER)
    content = await connection.read_file(path)
    if content is None:
        return None
    try:
        marker = json.loads(content)
    except ValueError:
        marker = None
    if not isinstance(marker, dict):
        raise HostError(f"{path} is damaged; restore it or move the folder away")
    return marker


def marker_content(cluster: str, cluster_id: str, node_id: int | None) -> bytes:
    """What a marker file says."""
    marker = {"cluster": cluster, "cluster_id": cluster_id, "node_id": node_id}
    return (json.dumps(marker) + "\n").encode()
