"""Decide what is to be done, from facts alone."""

from __future__ import annotations

import os

from clusters.layout import BrokerLayout
from clusters.phases.base import Node, Run
from clusters.phases.plan_model import (
    Action,
    BrokerPlan,
    Plan,
    changed_settings,
    config_diff,
    generation_digest,
    settings_of,
)

NAMED_MAX = 5


class MakePlan:
    """Compares what each host has with what the cluster file asks for."""

    title = "plan"

    async def run(self, run: Run) -> None:
        """Fill `run.plan`. Changes nothing."""
        brokers = [broker_plan(run, node) for node in run.nodes.values()]
        uploads = {
            id(run.nodes[plan.id].connection) for plan in brokers if plan.upload and run.release
        }
        size = run.release.size_bytes if run.release is not None else 0
        run.plan = Plan(
            brokers=tuple(brokers),
            starts=tuple(each.id for each in brokers if each.action in {"install", "start"}),
            restarts=tuple(each.id for each in brokers if each.action == "restart"),
            upload_bytes=size * len(uploads),
            version=run.release.version if run.release is not None else "",
            leaves=tuple(run.leaving),
        )
        if run.plan.starts and len(run.plan.starts) < len(brokers):
            idle = [str(each.id) for each in brokers if each.action in {"none", "restart"}]
            run.say(self.title, "done", f"already running: {', '.join(idle)}")


def release_for(run: Run, node: Node) -> str | None:
    """The release that a node is to run; None on this machine, where nothing is shipped."""
    if node.connection.is_local or run.release is None:
        return None
    return run.release.name


def broker_plan(run: Run, node: Node) -> BrokerPlan:
    """The plan of one broker."""
    layout, facts = node.layout, node.found
    text = run.engine.configuration(run.spec, layout, run.cluster_id)
    release = release_for(run, node)
    generation = generation_digest(text, release)
    prepares = _prepares(run, node)
    action: Action = "none"
    reasons: list[str] = []
    if not facts.running:
        fresh = facts.installed.generation is None
        action = "install" if fresh and facts.owner is None else "start"
        reasons.append(_why_started(node, fresh=action == "install"))
    reasons += _differences(node, text, release, generation)
    if action == "none" and reasons:
        action = "restart"
    shipped = node.machine.releases if node.machine is not None else frozenset()
    return BrokerPlan(
        id=node.id,
        host=node.connection.name,
        action=action,
        generation=generation,
        generation_before=facts.installed.generation,
        release=release,
        release_before=facts.installed.release,
        upload=release is not None and release not in shipped,
        prepares=tuple(prepares),
        reasons=tuple(reasons),
        config_diff=config_diff(facts.installed.configuration, text),
    )


def _why_started(node: Node, *, fresh: bool) -> str:
    view = node.found.view
    if fresh:
        return "it is not installed yet"
    if view.state == "stale":
        return f"it ended by itself{f' ({view.detail})' if view.detail else ''}"
    return "it is stopped"


def _differences(node: Node, text: str, release: str | None, generation: str) -> list[str]:
    """Why what is installed is not what is wanted; [] when it is, or when nothing is installed."""
    installed = node.found.installed
    before = installed.configuration
    if installed.generation is None and before is None and not node.found.running:
        return []
    reasons = []
    if release is not None and installed.release != release:
        reasons.append(f"release {installed.release or 'unknown'} -> {release}")
    if before is None or settings_of(before) != settings_of(text):
        names = changed_settings(before or "", text)
        listed = ", ".join(names[:NAMED_MAX]) + (" ..." if len(names) > NAMED_MAX else "")
        reasons.append(f"settings changed: {listed or 'their order'}")
    unit = node.driver.unit
    if unit is not None and installed.unit != unit:
        reasons.append("its systemd unit changed" if installed.unit else "it has no systemd unit")
    if not reasons and installed.generation != generation:
        reasons.append("it was set up by another version of logctl")
    return reasons


def _prepares(run: Run, node: Node) -> list[str]:
    """What is made on another machine before its broker can start."""
    machine, layout = node.machine, node.layout
    if machine is None:
        return []
    steps = []
    if node.connection.is_root and not machine.has_user:
        steps.append(f"create the system user {run.spec.run.user}")
    for path in folders_of(layout):
        mount = machine.mounts.get(path)
        if mount is not None and not mount.exists:
            steps.append(f"create {path}")
    return steps


def folders_of(layout: BrokerLayout) -> list[str]:
    """The folders that a broker needs on another machine, parents first."""
    folders = [layout.cluster_root, layout.node_dir]
    folders += [*layout.data_roots, *layout.data_dirs, os.path.dirname(layout.log_path)]
    return list(dict.fromkeys(folders))
