"""What one client writes, in every way that it can, each client reads back byte for byte."""

import random
import struct
import zlib

import pytest

from tests.interop.clients import MESSAGE_BYTES, MODES, Client, Confluent, Row
from tests.interop.real_cluster import RealCluster

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

START_MS = 1_700_000_000_000
# What stands in a batch beside the value of its only record, at most.
OVERHEAD_BYTES = 120

HEADERS = (
    ("trace", b"\x00\x01\xfe\xff"),
    ("trace", b"again"),
    ("größe-日本-🦊", "größe 日本 🦊".encode()),
    ("empty", b""),
    ("", b"empty name"),
)


def rows_for(label: str) -> list[Row]:
    """Records of every shape; timestamps run apart from the order of the records."""
    rng = random.Random(label)
    contents: list[tuple[bytes | None, bytes | None]] = [
        (b"key", b"value"),
        (None, b"no key"),
        (b"no value", None),
        (b"", b"empty key"),
        (b"empty value", b""),
        (b"", b""),
        (None, b""),
        (bytes(range(256)), bytes(range(255, -1, -1))),
        ("clé-鍵".encode(), '{"größe": 1, "🦊": null}'.encode()),
        (b"repeated", b"abc" * 20_000),
        (b"random", rng.randbytes(30_000)),
    ]
    rows = [
        Row(key, value, HEADERS if place % 2 else (), START_MS + rng.randrange(1_000_000))
        for place, (key, value) in enumerate(contents)
    ]
    more = [
        Row(b"%d" % n, b"%s %d" % (label.encode(), n), (("n", b"%d" % n),), START_MS + n)
        for n in range(100)
    ]
    return rows + more


def png(size_bytes: int, rng: random.Random) -> bytes:
    """A valid picture of noise, of exactly that size: a comment fills what is left."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    side = int(((size_bytes - 2000) / 3) ** 0.5)
    rows = b"".join(b"\x00" + rng.randbytes(3 * side) for _ in range(side))
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows, 1))
    end = chunk(b"IEND", b"")
    left = size_bytes - len(head) - len(body) - len(end) - 12
    picture = head + chunk(b"tEXt", b"Comment\x00".ljust(left, b".")) + body + end
    assert len(picture) == size_bytes
    return picture


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_client_reads_what_one_wrote(
    brokers: RealCluster, client: Client, readers: list[Client], compression: str
) -> None:
    topic = f"matrix-{client.name}-{compression}"
    rows = rows_for(topic)
    if not client.needs_content:
        rows.append(Row(None, None, (("null", None),), START_MS))
    # Each broker is a way in, for writing as for reading.
    ways = [brokers.address(node) for node in brokers.ports]
    client.create_topic(ways[0], topic, len(MODES), {})
    brokers.wait_heard(topic, len(MODES))
    for partition, mode in enumerate(MODES):
        way = ways[partition % 3]
        if mode.acks == 0:
            # A leader that does not know yet that it leads would lose them, as it may.
            Confluent().offsets(way, topic, partition, ())
        offsets = client.produce(way, topic, partition, rows, compression=compression, mode=mode)
        if mode.acks:
            assert offsets == list(range(len(rows))), mode
    for place, reader in enumerate(readers):
        for partition in range(len(MODES)):
            way = ways[(place + partition) % 3]
            found = reader.consume(way, topic, partition, len(rows))
            label = f"{reader.name}, {MODES[partition]}, from {way}"
            assert [offset for offset, _ in found] == list(range(len(rows))), label
            for (offset, got), sent in zip(found, rows, strict=True):
                assert got == sent, f"offset {offset}, {label}"


def test_a_picture_as_large_as_a_message_may_be(
    brokers: RealCluster, client: Client, readers: list[Client]
) -> None:
    topic = f"picture-{client.name}"
    client.create_topic(brokers.bootstrap, topic, 1, {})
    brokers.wait_heard(topic, 1)
    picture = png(MESSAGE_BYTES - OVERHEAD_BYTES, random.Random(topic))
    rows = [
        Row(b"fox.png", picture, (("content-type", b"image/png"),), START_MS),
        Row(b"after", b"the picture", (), START_MS + 1),
    ]
    assert client.produce(brokers.bootstrap, topic, 0, rows) == [0, 1]
    for reader in readers:
        assert reader.consume(brokers.bootstrap, topic, 0, 2) == list(enumerate(rows)), reader.name


def test_reading_begins_inside_of_a_batch(
    brokers: RealCluster, client: Client, readers: list[Client]
) -> None:
    topic = f"middle-{client.name}"
    client.create_topic(brokers.bootstrap, topic, 1, {})
    brokers.wait_heard(topic, 1)
    rows = [Row(None, b"%d" % n, (), START_MS + n) for n in range(100)]
    client.produce(brokers.bootstrap, topic, 0, rows, compression="gzip")
    expected = list(enumerate(rows))[57:]
    for reader in readers:
        found = reader.consume(brokers.bootstrap, topic, 0, 43, start=57)
        assert found == expected, reader.name
