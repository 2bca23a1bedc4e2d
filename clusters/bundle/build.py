"""Builds a bundle, or finds it in the cache: keyed by its inputs, named by its content.

A build reads this machine and writes below the cache folder only; a file appears there whole or
not at all. Two builds of the same inputs give the same bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import math
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from clusters.bundle.archive import Entry, write_archive
from clusters.bundle.contents import Item, list_contents, our_version, package_versions
from clusters.bundle.errors import BundleError
from clusters.bundle.interpreter import Interpreter, ask_interpreter
from clusters.bundle.launchers import launchers
from clusters.bundle.libraries import Libraries, find_libraries
from clusters.bundle.model import FORMAT, Bundle

KEPT_IN_CACHE = 5
IN_USE_SECONDS = 1800.0
COMPILERS = 4
COMPILE_SECONDS = 300
STRIP_SECONDS = 60
_MEBIBYTE = 1 << 20

Say = Callable[[str], None]


async def ensure_bundle(*, python: str = "self", progress: Say | None = None) -> Bundle:
    """The bundle of this logctl, built when its inputs changed. Raises BundleError."""
    return await asyncio.to_thread(build_bundle, python=python, progress=progress)


def build_bundle(
    *, python: str = "self", progress: Say | None = None, output: str | None = None
) -> Bundle:
    """As ensure_bundle, in this thread; `output` gets a copy. Raises BundleError."""
    interpreter = ask_interpreter(python)
    items = list_contents(interpreter)
    cache = _cache_folder()
    note = cache / f"{_key(interpreter, items)}.json"
    found = _from_note(note)
    try:
        if found is None:
            cache.mkdir(parents=True, exist_ok=True)
            with _alone(cache, progress or _silent):
                found = _from_note(note) or _build_noted(
                    interpreter, items, note, progress or _silent
                )
    except OSError as error:
        raise BundleError(f"the bundle could not be written: {error}") from error
    if output is not None:
        _copy(found.path, os.path.expanduser(output))
    return found


def _build_noted(python: Interpreter, items: list[Item], note: Path, say: Say) -> Bundle:
    say(f"building the bundle from Python {python.version}")
    found = _build(python, items, note.parent, say)
    _write_whole(note, json.dumps(asdict(found), indent=2) + "\n")
    _forget_old(note.parent)
    return found


@contextlib.contextmanager
def _alone(cache: Path, say: Say) -> Iterator[None]:
    """One build at a time: several runs that lack the same bundle wait for the first of them."""
    folder = os.open(cache, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another logctl, which builds a bundle")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _copy(source: str, output: str) -> None:
    part = f"{output}.{os.getpid()}.part"
    try:
        shutil.copyfile(source, part)
        os.replace(part, output)
    except OSError as error:
        raise BundleError(f"cannot write {output}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)


def _silent(_: str) -> None:
    return


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "logctl" / "bundles"


def _key(python: Interpreter, items: Sequence[Item]) -> str:
    """Changes when any input may have: by time and size, for reading them all takes too long."""
    digest = hashlib.sha256(f"{FORMAT} {python} {shutil.which('strip')}".encode())
    own = [Item(name, os.path.join(os.path.dirname(__file__), name)) for name in _own_sources()]
    for item in [*items, *own, Item("python", python.executable)]:
        facts = os.stat(item.source)
        digest.update(f"{item.target}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def _own_sources() -> list[str]:
    return sorted(name for name in os.listdir(os.path.dirname(__file__)) if name.endswith(".py"))


def _from_note(note: Path) -> Bundle | None:
    with contextlib.suppress(OSError, ValueError, TypeError):
        found = Bundle(**json.loads(note.read_text(encoding="utf-8")))
        if os.path.getsize(found.path) == found.size_bytes:
            os.utime(note)
            os.utime(found.path)
            return found
    return None


def _build(python: Interpreter, items: list[Item], cache: Path, say: Say) -> Bundle:
    with tempfile.TemporaryDirectory(prefix="build-", dir=cache) as work:
        natives = [item.source for item in items if _is_native(item.target)]
        libraries = find_libraries(
            [python.executable, *natives], frozenset(os.path.realpath(each) for each in natives)
        )
        say(f"compiling {sum(item.target.endswith('.py') for item in items)} files")
        compiled = _compile(python, items, work)
        entries = [*_natives(python, items, libraries, work), *compiled]
        entries += [
            Entry(item.target, item.source) for item in items if not _is_native(item.target)
        ]
        for name, text in launchers(libraries.loader, python.minor).items():
            entries.append(Entry(f"bin/{name}", None, text.encode(), executable=True))
        entries.append(Entry("manifest.json", None, _manifest(python).encode()))
        say(f"packing {len(entries)} files")
        part = os.path.join(work, "part")
        digest = write_archive(part, entries)
        version = our_version()
        name = f"logd-{version}-{digest[:12]}-{python.machine}.tar.gz"
        path = str(cache / name)
        size = os.path.getsize(part)
        os.replace(part, path)
    say(f"bundle {digest[:12]} built, {size / _MEBIBYTE:.1f} MiB")
    return Bundle(
        path=path,
        sha256=digest,
        version=version,
        size_bytes=size,
        architecture=python.machine,
        python_version=python.version,
    )


def _is_native(target: str) -> bool:
    name = os.path.basename(target)
    return name.endswith(".so") or ".so." in name


def _natives(
    python: Interpreter, items: Sequence[Item], libraries: Libraries, work: str
) -> Iterator[Entry]:
    """Programs and libraries, without what only debuggers read where `strip` is there."""
    yield Entry(f"bin/python{python.minor}", _stripped(python.executable, work), executable=True)
    for item in items:
        if _is_native(item.target):
            yield Entry(item.target, _stripped(item.source, work))
    for name, source in libraries.files.items():
        is_loader = name == libraries.loader
        yield Entry(
            f"lib/{name}", source if is_loader else _stripped(source, work), executable=is_loader
        )


def _stripped(source: str, work: str) -> str:
    strip = shutil.which("strip")
    if strip is None:
        return source
    name = hashlib.sha256(source.encode()).hexdigest()[:16]
    target = os.path.join(work, name)
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            [strip, "--strip-unneeded", "-o", target, source],
            check=True,
            capture_output=True,
            timeout=STRIP_SECONDS,
        )
        return target
    return source


def _compile(python: Interpreter, items: Sequence[Item], work: str) -> list[Entry]:
    """Compile all sources; the shares are the same on every machine, and with them the bytes."""
    sources = [item for item in items if item.target.endswith(".py")]
    running = []
    for share in range(COMPILERS):
        listing = os.path.join(work, f"share-{share}")
        with open(listing, "w", encoding="utf-8") as file:
            file.writelines(f"{item.source}\t{item.target}\n" for item in sources[share::COMPILERS])
        program = os.path.join(os.path.dirname(__file__), "compiling.py")
        running.append(
            subprocess.Popen(
                [python.executable, "-I", "-S", program, listing, work],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in running:
        _, said = process.communicate(timeout=COMPILE_SECONDS)
        if process.returncode != 0:
            raise BundleError(f"compiling failed: {said.strip()}")
    return [
        Entry(_cached_name(item.target, python.cache_tag), f"{work}/{item.target}.pyc")
        for item in sources
    ]


def _cached_name(target: str, tag: str) -> str:
    folder, name = os.path.split(target)
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"


def _manifest(python: Interpreter) -> str:
    facts = {
        "format": FORMAT,
        "version": our_version(),
        "python": python.version,
        "architecture": python.machine,
        "c_library": python.libc,
        "packages": package_versions(),
    }
    return json.dumps(facts, indent=2, sort_keys=True) + "\n"


def _write_whole(path: Path, text: str) -> None:
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _forget_old(cache: Path) -> None:
    """Keep the newest few, by when they were last used, and what others may be using just now."""
    notes = sorted(cache.glob("*.json"), key=_unused_seconds)
    for note in notes[KEPT_IN_CACHE:]:
        note.unlink(missing_ok=True)
    kept = {found.path for note in notes[:KEPT_IN_CACHE] if (found := _from_note(note))}
    for archive in cache.glob("logd-*.tar.gz"):
        if str(archive) not in kept and _unused_seconds(archive) > IN_USE_SECONDS:
            archive.unlink(missing_ok=True)
    for left in cache.glob("build-*"):  # by a build that was killed
        if _unused_seconds(left) > IN_USE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _unused_seconds(path: Path) -> float:
    """How long ago it was written or used; another logctl may take it away meanwhile."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf
