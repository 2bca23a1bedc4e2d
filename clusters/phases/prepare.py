"""Make what brokers need on other machines: user, folders with our marker, the host's manifest.

The manifest is written before the things that it lists, so that nothing is ever left unlisted.
"""

from __future__ import annotations

import json
import os
from typing import Any

from clusters.errors import HostError
from clusters.hosts.machine_facts import json_object
from clusters.hosts.shell_words import quote
from clusters.layout import MARKER
from clusters.phases.base import Node, Run, all_or_tell
from clusters.phases.markers import marker_content
from clusters.phases.plan import folders_of

_USER = """
id {user} >/dev/null 2>&1 && exit 0
if command -v useradd >/dev/null; then
  useradd --system --user-group --no-create-home --home-dir /nonexistent \\
    --shell "$(command -v nologin || echo /bin/false)" {user}
else
  addgroup -S {user} 2>/dev/null; adduser -S -D -H -h /nonexistent -G {user} {user}
fi
"""
_FOLDERS = """
set -e; umask 022
new() {{ p=$1; while [ ! -e "$p" ] && [ "$p" != / ]; do echo "$p"; p=$(dirname "$p"); done; }}
for p in {folders}; do new "$p"; done
"""


class Prepare:
    """On this machine, folders and markers; on others the user and a manifest, too."""

    title = "prepare"

    async def run(self, run: Run) -> None:
        """Act on the brokers that will be started."""
        assert run.plan is not None
        wanted = [each.id for each in run.plan.brokers if each.changes]

        async def prepare(nodes: list[Node]) -> None:
            # One after the other: brokers of one machine share folders.
            for node in nodes:
                if node.connection.is_local:
                    await _local(run, node)
                else:
                    await _remote(run, node)
                run.say(self.title, "done", "", node.id)

        await all_or_tell(run.machines(wanted), prepare)


async def _mark(run: Run, node: Node, owner: str | None) -> None:
    layout, connection = node.layout, node.connection
    for root, folder in zip(layout.data_roots, layout.data_dirs, strict=True):
        for place, node_id in ((root, None), (folder, node.id)):
            marker = os.path.join(place, MARKER)
            if await connection.read_file(marker) is None:
                content = marker_content(run.spec.name, run.cluster_id, node_id)
                await connection.write_file(marker, content, owner=owner)


async def _local(run: Run, node: Node) -> None:
    for folder in node.layout.data_dirs:
        await node.connection.make_folder(folder)
    await _mark(run, node, None)
    await node.connection.make_folder(os.path.dirname(node.layout.log_path))


async def _remote(run: Run, node: Node) -> None:
    layout, connection = node.layout, node.connection
    user = run.spec.run.user if connection.is_root else None
    owner = f"{user}:{user}" if user is not None else None
    fresh_user = user is not None and node.machine is not None and not node.machine.has_user
    fresh = await _missing_folders(node)
    await connection.make_folder(layout.node_dir, mode=0o755)
    await _write_manifest(run, node, fresh, user if fresh_user else None)
    if user is not None:
        answer = await connection.run(
            _USER.format(user=quote(user)), what=f"create the user {user}"
        )
        if answer.status != 0:
            raise HostError(
                f"{connection.name} could not create the user {user}: {answer.complaint}"
            )
    for root in layout.data_roots:
        await connection.make_folder(root, mode=0o755)
    for folder in layout.data_dirs:
        await connection.make_folder(folder, owner=owner, mode=0o700)
    await _mark(run, node, owner)
    await connection.make_folder(layout.run_dir, owner=owner, mode=0o755)
    await connection.make_folder(os.path.dirname(layout.log_path), owner=owner, mode=0o755)
    log = quote(layout.log_path)
    change = f" && chown {quote(owner)} {log}" if owner is not None else ""
    answer = await connection.run(
        f"umask 027; : >> {log}{change}", what=f"make the log {layout.log_path}"
    )
    if answer.status != 0:
        raise HostError(
            f"{connection.name} could not make the log {layout.log_path}: {answer.complaint}"
        )


async def _missing_folders(node: Node) -> list[str]:
    """The folders, with parents, that are not there yet: what we make, we list and remove."""
    folders = " ".join(quote(path) for path in folders_of(node.layout))
    answer = await node.connection.run(
        _FOLDERS.format(folders=folders), what="look for its folders"
    )
    return sorted(set(answer.text.splitlines()))


async def _write_manifest(run: Run, node: Node, fresh: list[str], fresh_user: str | None) -> None:
    layout, connection = node.layout, node.connection
    before = json_object(await connection.read_file(layout.host_manifest_path)) or {}
    kept = json_object(await connection.read_file(layout.kept_path)) or {}
    folders = {*before.get("folders", []), *kept.get("folders", []), *fresh, layout.node_dir}
    files = {*before.get("files", []), layout.log_path, layout.audit_path}
    if node.driver.unit is not None:
        files.add(layout.unit_path)
    manifest: dict[str, Any] = {
        "cluster": run.spec.name,
        "cluster_id": run.cluster_id,
        "broker": node.id,
        "folders": sorted(folders),
        "files": sorted(files),
        "user": fresh_user or before.get("user") or kept.get("user"),
    }
    if manifest != before:
        content = (json.dumps(manifest) + "\n").encode()
        await connection.write_file(layout.host_manifest_path, content, mode=0o644)
