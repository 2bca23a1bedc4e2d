"""Plans in files: written whole, read with suspicion."""

from __future__ import annotations

import json
import os
from typing import Any

from clusters.declared.planner import Plan
from clusters.declared.steps import Step, fingerprint
from clusters.errors import Problem, SpecError

FORMAT = 1
PLAN_BYTES_MAX = 64 << 20


def save_plan(path: str, plan: Plan) -> str:
    """Write a plan, readable by its owner alone; return its fingerprint."""
    mark = fingerprint(plan.cluster_id, plan.steps)
    data = {
        "format": FORMAT,
        "cluster_id": plan.cluster_id,
        "fingerprint": mark,
        "steps": [step.to_json() for step in plan.steps],
    }
    temporary = f"{path}.part"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(data, stream, indent=2)
        stream.write("\n")
    os.replace(temporary, path)
    return mark


def load_plan(path: str) -> Plan:
    """Read a plan; raises SpecError for anything that `save_plan` did not write."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(PLAN_BYTES_MAX + 1)
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from None
    try:
        data: Any = json.loads(content)
        steps = tuple(Step.from_json(each) for each in data["steps"])
        cluster_id, mark, version = data["cluster_id"], data["fingerprint"], data["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _bad(path, "is no plan; write one with apply --plan-out") from None
    if version != FORMAT:
        raise _bad(path, f"has format {version}, this logctl reads {FORMAT}")
    if mark != fingerprint(cluster_id, steps):
        raise _bad(path, "was changed after it was written; make a new one")
    return Plan(cluster_id, steps)


def _bad(path: str, message: str) -> SpecError:
    return SpecError([Problem(file=path, line=0, message=message)])
