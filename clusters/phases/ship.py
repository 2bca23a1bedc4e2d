"""Bring releases to hosts: one archive each, checked, unpacked beside the others, then complete.

A release is named by its content. A failure leaves no half of one on a disk that may be full; what
a run that was cut off left behind is thrown away by the next one.
"""

from __future__ import annotations

import asyncio

from clusters.errors import HostError
from clusters.hosts.base import Answer
from clusters.hosts.shell_words import quote
from clusters.phases.base import UPLOADS_MAX, Node, Run, all_or_tell
from clusters.units import size_text

UPLOAD_TIMEOUT_MS = 900_000
PERCENT_STEP = 10
UNPACK_TIMEOUT_MS = 180_000
_NO_SPACE = "No space left on device"

_UNPACK = """
set -e; umask 022
cd {releases}
trap 'rm -rf {tmp} {part}' EXIT
told=$(sha256sum {part}); told=${{told%% *}}
if [ "$told" != {sha256} ]; then echo "the archive arrived damaged: sha256 is $told" >&2; exit 1; fi
rm -rf {tmp} {name}; mkdir {tmp}
tar xzf {part} -C {tmp}
chmod 0755 {tmp}
if [ "$(id -u)" = 0 ]; then chown -R 0:0 {tmp}; fi
rm -f {part}
sync -f {tmp} 2>/dev/null || sync
: > {tmp}/.complete
mv {tmp} {name}
"""


class Ship:
    """Uploads the release to every machine that lacks it, a few at a time."""

    title = "ship"

    async def run(self, run: Run) -> None:
        """Act on `run.plan`."""
        assert run.plan is not None
        slots = asyncio.Semaphore(UPLOADS_MAX)

        async def ship(nodes: list[Node]) -> None:
            async with slots:
                await self._ship(run, nodes)
            for node in nodes:
                run.say(self.title, "done", "", node.id)

        await all_or_tell(run.machines(), ship)

    async def _ship(self, run: Run, nodes: list[Node]) -> None:
        assert run.plan is not None
        node, release = nodes[0], run.release
        if release is None or not any(run.plan.of(each.id).upload for each in nodes):
            return
        connection, folder = node.connection, node.layout.releases
        part = f".{release.name}.part"
        await connection.make_folder(folder, mode=0o755)

        told = 0

        def progress(sent: int) -> None:
            nonlocal told
            percent = min(100, sent * 100 // max(1, release.size_bytes))
            if percent < told + PERCENT_STEP and percent < 100:
                return
            told = percent
            text = f"{size_text(sent)} of {size_text(release.size_bytes)}"
            for each in nodes:
                run.say(self.title, "wait", text, each.id, percent)

        await connection.upload(
            release.path, f"{folder}/{part}", progress, timeout_ms=UPLOAD_TIMEOUT_MS
        )
        script = _UNPACK.format(
            releases=quote(folder),
            part=quote(part),
            sha256=quote(release.sha256),
            tmp=quote(f".{release.name}.new"),
            name=quote(release.name),
        )
        answer = await connection.run(
            script, what=f"unpack the release {release.name}", timeout_ms=UNPACK_TIMEOUT_MS
        )
        if answer.status != 0:
            raise HostError(
                f"{connection.name} could not unpack the release {release.name} in {folder}: "
                f"{_reason(answer)}"
            )


def _reason(answer: Answer) -> str:
    """Why it could not be unpacked; tar complains of every file when there is no room."""
    if _NO_SPACE in answer.complaint:
        return "no space is left there. Make room, and run the same command again"
    return answer.complaint or f"status {answer.status}"
