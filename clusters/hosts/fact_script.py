"""The one script that finds out everything about a machine, for sh, /proc and coreutils.

Changes nothing there. Pure: this module only writes the script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clusters.hosts.shell_words import quote

# What a host must have; everything else comes with the bundle.
TOOLS = (
    "tar", "gzip", "sha256sum", "timeout", "flock", "cat", "mv", "ln", "mkdir", "rm", "id", "date",
    "df", "stat", "readlink", "tail", "mktemp", "grep", "sed", "chown", "chmod", "dirname", "head",
)  # fmt: skip

_MACHINE = r"""
LC_ALL=C; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export LC_ALL PATH
say() { printf '%s\t%s\n' "$1" "$2"; }
one() { if [ -r "$2" ]; then line=; read -r line < "$2"; say "$1" "$line"; fi; }
put() { if [ -f "$2" ] && [ -r "$2" ]; then
  printf 'file\t%s\t%s\n' "$1" "$(wc -c < "$2" | tr -d ' ')"; cat "$2"; printf '\n'; fi; }
link() { if [ -L "$2" ]; then say "$1" "$(readlink "$2")"; fi; }
say arch "$(uname -m)"; say kernel "$(uname -r)"; say system "$(uname -s)"
say hostname "$(uname -n)"
one boot_id /proc/sys/kernel/random/boot_id
one machine_id /etc/machine-id
one uptime /proc/uptime
one swappiness /proc/sys/vm/swappiness
one thp /sys/kernel/mm/transparent_hugepage/enabled
one init /proc/1/comm
say memory_kb "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
say swap_kb "$(sed -n 's/^SwapTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
say cpus "$(grep -c ^processor /proc/cpuinfo)"
say nofile "$(ulimit -Hn)"
if [ -r /etc/os-release ]; then say os "$(. /etc/os-release; echo "$PRETTY_NAME")"; fi
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then say systemd yes; fi
sed -n '/ 0A /s/^/listen\t/p' /proc/net/tcp /proc/net/tcp6 2>/dev/null
"""
_TOOLS = 'for t in {tools}; do command -v "$t" >/dev/null || say missing "$t"; done\n'
_USER = "if id {user} >/dev/null 2>&1; then say has_user yes; fi\n"
_FOREIGN = r"""
for f in $(grep -lazE '(^|/)logd$|kafka\.Kafka|^broker$' /proc/[0-9]*/cmdline 2>/dev/null); do
  pid=${f#/proc/}; pid=${pid%/cmdline}
  [ "$pid" = $$ ] || say foreign "$pid $(tr '\0' ' ' < "$f" 2>/dev/null | head -c 200)"
done
"""
_MOUNT = r"""
look() {
  q=$1; e=no; w=no; [ -d "$q" ] && e=yes
  while [ ! -e "$q" ] && [ "$q" != / ]; do q=$(dirname "$q"); done
  [ -d "$q" ] && [ -w "$q" ] && w=yes
  d=$(df -Pk "$q" 2>/dev/null | tail -n 1); at=${d##* }
  o=$(sed -n "s|^[^ ]* $at [^ ]* \([^ ]*\) .*|\1|p" /proc/mounts | tail -n 1)
  printf 'mount\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$e" "$q" "$w" "$d" "$o"
}
"""
_RELEASES = """
for d in {root}/releases/*/; do
  d=${{d%/}}; [ -e "$d/.complete" ] && say release "${{d##*/}}"
done
"""
_IDENTITY = r"""
identity() {
  [ -r "$2" ] || return 0
  pid=; ticks=; boot=; read -r pid ticks boot < "$2"
  now=
  case $pid in ''|*[!0-9]*) return 0;; esac
  if [ -r "/proc/$pid/stat" ]; then
    set -- "$1" $(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null)
    [ "$2" = Z ] || now=${21}
  fi
  say identity "$1 $pid $ticks $boot $now"
}
"""
_BROKER = """
say broker {id}
link current {node}/current; link previous {node}/previous; link in_use {node}/current/release
put config {node}/current/server.properties
put manifest {node}/manifest.json
put change {node}/change
put state {node}/run/state.json
identity child {node}/run/child.identity; identity supervisor {node}/run/supervisor.identity
put unit {unit_path}
if [ -f {unit_path} ] && [ -d /run/systemd/system ]; then
  systemctl show {unit} -p LoadState -p ActiveState -p SubState -p MainPID -p NRestarts \\
    -p ExecMainStatus -p ExecMainStartTimestampMonotonic -p UnitFileState -p Result \\
    2>/dev/null | sed 's/^/show\t/'
fi
"""
_DATA = """
put marker-{index} {folder}/{marker}
if [ ! -e {folder}/{marker} ] && [ -d {folder} ] && [ -n "$(ls -A {folder})" ]; then
  say filled {index}; fi
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPlaces:
    """Where to look for one broker."""

    id: int
    node_dir: str
    data_dirs: tuple[str, ...]
    unit: str
    unit_path: str
    marker: str


def fact_script(
    *, root: str, user: str, paths: Iterable[str], brokers: Sequence[BrokerPlaces]
) -> str:
    """The script for a machine: `root` is the cluster's folder there, `paths` what will be used."""
    parts = [_MACHINE, _TOOLS.format(tools=" ".join(TOOLS)), _USER.format(user=quote(user))]
    parts += [_FOREIGN, _MOUNT]
    parts += [f"look {quote(path)}\n" for path in dict.fromkeys(paths)]
    parts += [_RELEASES.format(root=quote(root)), _IDENTITY]
    for broker in brokers:
        parts.append(
            _BROKER.format(
                id=broker.id,
                node=quote(broker.node_dir),
                unit=quote(broker.unit),
                unit_path=quote(broker.unit_path),
            )
        )
        parts += [
            _DATA.format(index=index, folder=quote(folder), marker=broker.marker)
            for index, folder in enumerate(broker.data_dirs)
        ]
    return "".join(parts) + "exit 0\n"
