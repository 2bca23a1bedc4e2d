"""What a person has chosen for the dashboard: the part `dashboard` of the configuration file.

`theme: NAME` and `keys: {ID: KEY, ...}`, where the ids are those that the help of a page names.
Must never keep the dashboard from starting: what cannot be read is told and left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from textual.theme import Theme

from clusters.nearest import hint

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
    """`problems` are sentences about what was left out."""

    theme: str = DARK.name
    keys: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def load(themes: list[str], key_ids: list[str]) -> Preferences:
    """Read the configuration file."""
    from clusters import state
    from clusters.errors import StateError

    try:
        section = state.config_section("dashboard")
    except StateError as error:
        return Preferences(problems=(str(error),))
    problems = []
    theme = section.get("theme", DARK.name)
    if theme not in themes:
        problems.append(f"dashboard.theme {theme!r} is unknown; {hint(str(theme), themes)}")
        theme = DARK.name
    keys: dict[str, str] = {}
    chosen = section.get("keys", {})
    if not isinstance(chosen, dict):
        problems.append("dashboard.keys is not a mapping of ids to keys")
        chosen = {}
    for id_, key in chosen.items():
        if id_ not in key_ids:
            problems.append(f"dashboard.keys.{id_} is unknown; {hint(str(id_), key_ids)}")
        elif not isinstance(key, str) or not key:
            problems.append(f"dashboard.keys.{id_} is not the name of a key")
        else:
            keys[id_] = key
    return Preferences(theme, keys, tuple(problems))
