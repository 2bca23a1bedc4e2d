"""What a person has chosen for the dashboard: the part `dashboard` of the configuration file.

`theme: NAME` and `keys: {ID: KEY, ...}`; `tui.keys` says which ids and keys there are.
Must never keep the dashboard from starting: what cannot be read is told and left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from textual.theme import Theme

from clusters.nearest import hint

SETTINGS = ["theme", "keys"]
# Okabe and Ito's colours, told apart by all kinds of sight.
DARK = Theme(
    name="logctl-dark",
    primary="#56B4E9",
    secondary="#0072B2",
    accent="#56B4E9",
    warning="#E69F00",
    error="#E8743B",
    success="#2FBF93",
    foreground="#E4E4E4",
    background="#111417",
    surface="#181C20",
    panel="#22282E",
    dark=True,
)
LIGHT = Theme(
    name="logctl-light",
    primary="#0072B2",
    secondary="#56B4E9",
    accent="#0072B2",
    warning="#8A5A00",
    error="#A63C00",
    success="#00664B",
    foreground="#1B1E21",
    background="#FAFAF7",
    surface="#F2F2EE",
    panel="#E2E4E2",
    dark=False,
)


@dataclass(frozen=True, slots=True)
class Preferences:
    """`keys` as they were written, by id; `problems` are sentences about what was left out."""

    theme: str = DARK.name
    keys: Mapping[Any, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def load(themes: list[str]) -> Preferences:
    """Read the configuration file."""
    from clusters import state
    from clusters.errors import StateError

    try:
        section = state.config_section("dashboard")
    except StateError as error:
        return Preferences(problems=(str(error),))
    problems = [
        f"dashboard.{name} is unknown; {hint(str(name), SETTINGS)}"
        for name in section
        if name not in SETTINGS
    ]
    theme = section.get("theme", DARK.name)
    if theme not in themes:
        problems.append(f"dashboard.theme {theme!r} is unknown; {hint(str(theme), themes)}")
        theme = DARK.name
    keys = section.get("keys") or {}
    if not isinstance(keys, dict):
        problems.append("dashboard.keys is not a mapping of ids to keys")
        keys = {}
    return Preferences(theme, keys, tuple(problems))
