"""What goes into a bundle, as a list: the standard library, the packages that logd needs, our code.

Reads folders and package metadata only; nothing is imported and nothing is run.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from clusters.bundle.errors import BundleError
from clusters.bundle.interpreter import Interpreter

# What logd imports that is not ours; their own requirements follow by themselves.
DISTRIBUTIONS = ("kio", "crc32c", "cramjam", "uvloop", "prometheus-client")
OUR_PACKAGES = ("broker", "clusters/supervisor")
OUR_FILES = ("clusters/__init__.py",)
_NOT_OURS = ("broker/simulation/",)
_OUR_SUFFIXES = (".py", ".json", ".jsonl", ".yaml")

_LEFT_OUT_FOLDERS = frozenset(
    {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data"}
    | {"distutils", "site-packages", "dist-packages", "__pycache__", "sqlite3", "curses", "venv"}
    | {"dbm", "xmlrpc", "unittest"}
)
_LEFT_OUT_FILES = frozenset(
    {"turtle.py", "antigravity.py", "this.py", "sitecustomize.py", "pydoc.py", "doctest.py"}
)
_LEFT_OUT_EXTENSIONS = re.compile(
    r"^(_tkinter|_gdbm|_dbm|nis|_crypt|ossaudiodev|spwd|audioop|_test|xxlimited|xxsubtype"
    r"|_ctypes_test|_xx|_codecs_|_sqlite3|_curses|readline)"
)


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """One file: its path in the archive, and where it is now."""

    target: str
    source: str


def list_contents(python: Interpreter) -> list[Item]:
    """Every file but libraries and launchers, sorted by its path in the archive."""
    library = f"lib/python{python.minor}"
    items = {
        **{f"{library}/{name}": source for name, source in _standard_library(python)},
        **{f"{library}/{name}": source for name, source in _distribution_files()},
        **{f"{library}/{name}": source for name, source in _our_files()},
    }
    return sorted(Item(target, source) for target, source in items.items())


def package_versions() -> dict[str, str]:
    """Name and version of every distribution that is shipped."""
    return {name: importlib.metadata.version(name) for name in _distributions()}


def our_version() -> str:
    """logctl's own version."""
    try:
        return importlib.metadata.version("logctl")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def _standard_library(python: Interpreter) -> Iterator[tuple[str, str]]:
    for folder, names, files in os.walk(python.stdlib):
        inside = os.path.relpath(folder, python.stdlib)
        names[:] = sorted(
            name
            for name in names
            if name not in _LEFT_OUT_FOLDERS
            and name != "lib-dynload"
            and not name.startswith("config-")
        )
        for name in files:
            if name.endswith(".py") and name not in _LEFT_OUT_FILES:
                yield os.path.normpath(f"{inside}/{name}"), f"{folder}/{name}"
    extensions = python.extensions or f"{python.stdlib}/lib-dynload"
    if not os.path.isdir(extensions):
        return
    for name in os.listdir(extensions):
        if name.endswith(".so") and not _LEFT_OUT_EXTENSIONS.match(name):
            yield f"lib-dynload/{name}", f"{extensions}/{name}"


def _distributions() -> list[str]:
    """The closure of what logd requires, without extras."""
    wanted, found = list(DISTRIBUTIONS), set[str]()
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            raise BundleError(
                f"the package {name}, which logd needs, is not installed beside logctl. "
                "Install logctl anew: pip install --force-reinstall logctl"
            ) from None
        found.add(name)
        for requirement in requires:
            condition = requirement.partition(";")[2]
            required = re.match(r"[A-Za-z0-9._-]+", requirement)
            if "extra" not in condition and "platform" not in condition and required:
                wanted.append(required.group().lower())
    return sorted(found)


def _distribution_files() -> Iterator[tuple[str, str]]:
    for name in _distributions():
        for file in importlib.metadata.files(name) or []:
            inside = str(file)
            parts = inside.split("/")
            if parts[0].endswith(".dist-info"):
                # Some packages ask for their own version; licences go with what they license.
                if parts[-1] == "METADATA" or "LICENSE" in parts[-1].upper():
                    yield inside, str(file.locate())
                continue
            if (
                inside.startswith("..")
                or _LEFT_OUT_FOLDERS.intersection(parts[:-1])
                or inside.endswith((".pyc", ".pyi", ".pyx", ".pxd", ".c", ".h", ".typed", ".pxi"))
            ):
                continue
            yield inside, str(file.locate())


def _our_files() -> Iterator[tuple[str, str]]:
    spec = importlib.util.find_spec("broker")
    if spec is None or spec.origin is None:
        raise BundleError("the package broker is not installed beside logctl")
    root = os.path.dirname(os.path.dirname(spec.origin))
    yield from ((name, f"{root}/{name}") for name in OUR_FILES)
    for package in OUR_PACKAGES:
        for folder, names, files in os.walk(f"{root}/{package}"):
            names[:] = [name for name in names if name != "__pycache__"]
            for file in files:
                inside = os.path.relpath(f"{folder}/{file}", root)
                if file.endswith(_OUR_SUFFIXES) and not inside.startswith(_NOT_OURS):
                    yield inside, f"{root}/{inside}"
