"""Scripts for a POSIX shell: quoting, and telling a script's output from that of a login shell.

Pure. Every word that comes from outside goes through `quote`.
"""

from __future__ import annotations

import secrets
import shlex

quote = shlex.quote

KILL_AFTER_S = 2


def new_marker() -> str:
    """A word that no login script writes by chance."""
    return f"logctl-{secrets.token_hex(8)}"


def words(*parts: str) -> str:
    """The parts as one line of a script, each quoted."""
    return " ".join(quote(part) for part in parts)


def marked(script: str, marker: str) -> str:
    """A script that first writes the marker to both its outputs: what came before is noise."""
    return f"printf '%s\\n' {marker}; printf '%s\\n' {marker} >&2\n{script}"


def command(script: str, marker: str, *, become: str = "", limit_s: float | None = None) -> str:
    """The command line that runs a script, after `become` and within a time limit."""
    line = f"sh -c {quote(marked(script, marker))}"
    if limit_s is not None:
        line = f"timeout -k {KILL_AFTER_S} {max(1, round(limit_s))} {line}"
    return f"{become}{line}"


def after_marker(output: bytes, marker: str) -> bytes | None:
    """What a script wrote; None when the marker never came."""
    _, found, rest = output.partition(f"{marker}\n".encode())
    return rest if found else None
