"""Write generations: settings, and a link to the release that goes with them."""

from __future__ import annotations

import datetime as dt
import os

from clusters.errors import HostError
from clusters.hosts.shell_words import quote
from clusters.phases.base import Node, Run, all_or_tell

_GENERATION = """
set -e; umask 027
d={folder}; mkdir -p -m 0755 {generations}; mkdir -p -m 0755 "$d"; chmod 0755 {generations} "$d"
t=$(mktemp "$d/.settings.XXXXXX"); trap 'rm -f "$t"' EXIT
cat > "$t"; chmod 0640 "$t"; {group}mv -f "$t" "$d/server.properties"
[ "$(readlink "$d/release" 2>/dev/null)" = {release} ] || ln -sfn {release} "$d/release"
sync -f "$d" 2>/dev/null || sync
"""


class Configure:
    """Each broker's next generation, beside the one in use."""

    title = "configure"

    async def run(self, run: Run) -> None:
        """Act on the brokers that will be started or restarted."""
        assert run.plan is not None
        wanted = [each.id for each in run.plan.brokers if each.action != "none"]

        async def configure(broker_id: int) -> None:
            await write_generation(run, run.nodes[broker_id])
            run.say(self.title, "done", "", broker_id)

        await all_or_tell(wanted, configure)


async def write_generation(run: Run, node: Node) -> None:
    """Write the generation that the plan names for a node."""
    assert run.plan is not None
    layout, connection = node.layout, node.connection
    plan = run.plan.of(node.id)
    text = run.engine.configuration(run.spec, layout, run.cluster_id)
    folder = layout.generation_dir(plan.generation)
    if connection.is_local:
        await connection.make_folder(folder)
        await connection.write_file(os.path.join(folder, "server.properties"), text.encode())
        return
    group = f'chown root:{quote(run.spec.run.user)} "$t"; ' if connection.is_root else ""
    script = _GENERATION.format(
        folder=quote(folder),
        generations=quote(os.path.dirname(folder)),
        release=quote(f"../../../releases/{plan.release}"),
        group=group,
    )
    answer = await connection.run(script, what=f"write {folder}", stdin=text.encode())
    if answer.status != 0:
        raise HostError(f"{connection.name} could not write {folder}: {answer.complaint}")


async def use_generation(run: Run, node: Node, digest: str) -> None:
    """Switch a stopped broker to a generation; the one before stays known, and when it was left."""
    assert run.plan is not None
    layout, connection = node.layout, node.connection
    before = await connection.read_link(layout.current)
    wanted = f"generations/{digest}"
    if before == wanted:
        return
    if before is not None:
        await connection.swap_link(layout.previous, before)
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        change = f"{now} {run.plan.state_digest}\n"
        await connection.write_file(layout.change_path, change.encode(), mode=0o644)
    await connection.swap_link(layout.current, wanted)
