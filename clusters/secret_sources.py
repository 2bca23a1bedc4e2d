"""Secrets of contexts by their source: `env:NAME`, `file:PATH` or `command:PROGRAM ARGUMENTS`.

Configuration keeps the source alone. Must never log a secret, write it or put it into an argument
list; commands run without a shell.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Mapping

from clusters.errors import StateError

COMMAND_LIMIT_S = 15
KINDS = ("env", "file", "command")


def check_source(source: str) -> None:
    """Raise StateError for what is no source, without repeating it: it may be the secret itself."""
    kind, separator, rest = source.partition(":")
    if not separator or kind not in KINDS or not rest.strip():
        raise StateError(
            "A secret is named by its source: env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS"
        )


def secret(
    name: str, source: str, environ: Mapping[str, str], limit_s: float = COMMAND_LIMIT_S
) -> str:
    """The secret of a property from its source; a command may take `limit_s`, and is then ended.

    Raises StateError with the way out.
    """
    check_source(source)
    kind, _, rest = source.partition(":")
    if kind == "env":
        value = environ.get(rest)
        if not value:
            raise StateError(f"The secret {name} is missing: the variable {rest} is not set")
        return value
    if kind == "file":
        try:
            with open(rest, encoding="utf-8") as file:
                _check_private(file.fileno(), rest)
                return file.read().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise StateError(f"The secret {name} cannot be read from {rest}: {reason}") from None
    return _from_command(name, rest, environ, limit_s)


def _check_private(descriptor: int, path: str) -> None:
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    # A pipe, as of <(pass show kafka), is nobody else's.
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and mode & (stat.S_IROTH | stat.S_IWOTH):
        raise StateError(
            f"The secret file {path} may be read by everybody on this machine (mode {mode:04o}). "
            f"Run: chmod 600 {shlex.quote(path)}"
        )


def _from_command(name: str, command: str, environ: Mapping[str, str], limit_s: float) -> str:
    try:
        words = shlex.split(command)
        done = subprocess.run(
            words,
            capture_output=True,
            check=False,
            timeout=limit_s,
            stdin=subprocess.DEVNULL,
            env=dict(environ),
        )
        text = done.stdout.decode()
    except ValueError as error:
        raise StateError(f"The command of the secret {name} cannot be read: {error}") from None
    except OSError as error:
        raise StateError(f"The command of the secret {name} failed: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise StateError(
            f"The command of the secret {name} did not end within {limit_s:g} s"
        ) from None
    if done.returncode:
        raise StateError(f"The command of the secret {name} ended with code {done.returncode}")
    if not text.strip():
        raise StateError(f"The command of the secret {name} printed nothing")
    return text.rstrip("\r\n")
