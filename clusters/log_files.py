"""A broker's log and the older parts that it was rotated into: `FILE.1` is the newest of them.

Reads only. Lines are found across a rotation, and following goes on behind it.
"""

from __future__ import annotations

import os
import re

from clusters.hosts.base import Connection
from clusters.hosts.shell_words import quote

# When the written file has too few lines, older files give the rest, oldest first. It is then
# shown whole, not by a number of lines: what is added meanwhile must not push lines out.
_TAIL = """
p={path}; want={lines}
count() {{ tail -n "$want" "$1" 2>/dev/null | wc -l; }}
older() {{
  [ "$2" -gt 0 ] && [ -f "$p.$1" ] || return 0
  older $(($1 + 1)) $(($2 - $(count "$p.$1")))
  tail -n "$2" "$p.$1"
}}
have=$(count "$p"); from=$want
if [ "$have" -lt "$want" ]; then older 1 $((want - have)); from=+1; fi
exec tail -n "$from" {follow}"$p" 2>/dev/null
"""


def tail_script(path: str, lines: int, *, follow: bool) -> str:
    """The shell script that writes the last lines of a log, and those that come, if wanted."""
    return _TAIL.format(path=quote(path), lines=int(lines), follow="-F " if follow else "")


async def log_files(connection: Connection, path: str) -> list[str]:
    """The log, and each older part of it that is there. Raises HostError."""
    folder, name = os.path.split(path)
    older = re.compile(re.escape(name) + r"\.\d+")
    found = [each for each in await connection.list_folder(folder) if older.fullmatch(each)]
    return [path, *(os.path.join(folder, each) for each in found)]
