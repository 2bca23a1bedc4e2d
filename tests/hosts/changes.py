"""What was changed on a host, read from the upper folder of its overlay: exact, without asking it.

Never names what the host's own services keep writing (logs of logins, the journal, random seeds).
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["added", "changed", "removed"]
Snapshot = dict[str, tuple[int, ...]]

# Written by any login, boot or use of sudo: no deploy can help it.
OF_THE_SYSTEM = (
    "run",
    "tmp",
    "var/tmp",
    "var/log/wtmp",
    "var/log/btmp",
    "var/log/lastlog",
    "var/log/faillog",
    "var/log/journal",
    "var/lib/sudo",
    "var/lib/systemd",
    "var/lib/dbus",
    "var/lib/private",
    "var/cache/private",
    "var/log/private",
    "etc/.pwd.lock",
    "etc/passwd-",  # what useradd and userdel keep of the time before
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/machine-id",
)


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One path and what became of it."""

    path: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.kind} /{self.path}"


def take_snapshot(upper: Path, lowers: Sequence[Path]) -> Snapshot:
    """Each path that differs from the layers below: mode, owner, size and time of its change.

    A file that was written anew with what it held before is no difference.
    """
    found: Snapshot = {}
    for folder, names, files in os.walk(upper):
        for name in (*names, *files):
            path = Path(folder) / name
            inside = str(path.relative_to(upper))
            if _is_of_the_system(inside):
                continue
            below = next((low for each in lowers if os.path.lexists(low := each / inside)), None)
            if below is None or not _is_same(path, below):
                found[inside] = _traits(path)
    return found


def _is_same(path: Path, below: Path) -> bool:
    one, two = path.lstat(), below.lstat()
    if (one.st_mode, one.st_uid, one.st_gid) != (two.st_mode, two.st_uid, two.st_gid):
        return False
    if stat.S_ISREG(one.st_mode):
        return one.st_size == two.st_size and path.read_bytes() == below.read_bytes()
    return stat.S_ISDIR(one.st_mode)


def _is_of_the_system(inside: str) -> bool:
    return any(inside == each or inside.startswith(f"{each}/") for each in OF_THE_SYSTEM)


def _traits(path: Path) -> tuple[int, ...]:
    facts = path.lstat()
    traits = (facts.st_mode, facts.st_uid, facts.st_gid, facts.st_rdev)
    if stat.S_ISDIR(facts.st_mode):
        return traits  # its time changes with what is in it, which is listed itself
    return (*traits, facts.st_size, facts.st_mtime_ns)


def _is_whiteout(traits: tuple[int, ...]) -> bool:
    return stat.S_ISCHR(traits[0]) and traits[3] == 0


def changes_between(before: Snapshot, after: Snapshot) -> list[Change]:
    """Sorted. A folder that only came up with what is in it counts, too: it was made."""
    changes = [Change(path, "removed") for path in before.keys() - after.keys()]
    for path, traits in after.items():
        if path not in before:
            changes.append(Change(path, "removed" if _is_whiteout(traits) else "added"))
        elif before[path] != traits:
            changes.append(Change(path, "changed"))
    return sorted(changes)
