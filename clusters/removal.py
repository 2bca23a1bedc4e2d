"""Remove a cluster from its hosts: only what the host's manifest lists or what carries our marker.

Refuses short paths, mount points and symbolic links. Data and logs stay unless they are asked for.
"""

from __future__ import annotations

import json
import os

from clusters.errors import HostError
from clusters.hosts.local import LocalConnection
from clusters.hosts.machine_facts import json_object
from clusters.hosts.shell_words import quote
from clusters.layout import KEPT, MARKER
from clusters.log_files import log_files
from clusters.manifest import manifest_path
from clusters.operation_results import Destroyed
from clusters.phases.base import Node, Run
from clusters.phases.markers import read_marker
from clusters.state import remove_context

DEPTH_MIN = 2
REMOVE_TIMEOUT_MS = 300_000

# Folders that we made: removed only once they are empty, deepest first.
_EMPTY = 'for p in {folders}; do [ -L "$p" ] || rmdir -- "$p" 2>/dev/null; done; exit 0\n'
_USER = """
id {user} >/dev/null 2>&1 || exit 0
if command -v userdel >/dev/null; then userdel {user}; else deluser {user}; fi
groupdel {user} 2>/dev/null; exit 0
"""
_REMOVE = """
p={path}
if [ -L "$p" ]; then echo "$p is a symbolic link; remove it yourself" >&2; exit 1; fi
[ -d "$p" ] || exit 0
if grep -q "^[^ ]* $p " /proc/mounts; then echo "$p is a mount point" >&2; exit 1; fi
t="$p.removed.$$"; mv -- "$p" "$t" && rm -rf -- "$t"
"""


async def destroy_cluster(run: Run, *, data: bool) -> Destroyed:
    """Remove everything of stopped brokers; returns what was removed and what was kept."""
    done = Destroyed()
    for nodes in run.machines():
        if nodes[0].connection.is_local:
            for node in nodes:
                await _remove_data(run, node, done, data=data)
            for node in nodes:
                await _remove_local_state(node)
        else:
            await _remove_remote(run, nodes, done, data=data)
    await _remove_own_state(run)
    remove_context(run.spec.name)
    return done


async def _remove_data(run: Run, node: Node, done: Destroyed, *, data: bool) -> None:
    layout, connection = node.layout, node.connection
    prefix = "" if connection.is_local else f"{connection.name}: "
    for folder in layout.data_dirs:
        marker = await read_marker(connection, folder)
        if marker is None:
            if await connection.list_folder(folder):
                message = f"{folder} has no marker of logctl; it is left as it is"
                run.say("destroy", "warning", message, node.id)
                done.kept.append(f"{prefix}{folder}")
            continue
        if marker.get("cluster") != run.spec.name or marker.get("node_id") != layout.id:
            raise HostError(
                f"{folder} belongs to broker {marker.get('node_id')} of the cluster "
                f"{marker.get('cluster')}; it is left as it is"
            )
        if not data:
            done.kept.append(f"{prefix}{folder}")
            continue
        await _remove_folder(node, folder)
        done.removed.append(f"{prefix}{folder}")
        root = os.path.dirname(folder)
        left = set(await connection.list_folder(root))
        if MARKER in left and left <= {MARKER, KEPT}:
            await _remove_folder(node, root)
            done.removed.append(f"{prefix}{root}")


async def _remove_folder(node: Node, folder: str) -> None:
    """Remove a folder of ours; it gets another name first, so that no half of it is ever used."""
    connection = node.connection
    if len([part for part in folder.split("/") if part]) < DEPTH_MIN:
        raise HostError(f"{folder} is too short a path to be removed")
    if connection.is_local:
        await connection.remove_folder(folder)
        return
    answer = await connection.run(
        _REMOVE.format(path=quote(folder)),
        what=f"remove {folder}",
        timeout_ms=REMOVE_TIMEOUT_MS,
    )
    if answer.status != 0:
        raise HostError(f"{connection.name} could not remove {folder}: {answer.complaint}")


async def _remove_local_state(node: Node) -> None:
    for path in await log_files(node.connection, node.layout.log_path):
        await node.connection.remove_file(path)
    await node.connection.remove_folder(node.layout.node_dir)


async def _remove_own_state(run: Run) -> None:
    """Forget the cluster here; host keys and the record of runs stay."""
    await LocalConnection().remove_file(manifest_path(run.spec.name))


async def _remove_remote(run: Run, nodes: list[Node], done: Destroyed, *, data: bool) -> None:
    connection = nodes[0].connection
    root = nodes[0].layout.cluster_root
    folders: set[str] = set()
    user: str | None = None
    for node in nodes:
        layout = node.layout
        manifest = json_object(node.found.installed.files.get("manifest")) or {}
        ours = manifest.get("cluster") == run.spec.name and manifest.get("broker") == node.id
        await _remove_data(run, node, done, data=data)
        if not ours:
            continue
        folders |= {str(path) for path in manifest.get("folders", [])}
        user = str(manifest["user"]) if manifest.get("user") else user
        await node.driver.remove()
        for path in await log_files(connection, layout.log_path):
            if data:
                await connection.remove_file(path)
            (done.removed if data else done.kept).append(f"{connection.name}: {path}")
        for path in manifest.get("files", []):
            if path not in {layout.log_path, layout.audit_path} and await _is_ours(node, path):
                await connection.remove_file(path)
                done.removed.append(f"{connection.name}: {path}")
        if not data:
            note = json.dumps({"folders": sorted(folders), "user": user}) + "\n"
            await connection.write_file(layout.kept_path, note.encode(), mode=0o644)
        await _remove_folder(node, layout.node_dir)
        done.removed.append(f"{connection.name}: {layout.node_dir}")
        run.say("destroy", "done", "", node.id)
    left = [name for name in await connection.list_folder(root) if name.startswith("broker-")]
    if not left and folders:
        await _remove_folder(nodes[0], root)
        done.removed.append(f"{connection.name}: {root}")
    deepest = sorted(folders, key=len, reverse=True)
    await connection.run(
        _EMPTY.format(folders=" ".join(quote(path) for path in deepest)),
        what="remove empty folders",
    )
    if user is not None and not left and not (done.kept and not data):
        await connection.run(_USER.format(user=quote(user)), what=f"remove the user {user}")


async def _is_ours(node: Node, path: str) -> bool:
    """Whether a listed file still says that logctl wrote it."""
    content = await node.connection.read_file(path)
    return content is not None and b"Written by logctl" in content
