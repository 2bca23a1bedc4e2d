"""A commented cluster file to start from. Pure: writes text, asks nobody."""

from __future__ import annotations

import re
from collections.abc import Sequence

from clusters.errors import OperationError

_PLACE = re.compile(
    r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"(?::(?P<port>\d{1,5}))?"
)
_TEMPLATE = """\
# A cluster of {count} on hosts reached over SSH. Every key is explained in docs/operations.md;
# `logctl cluster validate FILE --schema` writes a JSON schema for your editor.
#   logctl cluster check FILE     what would stand in the way
#   logctl cluster up FILE        from nothing to a healthy cluster, and after every change here
cluster: {name}
engine: logd

ssh:
  user: {user}
  # identity: ~/.ssh/id_ed25519   # default: keys of the agent, then those in ~/.ssh
  become: {become}                   # sudo: become root by sudo; none: stay the user
  host_keys: accept-new           # strict: only keys that are known or pinned by host_key
  # jump: ops@bastion.example.org

paths:
  install: /opt/logctl
  data: /var/lib/logctl
  logs: /var/log/logctl

listeners: {{client: 9092, controller: 9093}}

settings:                         # any broker setting, by Kafka's name; sizes and times take units
  default.replication.factor: {factor}
  min.insync.replicas: {minimum}
  # log.retention.ms: 7d

# run: {{user: logctl, supervisor: auto, nofile: 100000, stop_timeout: 60s,
#       log_max_size: 64MiB, log_max_files: 5}}
# rollout: {{stable_readings: 3, interval: 500ms, timeout: 5m, keep_releases: 3}}
# checks: {{ignore: [swappiness], clock_skew: 500ms, disk_free: 1GiB}}

hosts:                            # an id is never used again for another broker
{hosts}
"""


def spec_template(places: Sequence[str], name: str) -> str:
    """The text for `user@host[:port]` places. Raises OperationError naming a wrong one."""
    rows = []
    users = []
    for place in places:
        found = _PLACE.fullmatch(place)
        if found is None or not 1 <= int(found["port"] or 22) <= 65535:
            raise OperationError(f'"{place}" is no host; write it like ops@10.0.0.11 or host:2222')
        users.append(found["user"] or "root")
        rows.append((found["host"], found["user"] or "root", int(found["port"] or 22)))
    common = max(users, key=users.count)
    seen: dict[str, int] = {}
    lines = []
    controllers = len(rows) if len(rows) <= 3 else (5 if len(rows) >= 10 else 3)
    for number, (host, user, port) in enumerate(rows, start=1):
        parts = [f"id: {number}", f"address: {host}"]
        if number > controllers:
            parts.append("roles: [broker]")
        ssh = [f"user: {user}"] if user != common else []
        ssh += [f"port: {port}"] if port != 22 else []
        if ssh:
            parts.append(f"ssh: {{{', '.join(ssh)}}}")
        if host in seen:
            parts.append(f"port_offset: {seen[host] * 2}")
        seen[host] = seen.get(host, 0) + 1
        lines.append(f"  - {{{', '.join(parts)}}}")
    factor = min(3, len(rows))
    return _TEMPLATE.format(
        count="one broker" if len(rows) == 1 else f"{len(rows)} brokers",
        name=name,
        user=common,
        become="none" if common == "root" else "sudo",
        factor=factor,
        minimum=max(1, factor - 1),
        hosts="\n".join(lines),
    )
