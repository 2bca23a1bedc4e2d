"""Whose data folder this is (meta.properties), and whether it was closed cleanly.

A folder that belongs to another cluster or node must be refused, never taken over; a damaged
meta.properties must never be guessed at.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from broker.protocol.errors import InvalidValue
from broker.protocol.struct import uuid_from_text, uuid_to_text
from broker.storage.checkpoints import decode_properties, encode_properties
from broker.storage.disk import Disk
from broker.storage.errors import CorruptFile, FileMissing, WrongIdentity

META_PROPERTIES = "meta.properties"
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"
META_VERSION = "1"
NO_BROKER_EPOCH = -1


@dataclass(frozen=True, slots=True)
class Identity:
    """The contents of meta.properties."""

    cluster_id: str
    node_id: int
    directory_id: uuid.UUID


def establish_identity(
    disk: Disk,
    data_dir: str,
    cluster_id: str,
    node_id: int,
    new_uuid: Callable[[], uuid.UUID],
    *,
    holds_logs: bool,
) -> Identity:
    """Read meta.properties and compare, or write it into a fresh folder.

    Raises WrongIdentity when it belongs to others, when it makes no sense, or when it is missing
    beside logs.
    """
    path = f"{data_dir}/{META_PROPERTIES}"
    try:
        data = disk.read_file(path)
    except FileMissing:
        if holds_logs:
            raise WrongIdentity(
                f"{data_dir} holds logs but no {META_PROPERTIES}, so nobody knows whose they are; "
                f"restore the file, or move the folder away and start with an empty one"
            ) from None
        identity = Identity(cluster_id, node_id, new_uuid())
        disk.write_atomic(path, _encode(identity))
        return identity
    identity = _decode(path, data)
    if identity.cluster_id != cluster_id:
        raise WrongIdentity(
            f"{data_dir} belongs to cluster {identity.cluster_id}, this broker to {cluster_id}; "
            f"set cluster.id={identity.cluster_id} or give the broker another log.dirs"
        )
    if identity.node_id != node_id:
        raise WrongIdentity(
            f"{data_dir} belongs to node {identity.node_id}, this is node {node_id}; "
            f"set node.id={identity.node_id} or give the broker another log.dirs"
        )
    return identity


def _encode(identity: Identity) -> bytes:
    return encode_properties(
        {
            "version": META_VERSION,
            "cluster.id": identity.cluster_id,
            "node.id": str(identity.node_id),
            "directory.id": uuid_to_text(identity.directory_id),
        }
    )


def _decode(path: str, data: bytes) -> Identity:
    try:
        values = decode_properties(path, data)
        if values.get("version") != META_VERSION:
            raise CorruptFile(path, f"its version is {values.get('version')!r}, not {META_VERSION}")
        missing = sorted({"cluster.id", "node.id", "directory.id"} - values.keys())
        if missing:
            raise CorruptFile(path, f"it lacks {', '.join(missing)}")
        try:
            return Identity(
                values["cluster.id"],
                int(values["node.id"]),
                uuid_from_text(values["directory.id"]),
            )
        except (ValueError, InvalidValue):
            raise CorruptFile(path, "its node.id or directory.id makes no sense") from None
    except CorruptFile as error:
        raise WrongIdentity(
            f"{error}; restore the file from a backup, or move the folder away and start with an "
            f"empty one"
        ) from None


def take_clean_shutdown(disk: Disk, data_dir: str) -> tuple[bool, int]:
    """Whether the last stop was clean, and the broker epoch then (-1 unknown).

    The mark is removed, durably: from here on a crash is a crash.
    """
    path = f"{data_dir}/{CLEAN_SHUTDOWN}"
    try:
        data = disk.read_file(path)
    except FileMissing:
        return False, NO_BROKER_EPOCH
    disk.remove(path)
    disk.sync_dir(data_dir)
    try:
        values = json.loads(data)
        epoch = values["brokerEpoch"] if isinstance(values, dict) else None
    except (ValueError, KeyError):
        return False, NO_BROKER_EPOCH
    if not isinstance(epoch, int) or isinstance(epoch, bool):
        return False, NO_BROKER_EPOCH
    return True, epoch


def mark_clean_shutdown(disk: Disk, data_dir: str, broker_epoch: int) -> None:
    """Note, durably, that everything was flushed and closed."""
    text = json.dumps({"version": 0, "brokerEpoch": broker_epoch})
    disk.write_atomic(f"{data_dir}/{CLEAN_SHUTDOWN}", text.encode())


def read_topic_id(disk: Disk, path: str) -> uuid.UUID | None:
    """The topic id in a partition.metadata file, None when absent; raises CorruptFile."""
    try:
        data = disk.read_file(path)
    except FileMissing:
        return None
    for line in data.decode("ascii", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "topic_id":
            try:
                return uuid_from_text(value.strip())
            except (ValueError, InvalidValue):
                break
    raise CorruptFile(path, "it holds no topic id")


def write_topic_id(disk: Disk, path: str, topic_id: uuid.UUID) -> None:
    """Write a partition.metadata file, durably."""
    disk.write_atomic(path, f"version: 0\ntopic_id: {uuid_to_text(topic_id)}".encode())
