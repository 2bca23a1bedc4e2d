"""An interpreter as the source of a bundle: asked for its folders, never guessed.

The interpreter must have our minor version and architecture, for our packages' native parts go with
it; anything else is a BundleError that says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from clusters.bundle.errors import BundleError

ASK_SECONDS = 20
SAID_CHARACTERS = 120
_QUESTION = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "executable": os.path.realpath(sys.executable),
    "stdlib": sysconfig.get_path("stdlib"),
    "extensions": sysconfig.get_config_var("DESTSHARED") or "",
    "version": platform.python_version(),
    "cache_tag": sys.implementation.cache_tag,
    "machine": platform.machine(),
    "libc": " ".join(platform.libc_ver()),
    "system": platform.system(),
    "implementation": platform.python_implementation(),
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """Absolute paths of one CPython, and what it calls itself."""

    executable: str
    stdlib: str
    extensions: str
    version: str
    cache_tag: str
    machine: str
    libc: str
    system: str
    implementation: str

    @property
    def minor(self) -> str:
        """As in "3.11"."""
        return ".".join(self.version.split(".")[:2])


def ask_interpreter(path: str) -> Interpreter:
    """What an interpreter says of itself; "self" is the one that runs this.

    Raises BundleError when it does not run, or is none that we can ship.
    """
    program = sys.executable if path == "self" else os.path.expanduser(path)
    try:
        done = subprocess.run(
            [program, "-I", "-c", _QUESTION],
            capture_output=True,
            text=True,
            timeout=ASK_SECONDS,
            check=True,
        )
        found = Interpreter(**json.loads(done.stdout))
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split())[-SAID_CHARACTERS:]
        raise BundleError(f"{program} did not run as a Python: {said or 'no output'}") from error
    except (OSError, ValueError, TypeError, subprocess.TimeoutExpired) as error:
        raise BundleError(f"{program} did not run as a Python: {error}") from error
    _check(found, program)
    return found


def _check(found: Interpreter, program: str) -> None:
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if found.system != "Linux" or not found.libc.startswith("glibc"):
        raise BundleError(
            f"bundles are built on Linux with the GNU C library; {program} runs on "
            f"{found.system} ({found.libc.strip() or 'another C library'}). "
            "Run logctl on a Linux machine, or give one built there with `bundle:`."
        )
    if found.implementation != "CPython" or found.minor != ours:
        raise BundleError(
            f"{program} is {found.implementation} {found.version}; our native packages need "
            f"CPython {ours}. Give a Python {ours}, or run logctl with that one."
        )
