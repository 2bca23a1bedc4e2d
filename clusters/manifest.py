"""What logctl knows about the processes that it started for a cluster.

A process is named by pid AND start time, so that a number that another process got later is never
mistaken for a broker. Must never be used to find processes by name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from clusters.errors import StateError
from clusters.state import cluster_state_dir, read_json, write_private

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """A process: its pid, and its start time in seconds since 1970 as the system tells it."""

    pid: int
    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRecord:
    """One broker as it was last started. `process` is None after it was stopped on request, and
    for brokers on other machines, whose supervisors know them. `generation` names release and
    settings.
    """

    id: int
    address: str
    process: ProcessIdentity | None
    config_path: str
    config_digest: str
    log_path: str
    data_dirs: tuple[str, ...]
    host: str = "local"
    generation: str = ""
    release: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The state file of one cluster."""

    cluster: str
    cluster_id: str
    spec_path: str
    engine: str
    brokers: dict[int, BrokerRecord] = field(default_factory=dict)

    def with_broker(self, record: BrokerRecord) -> Manifest:
        """A copy in which one broker is replaced."""
        return replace(self, brokers={**self.brokers, record.id: record})

    def without_process(self, broker_id: int) -> Manifest:
        """A copy in which a broker has no process."""
        record = self.brokers.get(broker_id)
        return self if record is None else self.with_broker(replace(record, process=None))


def manifest_path(cluster: str) -> str:
    """Where a cluster's manifest is kept."""
    return os.path.join(cluster_state_dir(cluster), "manifest.json")


def load_manifest(cluster: str) -> Manifest | None:
    """The manifest of a cluster, or None. Raises StateError when the file is damaged."""
    path = manifest_path(cluster)
    data = read_json(path)
    if data is None:
        return None
    try:
        return _from_json(data)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StateError(
            f"{path} is damaged or from another version. Stop the brokers listed in it, move it "
            "away and try again."
        ) from None


def save_manifest(manifest: Manifest) -> None:
    """Write the manifest, whole or not at all. Raises StateError."""
    path = manifest_path(manifest.cluster)
    try:
        write_private(path, (json.dumps(_to_json(manifest), indent=2) + "\n").encode())
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}") from None


class ManifestFile:
    """The manifest of one cluster on disk; each change is written at once."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self.manifest: Manifest | None = load_manifest(cluster)

    def record(self, broker_id: int) -> BrokerRecord | None:
        """What is known of a broker."""
        return self.manifest.brokers.get(broker_id) if self.manifest is not None else None

    def begin(self, cluster_id: str, spec_path: str, engine: str) -> None:
        """Write what holds for the whole cluster. Raises StateError before anything runs."""
        brokers = self.manifest.brokers if self.manifest is not None else {}
        self.manifest = Manifest(
            cluster=self._cluster,
            cluster_id=cluster_id,
            spec_path=spec_path,
            engine=engine,
            brokers=brokers,
        )
        save_manifest(self.manifest)

    def put(self, record: BrokerRecord) -> None:
        """Replace what is known of a broker."""
        assert self.manifest is not None, "begin() comes first"
        self.manifest = self.manifest.with_broker(record)
        save_manifest(self.manifest)

    def forget(self, broker_ids: Iterable[int]) -> None:
        """These brokers belong to the cluster no longer."""
        gone = set(broker_ids)
        if self.manifest is None or gone.isdisjoint(self.manifest.brokers):
            return
        kept = {each: known for each, known in self.manifest.brokers.items() if each not in gone}
        self.manifest = replace(self.manifest, brokers=kept)
        save_manifest(self.manifest)

    def forget_process(self, broker_id: int) -> None:
        """A broker was stopped on request."""
        if self.manifest is not None and broker_id in self.manifest.brokers:
            self.manifest = self.manifest.without_process(broker_id)
            save_manifest(self.manifest)


def _to_json(manifest: Manifest) -> dict[str, Any]:
    return {
        "version": VERSION,
        "cluster": manifest.cluster,
        "cluster_id": manifest.cluster_id,
        "spec": manifest.spec_path,
        "engine": manifest.engine,
        "brokers": [asdict(record) for _, record in sorted(manifest.brokers.items())],
    }


def _from_json(data: dict[str, Any]) -> Manifest:
    if data["version"] != VERSION:
        raise ValueError
    brokers: dict[int, BrokerRecord] = {}
    for entry in data["brokers"]:
        process = entry["process"]
        brokers[int(entry["id"])] = BrokerRecord(
            id=int(entry["id"]),
            address=str(entry["address"]),
            process=None
            if process is None
            else ProcessIdentity(pid=int(process["pid"]), started_at=float(process["started_at"])),
            config_path=str(entry["config_path"]),
            config_digest=str(entry["config_digest"]),
            log_path=str(entry["log_path"]),
            data_dirs=tuple(str(path) for path in entry["data_dirs"]),
            host=str(entry.get("host", "local")),
            generation=str(entry.get("generation", "")),
            release=str(entry.get("release", "")),
        )
    return Manifest(
        cluster=str(data["cluster"]),
        cluster_id=str(data["cluster_id"]),
        spec_path=str(data["spec"]),
        engine=str(data["engine"]),
        brokers=brokers,
    )
