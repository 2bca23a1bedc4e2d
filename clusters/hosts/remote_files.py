"""Files, folders and ports of a machine that understands POSIX shell and nothing more.

Works on top of `run` alone. Every path is quoted; symbolic links are never followed to remove.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clusters.errors import HostError
from clusters.hosts.base import RUN_TIMEOUT_MS, Answer, FolderFacts, PortUse
from clusters.hosts.shell_words import quote

ABSENT = 44  # our scripts' status for "there is no such thing"

_FOLDER = """
p={path}; q=$p
while [ ! -e "$q" ] && [ ! -L "$q" ] && [ "$q" != / ]; do q=$(dirname "$q"); done
if [ ! -d "$q" ]; then echo "file $q"; elif [ ! -w "$q" ] || [ ! -x "$q" ]; then echo "denied $q"
else echo "fine $q"; fi
if [ -d "$p" ]; then echo yes; else echo no; fi
df -Pk "$q" | tail -n 1
"""
_WRITE = """
set -e; umask 077
p={path}; t=$(mktemp "$(dirname "$p")/.logctl.XXXXXX")
trap 'rm -f "$t"' EXIT
cat > "$t"; {owner}chmod {mode:o} "$t"; mv -f "$t" "$p"
"""
_REMOVE_FOLDER = """
p={path}
if [ -L "$p" ]; then echo "$p is a symbolic link; remove it yourself" >&2; exit 1; fi
if [ -d "$p" ]; then rm -rf -- "$p"; fi
"""
_SWAP = """
set -e
p={path}; t="$p.new.$$"
ln -s {target} "$t"
mv -fT "$t" "$p" 2>/dev/null || {{ rm -f "$t"; ln -sfn {target} "$p"; }}
"""
_READ_FROM = """
p={path}; [ -f "$p" ] || exit 44
size=$(wc -c < "$p"); from={position}; [ "$from" -gt "$size" ] && from=0
left=$((size - from)); [ "$left" -gt {limit} ] && left={limit}
tail -c "$left" "$p"
"""
_HOLDER = """
for f in /proc/[0-9]*/fd; do
  ls -l "$f" 2>/dev/null | grep -qF "socket:[{inode}]" || continue
  pid=${{f#/proc/}}; pid=${{pid%/fd}}
  printf '%s ' "$pid"; tr '\\0' ' ' < "/proc/$pid/cmdline" | head -c 80; exit 0
done
exit 44
"""


class RemoteFiles:
    """What can be done by scripts; the subclass brings `run`."""

    if TYPE_CHECKING:

        @property
        def name(self) -> str:
            """The machine's name in messages."""

        async def run(
            self,
            script: str,
            *,
            what: str,
            stdin: bytes = b"",
            timeout_ms: int = RUN_TIMEOUT_MS,
            as_user: bool = False,
        ) -> Answer:
            """Run a script to its end."""

    async def _must(self, script: str, what: str, stdin: bytes = b"") -> Answer:
        answer = await self.run(script, what=what, stdin=stdin)
        if answer.status != 0:
            reason = answer.complaint or f"it ended with status {answer.status}"
            raise HostError(f"{self.name} could not {what}: {reason}")
        return answer

    async def port_use(self, host: str, port: int) -> PortUse | None:
        """Who listens on a port, as the kernel's tables tell; on any address of the machine."""
        pattern = f":{port:04X} [0-9A-F]*:0000 0A"
        answer = await self.run(
            f"cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep {quote(pattern)}",
            what="read its listening ports",
        )
        rows = answer.text.splitlines()
        if not rows:
            return None
        inode = rows[0].split()[9]
        found = await self.run(
            _HOLDER.format(inode=int(inode)), what="find the holder of a port", timeout_ms=20_000
        )
        pid, _, words = found.text.partition(" ")
        if found.status != 0 or not pid.isdecimal():
            return PortUse(port=port, pid=None, command=None)
        return PortUse(port=port, pid=int(pid), command=words.strip() or None)

    async def folder_facts(self, path: str, *, create: bool) -> FolderFacts:
        """Whether a folder can be written; nothing is created to find out."""
        answer = await self._must(_FOLDER.format(path=quote(path)), f"look at {path}")
        first, exists, mount = answer.text.splitlines()[:3]
        kind, _, place = first.partition(" ")
        obstacle: str | None = None
        if place != path and not create:
            obstacle = f"there is no folder {path}"
        elif kind == "file":
            obstacle = f"{place} is not a folder"
        elif kind == "denied":
            obstacle = f"{place} is not writable by this user"
        columns = mount.split()
        free = columns[3] if len(columns) > 3 else "0"
        return FolderFacts(
            path=path,
            exists=exists == "yes",
            free_bytes=int(free) * 1024 if free.isdecimal() else 0,
            obstacle=obstacle,
        )

    async def make_folder(self, path: str, *, owner: str | None = None, mode: int = 0o700) -> None:
        """Create a folder and its parents; parents that are new can be read by all."""
        there = quote(path)
        script = f'set -e; umask 022; p={there}; mkdir -p "$(dirname "$p")"\n'
        script += f'[ -d "$p" ] || mkdir -m {mode:o} "$p"\n'
        if owner is not None:
            script += f'chown {quote(owner)} "$p"\n'
        await self._must(script, f"create the folder {path}")

    async def remove_folder(self, path: str) -> None:
        """Remove a folder and all in it; a symbolic link is refused."""
        await self._must(_REMOVE_FOLDER.format(path=quote(path)), f"remove the folder {path}")

    async def list_folder(self, path: str) -> list[str]:
        """Names in a folder, sorted; [] when there is none."""
        script = f"if [ -d {quote(path)} ]; then ls -A {quote(path)}; fi"
        answer = await self._must(script, f"list the folder {path}")
        return sorted(answer.text.splitlines())

    async def read_file(self, path: str) -> bytes | None:
        """A file's content; None when there is none."""
        script = f"[ -e {quote(path)} ] || exit {ABSENT}; cat {quote(path)}"
        answer = await self.run(script, what=f"read {path}")
        if answer.status == ABSENT:
            return None
        if answer.status != 0:
            raise HostError(f"{self.name} could not read {path}: {answer.complaint}")
        return answer.out

    async def write_file(
        self, path: str, content: bytes, *, owner: str | None = None, mode: int = 0o600
    ) -> None:
        """Write a file whole or not at all."""
        change = f'chown {quote(owner)} "$t"; ' if owner is not None else ""
        script = _WRITE.format(path=quote(path), owner=change, mode=mode)
        await self._must(script, f"write {path}", content)

    async def remove_file(self, path: str) -> None:
        """Remove a file; absent is fine."""
        await self._must(f"rm -f -- {quote(path)}", f"remove {path}")

    async def read_link(self, path: str) -> str | None:
        """Where a symbolic link points to; None when there is none."""
        script = f"[ -L {quote(path)} ] || exit {ABSENT}; readlink {quote(path)}"
        answer = await self.run(script, what=f"read the link {path}")
        return answer.text if answer.status == 0 else None

    async def swap_link(self, path: str, target: str) -> None:
        """Make a symbolic link point to a target."""
        script = _SWAP.format(path=quote(path), target=quote(target))
        await self._must(script, f"switch {path}")

    async def file_size(self, path: str) -> int:
        """Size in bytes; 0 when there is none."""
        there = quote(path)
        answer = await self._must(
            f"if [ -f {there} ]; then wc -c < {there}; else echo 0; fi", f"read {path}"
        )
        return int(answer.text.strip() or 0)

    async def read_from(self, path: str, position: int, max_bytes: int) -> bytes:
        """The last `max_bytes` of a file after a position, all of it when it became shorter."""
        script = _READ_FROM.format(path=quote(path), position=int(position), limit=int(max_bytes))
        answer = await self.run(script, what=f"read {path}")
        return answer.out if answer.status == 0 else b""
