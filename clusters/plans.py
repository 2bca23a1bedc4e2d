"""Plans that are not made from the cluster file: restart as it is, and go back to what was. Pure
apart from reading facts.
"""

from __future__ import annotations

from dataclasses import replace

from clusters.errors import OperationError
from clusters.phases.base import Run
from clusters.phases.plan_model import Action, BrokerPlan, Plan


def starts_only(plan: Plan) -> Plan:
    """A plan without its restarts: for starting one broker by hand."""
    brokers = tuple(
        replace(each, action="none", reasons=(), prepares=()) if each.action == "restart" else each
        for each in plan.brokers
    )
    return replace(plan, brokers=brokers, restarts=())


def restart_plan(run: Run) -> Plan:
    """Every broker with what it has: restarted when it runs, started when it does not."""
    made = _made(run)
    brokers = []
    for each in made.brokers:
        installed = run.nodes[each.id].found.installed
        if each.action == "install":
            raise OperationError(
                f"Broker {each.id} is not installed; run `logctl cluster up {run.spec.source}`."
            )
        generation = installed.generation or each.generation
        release = installed.release or each.release
        brokers.append(_to(run, each, generation, release, "asked for"))
    return _plan(made, brokers)


def rollback_plan(run: Run) -> Plan:
    """The brokers that the last change reached, each to the generation that it had before."""
    made = _made(run)
    changes = {
        each.id: run.nodes[each.id].found.installed.change
        for each in made.brokers
        if run.nodes[each.id].found.installed.previous is not None
    }
    if not changes:
        raise OperationError(
            "The cluster has nothing to go back to: it was set up once and never changed. Nothing "
            "was done."
        )
    # A change that took several runs left the same digest on each broker.
    _, last = max(changes.values())
    brokers = []
    for each in made.brokers:
        installed = run.nodes[each.id].found.installed
        if each.id in changes and changes[each.id][1] == last and installed.previous is not None:
            reason = f"back to {installed.previous}"
            brokers.append(_to(run, each, installed.previous, None, reason))
        else:
            brokers.append(_left(run, each))
    return _plan(made, brokers)


def _left(run: Run, plan: BrokerPlan) -> BrokerPlan:
    """A broker that a plan leaves as it is."""
    installed = run.nodes[plan.id].found.installed
    return replace(
        plan,
        action="none",
        generation=installed.generation or plan.generation,
        release=installed.release,
        upload=False,
        prepares=(),
        reasons=(),
        config_diff="",
    )


def _made(run: Run) -> Plan:
    assert run.plan is not None
    return run.plan


def _to(
    run: Run, plan: BrokerPlan, generation: str, release: str | None, reason: str
) -> BrokerPlan:
    action: Action = "restart" if run.nodes[plan.id].found.running else "start"
    return replace(
        plan,
        action=action,
        generation=generation,
        release=release,
        upload=False,
        prepares=(),
        reasons=(reason,),
        config_diff="",
    )


def _plan(made: Plan, brokers: list[BrokerPlan]) -> Plan:
    return replace(
        made,
        brokers=tuple(brokers),
        starts=tuple(each.id for each in brokers if each.action == "start"),
        restarts=tuple(each.id for each in brokers if each.action == "restart"),
        upload_bytes=0,
    )
