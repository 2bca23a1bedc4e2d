"""The marker file by which a folder is known to be ours, and whose it is."""

from __future__ import annotations

import json
import os
from typing import Any

from clusters.errors import HostError
from clusters.hosts.base import Connection
from clusters.layout import MARKER


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
    """What a marker file says, in one line."""
    marker = {"cluster": cluster, "cluster_id": cluster_id, "node_id": node_id}
    return (json.dumps(marker) + "\n").encode()
