"""The bundle that hosts run: what `cluster up` ships is built here, or looked at."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from shell.output import Facts
from shell.registry import Command, Kind, Option
from shell.session import Session

if TYPE_CHECKING:
    from clusters.bundle import Bundle

_MEBIBYTE = 1 << 20


async def _build(session: Session, *, output: str | None, python: str) -> None:
    import asyncio

    from clusters.bundle import build_bundle

    try:
        made = await asyncio.to_thread(
            build_bundle,
            python=python,
            progress=session.output.progress,
            output=output,
        )
    finally:
        session.output.end_progress()
    path = made.path if output is None else output
    session.output.document(asdict(made) | {"path": path}, lambda: [_facts(made, path)])


def _facts(made: Bundle, path: str) -> Facts:
    return Facts(
        [
            ("file", path),
            ("sha256", made.sha256),
            ("release", made.sha256[:12]),
            ("version", made.version),
            ("size", f"{made.size_bytes / _MEBIBYTE:.1f} MiB"),
            ("architecture", made.architecture),
            ("python", made.python_version),
        ]
    )


COMMANDS = (
    Command(
        name="bundle build",
        summary="Build the archive that runs logd on bare hosts.",
        details=(
            "The archive holds a Python with its own C library, the packages that logd needs and "
            "logd itself, compiled; a host needs sh, tar and gzip for it, no Python and no "
            "internet. `cluster up` builds it when it is needed: this command shows what it ships, "
            "or writes it to a file. The same inputs give the same bytes; the first twelve digits "
            "of its sha256 name the release on the hosts."
        ),
        options=(
            Option(("--output", "-o"), "Write it to this file, too.", kind=Kind.FILE),
            Option(
                ("--python",),
                "The Python to ship: `self`, or the path of one of the same minor version.",
                default="self",
                metavar="self|PATH",
            ),
        ),
        examples=("bundle build", "bundle build --output logd.tar.gz"),
        run=_build,
    ),
)
