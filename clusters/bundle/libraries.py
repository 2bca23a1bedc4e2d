"""Shared libraries: what programs and extensions need of this machine, the C library included.

Asks `ldd`, which every machine with the GNU C library has. Libraries that a package brings with it
stay where the package has them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from clusters.bundle.errors import BundleError

LDD_SECONDS = 60
_LINE = re.compile(r"^\s*(?:(?P<name>\S+) => )?(?P<path>/\S+) \(0x[0-9a-f]+\)$")
_MISSING = re.compile(r"^\s*(?P<name>\S+) => not found$")
_LOADER = re.compile(r"^ld-linux.*\.so\.\d+$|^ld64\.so\.\d+$")
# Opened by the C library itself, so nobody names them: unwinding of threads, and name look-ups.
_OPENED_LATER = ("libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Libraries:
    """By the name that programs ask for; `loader` is among them."""

    files: dict[str, str]
    loader: str


def find_libraries(programs: Iterable[str], brought_along: frozenset[str]) -> Libraries:
    """The libraries of programs and extensions; `brought_along` are paths already in the bundle.

    Raises BundleError when one cannot be found, or when there is no loader among them.
    """
    ldd = shutil.which("ldd")
    if ldd is None:
        raise BundleError("the program ldd is missing (Debian: package libc-bin)")
    done = subprocess.run(
        [ldd, *programs], capture_output=True, text=True, timeout=LDD_SECONDS, check=False
    )
    files: dict[str, str] = {}
    missing = set()
    for line in done.stdout.splitlines():
        if match := _LINE.match(line):
            path = match["path"]
            name = os.path.basename(match["name"] or path)
            if os.path.realpath(path) not in brought_along:
                files.setdefault(name, os.path.realpath(path))
        elif match := _MISSING.match(line):
            missing.add(match["name"])
    names_brought = {os.path.basename(path) for path in brought_along}
    if unknown := sorted(missing - names_brought):
        raise BundleError(f"libraries that Python needs are missing here: {', '.join(unknown)}")
    loaders = [name for name in files if _LOADER.match(name)]
    if not loaders:
        raise BundleError(f"no dynamic loader found by ldd: {done.stderr.strip()[:200]}")
    folder = os.path.dirname(files.get("libc.so.6", files[loaders[0]]))
    for name in _OPENED_LATER:
        if name not in files and os.path.exists(f"{folder}/{name}"):
            files[name] = os.path.realpath(f"{folder}/{name}")
    return Libraries(files=files, loader=loaders[0])
