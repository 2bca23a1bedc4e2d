"""Who did what to a cluster, when, and how it ended: one line a run, here and on each host.

Must never hold secrets, nor fail an operation: what cannot be written is left out.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from typing import Any

from clusters.hosts.base import Connection
from clusters.hosts.shell_words import quote
from clusters.state import cluster_state_dir

READ_BYTES_MAX = 4 << 20
HOST_TIMEOUT_MS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One run, and the `brokers` that it acted on.

    `outcome`: done, unchanged, refused, failed or interrupted.
    """

    run: str
    at: str
    by: str
    command: str
    outcome: str
    brokers: tuple[int, ...]
    elapsed_ms: int
    spec: str
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {**asdict(self), "brokers": list(self.brokers)}


def audit_path(cluster: str) -> str:
    """The record on this machine."""
    return os.path.join(cluster_state_dir(cluster), "audit.jsonl")


def new_entry(
    command: str,
    outcome: str,
    *,
    brokers: tuple[int, ...],
    elapsed_ms: int,
    spec: str,
    detail: str = "",
) -> AuditEntry:
    """An entry of now, by the present user."""
    now = dt.datetime.now(dt.UTC)
    by = "?"
    with contextlib.suppress(Exception):
        by = f"{getpass.getuser()}@{socket.gethostname()}"
    return AuditEntry(
        run=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}",
        at=now.isoformat(timespec="seconds"),
        by=by,
        command=command,
        outcome=outcome,
        brokers=brokers,
        elapsed_ms=elapsed_ms,
        spec=spec,
        detail=detail.splitlines()[0][:300] if detail else "",
    )


def append(cluster: str, entry: AuditEntry) -> None:
    """Add an entry to the record on this machine."""
    path = audit_path(cluster)
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, (json.dumps(entry.to_json()) + "\n").encode())
        finally:
            os.close(descriptor)


def entries(cluster: str) -> list[AuditEntry]:
    """Every entry of this machine's record, oldest first; lines that are damaged are left out."""
    try:
        with open(audit_path(cluster), "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - READ_BYTES_MAX))
            lines = stream.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            data = json.loads(line)
            found.append(AuditEntry(**{**data, "brokers": tuple(data["brokers"])}))
    return found


async def append_on_host(connection: Connection, path: str, entry: AuditEntry) -> None:
    """Add a line to a host's record, where its folder is."""
    brokers = ",".join(map(str, entry.brokers)) or "-"
    line = f"{entry.at} {entry.run} {entry.by} {entry.command} {entry.outcome} brokers {brokers}"
    folder = quote(os.path.dirname(path))
    with contextlib.suppress(Exception):
        await connection.run(
            f"[ -d {folder} ] || exit 0; umask 022; cat >> {quote(path)}",
            what="write its audit line",
            stdin=f"{line}\n".encode(),
            timeout_ms=HOST_TIMEOUT_MS,
        )
