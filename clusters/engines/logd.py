"""logd: our own broker."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from clusters.engines.base import Release
from clusters.engines.properties import properties_text
from clusters.layout import BrokerLayout
from clusters.spec.models import ClusterSpec

OFFSETS_REPLICAS = 3
_HEADING = "Written by logctl from {source}; changes here are lost at the next start."
_NOT_DETAILS = {
    "ts",
    "time",
    "timestamp",
    "level",
    "msg",
    "message",
    "event",
    "logger",
    "name",
    "fields",
}


class LogdEngine:
    """Runs `python -m broker` on this machine, and the bundle's `bin/logd` on others."""

    async def release(self, spec: ClusterSpec, say: Callable[[str], None]) -> Release:
        """The bundle that the file names, or that of this logctl, built when there is none yet."""
        from clusters.bundle import ensure_bundle, read_bundle

        if spec.bundle is not None:
            path = os.path.join(os.path.dirname(spec.source), os.path.expanduser(spec.bundle))  # noqa: ASYNC240
            bundle = await asyncio.to_thread(read_bundle, path)
        else:
            bundle = await ensure_bundle(progress=say)
        return Release(
            path=bundle.path,
            sha256=bundle.sha256,
            version=bundle.version,
            size_bytes=bundle.size_bytes,
            architecture=bundle.architecture,
        )

    @property
    def name(self) -> str:
        """As the cluster file spells it."""
        return "logd"

    def configuration(self, spec: ClusterSpec, layout: BrokerLayout, cluster_id: str) -> str:
        """The properties file of one broker; host settings win over the cluster's."""
        host = layout.host
        listeners, advertised = [], []
        if layout.is_broker:
            listeners.append(f"PLAINTEXT://{layout.listen_host}:{layout.client_port}")
            advertised.append(f"PLAINTEXT://{host.reachable_at}:{layout.client_port}")
        if layout.is_controller:
            listeners.append(f"CONTROLLER://{layout.listen_host}:{layout.controller_port}")
        values = {
            "node.id": str(host.id),
            "process.roles": ",".join(sorted(host.roles)),
            "cluster.id": cluster_id,
            "listeners": ",".join(listeners),
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": ",".join(
                f"{voter}@{address}:{port}" for voter, address, port in spec.voters
            ),
            "log.dirs": ",".join(layout.data_dirs),
            "log.file": layout.log_path,
            "log.file.max.bytes": str(spec.run.log_max_size),
            "log.file.max.files": str(spec.run.log_max_files),
        }
        if advertised:
            values["advertised.listeners"] = ",".join(advertised)
        if host.rack is not None:
            values["broker.rack"] = host.rack
        brokers = sum("broker" in each.roles for each in spec.hosts)
        if brokers < OFFSETS_REPLICAS:
            # Its default asks for three brokers: groups would not work on fewer.
            values["offsets.topic.replication.factor"] = str(brokers)
        values.update(sorted({**spec.settings, **host.settings}.items()))
        heading = _HEADING.format(source=spec.source or "a cluster file")
        return properties_text(values, heading=heading)

    def command(self, python: str, layout: BrokerLayout) -> Sequence[str]:
        """The command that starts a broker in the foreground."""
        if layout.host.is_local:
            return [python, "-m", "broker", "--config", layout.config_path]
        return [f"{layout.current}/release/bin/logd", "--config", layout.config_path]

    def log_lines(self, output: str) -> list[str]:
        """JSON log lines as text; other output stays as it is."""
        return [_plain(line) for line in output.splitlines() if line.strip()]


def _plain(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict):
        return line
    message = _first(entry, "message", "msg", "event")
    if message is None:
        return line
    level = _first(entry, "level")
    fields = entry.get("fields")
    shown = {key: value for key, value in entry.items() if key not in _NOT_DETAILS}
    if isinstance(fields, dict):
        shown |= fields
    details = " ".join(f"{key}={value}" for key, value in shown.items())
    return " ".join(str(part) for part in (level, message, details) if part)


def _first(entry: dict[str, Any], *names: str) -> Any:
    return next((entry[name] for name in names if name in entry), None)
