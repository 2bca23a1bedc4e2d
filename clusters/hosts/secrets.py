"""Passwords and passphrases for one run: from the environment, or asked once on the terminal.

Must never be logged, put into an argument list or written to a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

SUDO_VARIABLE = "LOGCTL_SUDO_PASSWORD"
PASSPHRASE_VARIABLE = "LOGCTL_SSH_PASSPHRASE"  # noqa: S105 - the name of a variable


def _nobody(_: str) -> str | None:
    return None


@dataclass(slots=True)
class Secrets:
    """`ask(prompt)` returns what a person typed unseen, or None when there is nobody to ask."""

    ask: Callable[[str], str | None] = _nobody
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _told: dict[str, str] = field(default_factory=dict, repr=False)

    def sudo_password(self, who: str) -> str | None:
        """The password for sudo, one for all hosts of a run; None when nobody tells it."""
        return self._secret(SUDO_VARIABLE, SUDO_VARIABLE, f"Password of {who} for sudo: ")

    def passphrase(self, path: str) -> str | None:
        """The passphrase of a private key; None when nobody tells it."""
        return self._secret(PASSPHRASE_VARIABLE, path, f"Passphrase of {path}: ")

    def _secret(self, variable: str, key: str, prompt: str) -> str | None:
        given = self.environ.get(variable)
        if given:
            return given
        if key not in self._told:
            answer = self.ask(prompt)
            if answer is None:
                return None
            self._told[key] = answer
        return self._told[key]
