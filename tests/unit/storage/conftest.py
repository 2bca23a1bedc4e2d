"""Batches, and a place to put them: each test that asks for ``place`` runs on both disks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from broker.protocol.batch import Record, decode_records, encode_batch, iter_batches
from broker.simulation.disk import SimDisk
from broker.storage.disk import Disk, RealDisk
from broker.storage.log import Log, LogConfig


def make_batch(
    count: int = 1, *, ts: int = 1000, step: int = 0, value: bytes = b"v" * 20, **fields: Any
) -> bytes:
    records = [Record(i, ts + step * i, b"k%d" % i, value, ()) for i in range(count)]
    return encode_batch(records, **fields)


def read_everything(log: Log, max_bytes: int = 1 << 20) -> list[Record]:
    records: list[Record] = []
    offset = log.start_offset
    while offset < log.end_offset:
        data = log.read(offset, max_bytes, upto_offset=log.end_offset)
        assert data, f"nothing at {offset} of {log.end_offset}"
        for position, header in iter_batches(data):
            records += decode_records(data, position)
            offset = header.next_offset
    return [record for record in records if record.offset >= log.start_offset]


@dataclass
class Place:
    """A disk and a folder on it, and the logs opened there."""

    disk: Disk
    root: str
    logs: list[Log] = field(default_factory=list)

    def open(self, name: str = "t-0", *, config: LogConfig | None = None, **kwargs: Any) -> Log:
        log = Log.open(self.disk, f"{self.root}/{name}", config, name=name, **kwargs)
        self.logs.append(log)
        return log

    def reopen(self, log: Log, **kwargs: Any) -> Log:
        """As after kill -9: the old one is simply forgotten."""
        log.abandon()
        return self.open(log.name, config=kwargs.pop("config", log.config), **kwargs)

    def path(self, log: Log, name: str) -> str:
        return f"{log.directory}/{name}"

    def rewrite(self, path: str, data: bytes) -> None:
        self.disk.write_atomic(path, data)


@pytest.fixture(params=["sim", "real"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    disk: Disk = SimDisk() if request.param == "sim" else RealDisk()
    root = "/data" if request.param == "sim" else str(tmp_path / "data")
    disk.make_dirs(root)
    found = Place(disk, root)
    yield found
    for log in found.logs:
        log.abandon()


@pytest.fixture
def batch() -> Callable[..., bytes]:
    return make_batch


@pytest.fixture
def everything() -> Callable[..., list[Record]]:
    return read_everything
