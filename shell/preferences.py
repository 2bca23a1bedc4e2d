"""What a person has chosen for the shell: aliases, the pager, how lines are edited.

Read from the parts `aliases` and `shell` of the configuration file and from the environment. Must
never keep the shell from starting: what cannot be read is told and left out.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shell.exits import UsageProblem
from shell.nearest import did_you_mean
from shell.script import alias_words

PAGING = ("shell", "always", "never")
EDITING = ("emacs", "vi")
_KEYS = ("paging", "pager", "editing")


@dataclass(frozen=True, slots=True)
class Preferences:
    """`paging` says where long tables go through the pager; `pager` is its command as words."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    paging: str = "shell"
    pager: tuple[str, ...] = ()
    editing: str = "emacs"
    problems: tuple[str, ...] = ()


def load(environ: Mapping[str, str]) -> Preferences:
    """Return what is configured; what is wrong is in `problems`, each a sentence."""
    from clusters import state
    from clusters.errors import StateError

    problems: list[str] = []
    try:
        aliases = state.config_section("aliases")
        chosen = state.config_section("shell")
    except StateError as error:
        return Preferences(pager=_pager({}, environ), problems=(str(error),))
    where = state.config_path()
    problems += [
        f"{where}: shell.{key} is unknown.{did_you_mean(str(key), _KEYS)}"
        for key in chosen
        if key not in _KEYS
    ]
    return Preferences(
        aliases=_aliases(aliases, where, problems),
        paging=_choice(chosen, "paging", PAGING, where, problems),
        pager=_pager(chosen, environ),
        editing=_choice(chosen, "editing", EDITING, where, problems),
        problems=tuple(problems),
    )


def save_alias(name: str, text: str | None) -> bool:
    """Keep an alias, or forget it when there is no text; returns whether it was there before."""
    from clusters import state

    kept = state.config_section("aliases")
    known = name in kept
    if text is None:
        kept.pop(name, None)
    else:
        alias_words(text)
        kept[name] = text
    state.save_config_section("aliases", kept)
    return known


def _aliases(found: Mapping[str, Any], where: str, problems: list[str]) -> dict[str, str]:
    aliases = {}
    for name, text in found.items():
        try:
            alias_words(str(text))
            aliases[str(name)] = str(text)
        except UsageProblem as problem:
            problems.append(f"{where}: alias {name}: {problem.message}")
    return aliases


def _choice(
    chosen: Mapping[str, Any],
    key: str,
    choices: tuple[str, ...],
    where: str,
    problems: list[str],
) -> str:
    value = chosen.get(key, choices[0])
    if value is False:  # YAML reads "never" as text but "off" and "no" as False
        value = choices[-1]
    if value in choices:
        return str(value)
    near = did_you_mean(str(value), choices)
    problems.append(f"{where}: shell.{key} is '{value}'; it can be {', '.join(choices)}.{near}")
    return choices[0]


def _pager(chosen: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, ...]:
    text = chosen.get("pager") or environ.get("LOGCTL_PAGER") or environ.get("PAGER") or ""
    try:
        words = tuple(shlex.split(str(text)))
    except ValueError:
        words = ()
    if words:
        return words
    return ("less",) if shutil.which("less") else ()


def page(pager: tuple[str, ...], text: bytes, environ: Mapping[str, str] = os.environ) -> bool:
    """Show text through the pager; returns False when the pager cannot be started."""
    import subprocess

    # less: leave short text and the screen alone, pass colours on.
    environment = {"LESS": "FRX", **environ}
    try:
        subprocess.run(pager, input=text, env=environment, check=False)
    except OSError:
        return False
    return True
