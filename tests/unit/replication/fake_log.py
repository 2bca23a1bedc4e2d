"""A log in memory, small enough to be obviously right, for tests of the pure roles."""

import struct
from dataclasses import dataclass

HEADER = struct.Struct(">qiii")  # base offset, records, leader epoch, payload bytes


class FakeOutOfRange(Exception):
    pass


@dataclass(frozen=True)
class FakeAppended:
    first_offset: int
    last_offset: int
    size_bytes: int
    records_count: int
    log_append_time_ms: int = -1
    max_timestamp_ms: int = -1
    duplicate: bool = False


def batch(*values: str) -> bytes:
    """A batch of one record per value, as a producer sends it."""
    payload = "|".join(values).encode()
    return HEADER.pack(0, len(values), -1, len(payload)) + payload


def values(data: bytes) -> list[str]:
    """The records of a read, as 'offset:value'."""
    found: list[str] = []
    position = 0
    while position < len(data):
        base, count, _epoch, size = HEADER.unpack_from(data, position)
        payload = bytes(data[position + HEADER.size : position + HEADER.size + size]).decode()
        found += [f"{base + n}:{value}" for n, value in enumerate(payload.split("|"))]
        assert len(payload.split("|")) == count
        position += HEADER.size + size
    return found


class FakeLog:
    def __init__(self) -> None:
        self.batches: list[tuple[int, int, int, bytes]] = []  # base, count, epoch, payload
        self.epochs: list[tuple[int, int]] = []
        self.start_offset = 0
        self._empty_at = 0
        self.seen: dict[bytes, FakeAppended] = {}

    @property
    def end_offset(self) -> int:
        if not self.batches:
            return self._empty_at
        base, count, _, _ = self.batches[-1]
        return base + count

    @property
    def latest_epoch(self) -> int:
        return self.epochs[-1][0] if self.epochs else -1

    def assign_epoch(self, leader_epoch: int) -> None:
        if leader_epoch > self.latest_epoch:
            self.epochs.append((leader_epoch, self.end_offset))

    def append_as_leader(
        self, batches, leader_epoch, now_ms, *, log_append_time=False, max_batch_bytes=None
    ) -> FakeAppended:
        _base, count, _epoch, size = HEADER.unpack_from(batches)
        payload = bytes(batches[HEADER.size : HEADER.size + size])
        if payload in self.seen and payload.startswith(b"idempotent"):
            first = self.seen[payload]
            return FakeAppended(first.first_offset, first.last_offset, size, count, duplicate=True)
        first_offset = self.end_offset
        self.batches.append((first_offset, count, leader_epoch, payload))
        self.assign_epoch(leader_epoch)
        info = FakeAppended(first_offset, first_offset + count - 1, size, count)
        self.seen[payload] = info
        return info

    def append_as_follower(self, data) -> FakeAppended:
        position, first, total = 0, self.end_offset, 0
        while position < len(data):
            base, count, epoch, size = HEADER.unpack_from(data, position)
            assert base == self.end_offset
            payload = bytes(data[position + HEADER.size : position + HEADER.size + size])
            self.assign_epoch(epoch)
            self.batches.append((base, count, epoch, payload))
            position += HEADER.size + size
            total += count
        return FakeAppended(first, self.end_offset - 1, len(data), total)

    def read(self, offset, max_bytes, *, upto_offset, min_one=True) -> bytes:
        if not self.start_offset <= offset <= self.end_offset:
            raise FakeOutOfRange(offset)
        out = b""
        for base, count, epoch, payload in self.batches:
            if base + count <= offset or base >= upto_offset:
                continue
            encoded = HEADER.pack(base, count, epoch, len(payload)) + payload
            if len(out) + len(encoded) > max_bytes and not (min_one and not out):
                break
            out += encoded
        return out

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        if epoch == self.latest_epoch and epoch >= 0:
            return epoch, self.end_offset
        higher = [start for e, start in self.epochs if e > epoch]
        lower = [e for e, _ in self.epochs if e <= epoch]
        if epoch < 0 or not higher:
            return -1, -1
        return (lower[-1] if lower else epoch), higher[0]

    def truncate_to(self, offset: int) -> None:
        kept = [b for b in self.batches if b[0] + b[1] <= offset]
        if not kept and self.batches:
            self._empty_at = min(self.batches[0][0], offset)
        self.batches = kept
        self.epochs = [(e, start) for e, start in self.epochs if start < offset]

    def truncate_fully(self, new_start_offset: int) -> None:
        self.batches, self.epochs = [], []
        self.start_offset = self._empty_at = new_start_offset

    def advance_start_offset(self, offset: int) -> None:
        self.start_offset = max(self.start_offset, offset)

    def epoch_at(self, offset: int) -> int:
        return max((e for e, start in self.epochs if start <= offset), default=-1)

    def offset_for_timestamp(self, timestamp_ms, *, upto_offset):
        """Every record's timestamp is its offset x 1000."""
        offset = max(self.start_offset, -(-timestamp_ms // 1000))
        if offset >= upto_offset:
            return None
        return offset, offset * 1000, self.epoch_at(offset)

    def max_timestamp(self, upto_offset):
        if upto_offset <= self.start_offset:
            return None
        return upto_offset - 1, (upto_offset - 1) * 1000, self.epoch_at(upto_offset - 1)

    def all_values(self) -> list[str]:
        return values(self.read(self.start_offset, 1 << 30, upto_offset=self.end_offset))
