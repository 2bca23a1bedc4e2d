"""Names of files and folders in a data folder, as Apache Kafka has them.

A name that came from outside must never become part of a path without passing through here.
"""

import re

from broker.storage.errors import UnsafeName

LOG = ".log"
INDEX = ".index"
TIME_INDEX = ".timeindex"
SNAPSHOT = ".snapshot"
DELETED = ".deleted"
CLEANED = ".cleaned"  # being written by compaction
SWAP = ".swap"  # finished by compaction, about to replace what it was made from
LEFTOVERS = (DELETED, CLEANED, ".tmp")
# Ours: offsets are missing in this log. It must not be taken for damage when the topic's policy
# is no longer "compact".
GAPS = "offset-gaps"
EPOCH_CHECKPOINT = "leader-epoch-checkpoint"
PARTITION_METADATA = "partition.metadata"
DELETED_FOLDER = "-delete"

FOLDER_NAME_MAX = 255  # NAME_MAX of every file system in use
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}\Z")
_FOLDER = re.compile(r"(?P<topic>.+)-(?P<partition>0|[1-9][0-9]{0,9})\Z")
_OFFSET = re.compile(r"[0-9]{20}\Z")


def check_topic(topic: str) -> str:
    """The topic, when it may be part of a path; raises UnsafeName."""
    if not _TOPIC.match(topic) or topic in (".", ".."):
        raise UnsafeName(topic)
    return topic


def partition_folder(topic: str, partition: int) -> str:
    """``<topic>-<partition>``."""
    if partition < 0:
        raise UnsafeName(f"{topic}-{partition}")
    return f"{check_topic(topic)}-{partition}"


def deleted_folder(topic: str, partition: int, unique: str) -> str:
    """``<topic>-<partition>.<hex>-delete``, the topic shortened where the name grows too long."""
    tail = f"-{partition}.{unique}{DELETED_FOLDER}"
    return check_topic(topic)[: FOLDER_NAME_MAX - len(tail)] + tail


def parse_folder(name: str) -> tuple[str, int] | None:
    """Topic and partition of a folder, or None when it is not a partition's."""
    match = _FOLDER.match(name)
    if match is None or not _TOPIC.match(match["topic"]) or name.endswith(DELETED_FOLDER):
        return None
    return match["topic"], int(match["partition"])


def segment_path(folder: str, base_offset: int, suffix: str) -> str:
    """``<folder>/<20 digits><suffix>``."""
    return f"{folder}/{base_offset:020d}{suffix}"


def parse_offset(name: str, suffix: str) -> int | None:
    """The offset in ``<20 digits><suffix>``, or None for any other name."""
    stem = name.removesuffix(suffix)
    return int(stem) if name.endswith(suffix) and _OFFSET.match(stem) else None
