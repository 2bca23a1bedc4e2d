"""A runbook as data: steps with their places in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

# What a step may say instead of steps to take when it fails.
ON_FAILURE = ("stop", "continue")


class Action(StrEnum):
    """What a step does."""

    RUN = "run"
    WAIT = "wait"
    ASSERT = "assert"
    CONFIRM = "confirm"
    SAY = "say"
    FOR_EACH = "for_each"
    PARALLEL = "parallel"
    STEPS = "steps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step; `address` is its number, as in 3 or 4.2. Texts may hold variables.

    `words` are those of a command, `text` a condition, question or saying, `steps` what is inside.
    `on_failure` is "stop", "continue", or steps to take before stopping.
    """

    action: Action
    address: str
    line: int
    name: str = ""
    words: tuple[str, ...] = ()
    text: str = ""
    steps: tuple[Step, ...] = ()
    items: Any = None
    variable: str = "item"
    when: str = ""
    save: str = ""
    expect: tuple[int, ...] = (0,)
    for_ms: int | None = None
    timeout_ms: int | None = None
    every_ms: int = 1_000
    retry: int = 0
    on_failure: str | tuple[Step, ...] = "stop"
    message: str = ""

    @property
    def title(self) -> str:
        """What the reader is told about it."""
        if self.name:
            return self.name
        shown = " ".join(self.words) if self.action is Action.RUN else self.text
        if self.action is Action.RUN:
            return shown
        return f"{self.action} {shown}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """A checked file. `variables` have their defaults; those without must be given."""

    file: str
    title: str
    description: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    on_failure: tuple[Step, ...] = ()
