"""Remember the cluster: the manifest is complete, and commands talk to it from now on."""

from __future__ import annotations

from clusters.hosts.shell_words import quote
from clusters.phases.base import Node, Run
from clusters.phases.facts import record_of
from clusters.state import Context, use_context

_PRUNE = """
cd {root} 2>/dev/null || exit 0
keep={keep}
for b in broker-*/; do
  [ -d "$b/generations" ] || continue
  in_use="$(readlink "${{b}}current") $(readlink "${{b}}previous")"
  n=0
  for g in $(ls -1t "${{b}}generations"); do
    n=$((n + 1)); case " $in_use " in *"generations/$g "*) continue;; esac
    [ "$n" -le "$keep" ] || rm -rf -- "${{b}}generations/$g"
  done
done
used=
for l in broker-*/generations/*/release; do
  [ -L "$l" ] || continue; t=$(readlink "$l"); used="$used ${{t##*/}}"
done
n=0
for r in $(ls -1t releases 2>/dev/null); do
  n=$((n + 1)); case " $used " in *" $r "*) continue;; esac
  [ "$n" -le "$keep" ] || rm -rf -- "releases/$r"
done
exit 0
"""


class Record:
    """Saves the manifest, makes the cluster the current context, removes old releases."""

    title = "record"

    async def run(self, run: Run) -> None:
        """Write what a later command needs."""
        run.manifest.begin(run.cluster_id, run.spec.source, run.engine.name)
        for node in run.nodes.values():
            if node.connection.is_local:
                known = run.manifest.record(node.id)
                record = record_of(run, node, known.process if known is not None else None)
            else:
                record = record_of(run, node, None)
            if run.manifest.record(node.id) != record:
                run.manifest.put(record)
        # Nobody looks for them on their machines again.
        left = [each for each in run.left if not run.leaving[each].connection.is_local]
        run.manifest.forget([*left, *run.gone])
        use_context(
            Context(
                name=run.spec.name,
                bootstrap=run.spec.bootstrap,
                spec_path=run.spec.source or None,
            )
        )
        if run.plan is not None and run.plan.changes:
            for nodes in run.machines():
                await prune(run, nodes[0])


async def prune(run: Run, node: Node) -> None:
    """Remove generations and releases beyond those to keep; never one in use or the one before."""
    script = _PRUNE.format(
        root=quote(node.layout.cluster_root), keep=int(run.spec.rollout.keep_releases)
    )
    await node.connection.run(script, what="remove old releases", timeout_ms=120_000)
