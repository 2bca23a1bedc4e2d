"""The runbook file as a JSON schema, for editors that complete and check YAML. Pure.

Which keys a file and a step may have comes from the loader's own tables; a key without words here
is an error, so that the two can't part. Commands and conditions are checked by `run --check` alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shell.registry import Registry
from shell.runbook.loading import COMMON_KEYS, KEYS, NAME, STEP_KEYS
from shell.runbook.model import ON_FAILURE, Action

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: dict[str, Any] = {"type": ["string", "number"]}
_VARIABLE: dict[str, Any] = {"type": "string", "pattern": r"\$\{"}
_DURATION: dict[str, Any] = {"type": "string", "examples": ["30s", "10m"]}
_STEPS: dict[str, Any] = {"type": "array", "items": {"$ref": "#/$defs/step"}}
_COUNT = {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 1000}, _VARIABLE]}
_CODES = {
    "anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}],
}
# Of a step and of the file: what each key is, and the words an editor shows.
_STEP: dict[str, tuple[dict[str, Any], str]] = {
    "run": ({"type": "string"}, "A command, as it is typed."),
    "wait": ({"type": "string"}, "Go on when this condition on the cluster's state holds."),
    "assert": ({"type": "string"}, "Fail unless this condition holds now."),
    "confirm": (_TEXT, "A question; --yes answers it."),
    "say": (_TEXT, "Words for the reader."),
    "for_each": (
        {"anyOf": [{"type": "array"}, _VARIABLE]},
        "A list, or one variable that holds one: the steps are taken for each item.",
    ),
    "parallel": (_STEPS, "Steps taken at once; it fails when one of them does."),
    "steps": (_STEPS, "Steps taken one after another."),
    "name": (_TEXT, "What the reader is told about the step; --from takes it too."),
    "when": (_TEXT, "A condition, or one variable: without it the step is left out."),
    "on_failure": (
        {"anyOf": [{"enum": list(ON_FAILURE)}, _STEPS]},
        "What to do when the step fails: stop, continue, or steps to take before stopping.",
    ),
    "with": ({"type": "object"}, "The command's arguments and options by name."),
    "save": (
        {"type": "string", "pattern": f"^{NAME.pattern}$"},
        "The variable that gets the command's JSON.",
    ),
    "expect": (_CODES, "Exit codes that are no failure, as in [0, 3]."),
    "timeout": (_DURATION, "End the step after this long."),
    "retry": (_COUNT, "How often to try again."),
    "every": (_DURATION, "How long between two tries."),
    "for": (_DURATION, "How long the condition must hold."),
    "message": (_TEXT, "What it means when the condition does not hold."),
    "as": ({"type": "string"}, "The variable that holds the item."),
}
_FILE: dict[str, tuple[dict[str, Any], str]] = {
    "runbook": (_TEXT, "The title."),
    "description": (_TEXT, "What it is for."),
    "variables": (
        {"type": "object", "propertyNames": {"pattern": f"^{NAME.pattern}$"}},
        "Variables with their defaults; one without must be given with --set.",
    ),
    "steps": (_STEPS | {"minItems": 1}, "What to do, in this order."),
    "on_failure": (_STEPS, "Steps to take when the run fails."),
}


def runbook_schema(registry: Registry) -> dict[str, Any]:
    """The schema; `run` has the examples of the registry's commands. Keys from x- on are free."""
    examples = [example for each in registry.commands.values() for example in each.examples[:1]]
    steps = [_step(action, examples) for action in Action]
    return {
        "$schema": DIALECT,
        "title": "A runbook of logctl",
        **_mapping(KEYS, _FILE, required="steps"),
        "$defs": {
            "step": {
                "description": "A command alone, or a mapping that does one thing.",
                "anyOf": [{"type": "string", "examples": examples}, *steps],
            }
        },
    }


def _step(action: Action, examples: list[str]) -> dict[str, Any]:
    found = _mapping((str(action), *COMMON_KEYS, *STEP_KEYS[action]), _STEP, required=str(action))
    if action is Action.FOR_EACH:
        found["required"].append("steps")
    if action is Action.RUN:
        found["properties"]["run"]["examples"] = examples
    return found


def _mapping(
    keys: Iterable[str], words: dict[str, tuple[dict[str, Any], str]], *, required: str
) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key: {**words[key][0], "description": words[key][1]} for key in keys},
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
        "required": [required],
    }
