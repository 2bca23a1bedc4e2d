"""Examples of JSON in `golden/` that hold by their fields: values are of one machine and one moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"


def shape(value: Any) -> Any:
    """The fields of a value, without what they hold; a list has the fields of all its elements."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        merged: Any = None
        for each in map(shape, value):
            merged = {**merged, **each} if isinstance(merged, dict) and each else merged or each
        return [] if merged is None else [merged]
    return None


def check_shape(name: str, data: Any, *, last: bool = False) -> None:
    """Assert that data has the fields of the example of that name (or of its last line)."""
    wanted = json.loads((GOLDEN / f"{name}.json").read_text())
    wanted = wanted[-1] if last else wanted
    assert fitting(shape(data), shape(wanted)), f"{name}: {shape(data)}, wanted {shape(wanted)}"


def fitting(found: Any, wanted: Any) -> bool:
    """Whether shapes agree; what is none or empty in one may be anything in the other."""
    if not found or not wanted:
        return True
    if isinstance(found, dict) and isinstance(wanted, dict):
        same = list(found) == list(wanted)
        return same and all(fitting(found[name], wanted[name]) for name in found)
    if isinstance(found, list) and isinstance(wanted, list):
        return fitting(found[0], wanted[0])
    return False
