"""A live broker is sent everything but what it expects, and goes on serving.

One process takes garbage, cut and oversized frames, damaged versions of every request it serves,
bad batches, many connections. Afterwards a real client works, memory has not grown, no traceback
was logged and the processor is idle. Every case derives from a seed that a failure prints.
`LOGCTL_FUZZ_SEED` tries another one, `LOGCTL_FUZZ_FRAMES` another number of frames.
"""

import asyncio
import json
import os
import random
import resource
import socket
import struct
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from crc32c import crc32c

from benchmarks.peers import Logd
from broker.protocol import batch, schema
from broker.protocol.api_keys import METADATA_TOPIC, ApiKey
from broker.protocol.batch import Record, encode_batch
from broker.protocol.client import BrokerConnection
from broker.protocol.codec import encode_request, supported_versions
from broker.protocol.errors import ErrorCode, LogctlError
from broker.protocol.headers import encode_request_frame
from broker.protocol.network import AsyncioNetwork
from broker.protocol.schema import FieldSchema
from broker.protocol.struct import Struct

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

SEED = os.environ.get("LOGCTL_FUZZ_SEED") or "logd-1"
FRAMES = int(os.environ.get("LOGCTL_FUZZ_FRAMES") or 3000)
WAIT_SECONDS = 60.0
GROWTH_BYTES_MAX = 60 * 2**20
IDLE_CPU_SHARE_MAX = 0.15
FRAME_BYTES_MAX = 100 * 2**20
MANY_CONNECTIONS = 1000
IDLE_CONNECTIONS = 300
TOPIC = "orders"
PING = 424242
WORDS = ("1", "", "retention.ms", METADATA_TOPIC, "PLAINTEXT", "ü🦊", "x" * 300)

HOSTILE = (
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xfe",
    b"\x80\x00\x00\x00",
    b"\x7f\xff",
    b"\x80\x00",
    b"\x00",
    b"\x01\xff\xff\x03",
)


class LiveBroker:
    """The broker under attack, and how one looks at it."""

    def __init__(self, cluster: Logd) -> None:
        self.cluster = cluster
        self.port = cluster.ports[1]
        self.controller_port = cluster.controller_ports[1]
        self.process = psutil.Process(cluster.processes[1].pid)
        self.cluster_id = cluster.properties(1)["cluster.id"]
        self.topic_id = uuid.UUID(int=0)

    def connect(self, port: int | None = None) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port or self.port), WAIT_SECONDS)
        connection.settimeout(WAIT_SECONDS)
        return connection

    def log(self) -> str:
        return (self.cluster.folder / "broker-1.log").read_text(errors="replace")

    def check_alive(self, label: str) -> None:
        assert self.cluster.processes[1].poll() is None, (
            f"{label}: the broker ended: {self.log()[-4000:]}"
        )

    def check_log(self, label: str) -> None:
        for line in self.log().splitlines():
            entry = json.loads(line)
            text = f"{label}: {line[:4000]}"
            assert entry["level"] not in ("error", "critical"), text
            assert "Traceback" not in line, text

    def rss(self) -> int:
        return int(self.process.memory_info().rss)

    def ask(self, api: ApiKey, body: Struct, port: int | None = None) -> Struct:
        """One well-formed request on a new connection."""

        async def ask() -> Struct:
            network = AsyncioNetwork()
            connection = await BrokerConnection.open(
                network, "127.0.0.1", port or self.port, timeout_ms=int(WAIT_SECONDS * 1000)
            )
            try:
                return await connection.request(api, body, timeout_ms=int(WAIT_SECONDS * 1000))
            finally:
                connection.close()

        return asyncio.run(ask())

    def create_topic(self) -> None:
        """Made once it is visible, with an id."""
        limit = time.monotonic() + WAIT_SECONDS
        topic = Struct(name=TOPIC, num_partitions=2, replication_factor=1)
        while time.monotonic() < limit:
            try:
                self.ask(ApiKey.CREATE_TOPICS, Struct(topics=[topic], timeout_ms=5000))
                answer = self.ask(ApiKey.METADATA, Struct(topics=[Struct(name=TOPIC)]))
            except LogctlError:
                time.sleep(0.05)
                continue
            (found,) = answer.topics
            if found.error_code == ErrorCode.none and found.partitions[0].leader_id == 1:
                self.topic_id = found.topic_id
                return
            time.sleep(0.05)
        raise AssertionError(f"no topic: {self.log()[-4000:]}")

    def check_serves(self, label: str) -> None:
        """A real client writes and reads."""
        from confluent_kafka import Consumer, Producer, TopicPartition

        self.check_alive(label)
        settings = {"bootstrap.servers": f"127.0.0.1:{self.port}", "log_level": 0}
        value = f"{label} {time.monotonic()}".encode()
        offsets: list[int] = []
        producer = Producer({**settings, "enable.idempotence": True})
        producer.produce(
            TOPIC,
            value,
            partition=0,
            on_delivery=lambda error, message: offsets.append(-1 if error else message.offset()),
        )
        assert producer.flush(WAIT_SECONDS) == 0, label
        assert offsets != [-1], label
        consumer = Consumer({**settings, "group.id": "none", "enable.auto.commit": False})
        try:
            consumer.assign([TopicPartition(TOPIC, 0, offsets[0])])
            limit = time.monotonic() + WAIT_SECONDS
            message = None
            while message is None and time.monotonic() < limit:
                message = consumer.poll(0.1)
        finally:
            consumer.close()
        assert message is not None, label
        assert message.value() == value, label


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveBroker]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    cluster = Logd(1, folder=folder)
    exit_code: int | None = None
    try:
        cluster.__enter__()
        live = LiveBroker(cluster)
        live.create_topic()
        live.check_serves("before")
        yield live
        live.check_log(f"seed {SEED}")
        process = cluster.processes[1]
        process.terminate()
        exit_code = process.wait(WAIT_SECONDS)
    finally:
        for process in cluster.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait(WAIT_SECONDS)
    assert exit_code == 0


@pytest.fixture(autouse=True)
def unharmed(live: LiveBroker, request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test: it serves, logged no failure, holds no more memory, does nothing."""
    label = f"{request.node.name}, seed {SEED}"
    before = live.rss()
    yield
    live.check_serves(label)
    live.check_log(label)
    grown = live.rss() - before
    assert grown < GROWTH_BYTES_MAX, f"{label}: {grown / 2**20:.0f} MiB more than before"
    # Back to rest: within some spans of half a second one is nearly idle.
    limit = time.monotonic() + WAIT_SECONDS
    while (share := cpu_share(live.process)) > IDLE_CPU_SHARE_MAX:
        assert time.monotonic() < limit, f"{label}: still at {share:.0%} of a processor"


def cpu_share(process: psutil.Process) -> float:
    return float(process.cpu_percent(interval=0.5)) / 100


def closes(connection: socket.socket) -> bool:
    """Whether the broker ends the connection, answers or not, within the limit."""
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except OSError:
        pass  # it has closed already, which is an answer


# -- frames


NONSENSE = {
    "length -1": struct.pack(">i", -1),
    "lowest length": struct.pack(">i", -(2**31)),
    "length 0": struct.pack(">i", 0),
    "length 2^31-1": struct.pack(">i", 2**31 - 1),
    "100 MiB + 1": struct.pack(">i", FRAME_BYTES_MAX + 1) + b"few bytes",
    "half a header": struct.pack(">i", 3) + b"abc",
    "no client id": struct.pack(">ihhi", 8, 18, 3, 1),
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512),
    "unknown key": struct.pack(">ihhih", 10, 999, 0, 1, -1),
    "negative key": struct.pack(">ihhih", 10, -1, 0, 1, -1),
    "unknown version": struct.pack(">ihhih", 10, 3, 99, 1, -1),
    "negative version": struct.pack(">ihhih", 10, 3, -1, 1, -1),
    "version below the lowest": struct.pack(">ihhih", 10, 0, 2, 1, -1),
    "client id too long": struct.pack(">ihhih", 10, 3, 1, 1, 30000),
    "client id of length -5": struct.pack(">ihhih", 10, 3, 1, 1, -5),
}


@pytest.mark.parametrize("listener", ["client", "controller"])
def test_a_frame_that_makes_no_sense_ends_its_connection(live: LiveBroker, listener: str) -> None:
    port = live.port if listener == "client" else live.controller_port
    for label, data in NONSENSE.items():
        with live.connect(port) as connection:
            send(connection, data)
            assert closes(connection), f"the connection stays open: {label}"
        live.check_alive(label)


def test_an_unknown_version_of_api_versions_is_answered(live: LiveBroker) -> None:
    """KIP-511: in version 0, with the versions of ApiVersions, and the connection goes on."""
    with live.connect() as connection:
        for version in (5, 32767):
            connection.sendall(struct.pack(">ihhihb", 11, 18, version, 7, -1, 0))
            (length,) = struct.unpack(">i", receive(connection, 4))
            answer = receive(connection, length)
            correlation_id, code, count = struct.unpack_from(">ihi", answer)
            assert (correlation_id, code) == (7, ErrorCode.unsupported_version)
            assert count == 1  # ApiVersions itself


def receive(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        assert part, "closed"
        data += part
    return data


def test_garbage(live: LiveBroker) -> None:
    rng = random.Random(f"{SEED}/garbage")
    for _ in range(200):
        with live.connect(rng.choice((live.port, live.controller_port))) as connection:
            data = rng.randbytes(rng.choice((1, 4, 5, 40, 3000, 70_000)))
            if rng.random() < 0.5:
                # A length that fits, so that it comes as far as the header.
                data = struct.pack(">i", len(data)) + data
            send(connection, data)
            if rng.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    live.check_alive(SEED)


def test_announced_but_never_sent(live: LiveBroker) -> None:
    """Lengths near the limit take memory only as bytes arrive."""
    before = live.rss()
    connections = [live.connect() for _ in range(50)]
    for connection in connections:
        connection.sendall(struct.pack(">i", FRAME_BYTES_MAX) + bytes(1000))
    live.check_serves("while large frames are announced")
    assert live.rss() - before < GROWTH_BYTES_MAX
    for connection in connections:
        connection.close()


def test_half_requests_that_never_end(live: LiveBroker) -> None:
    frame = encode_request_frame(ApiKey.METADATA, 1, 1, "slow", encode_request(3, 1, Struct()))
    connections = [live.connect() for _ in range(len(frame) - 1)]
    for count, connection in enumerate(connections, 1):
        connection.sendall(frame[:count])
    live.check_serves("while requests are half sent")
    # The rest of one comes byte by byte, and is answered.
    patient = connections[0]
    for at in range(1, len(frame)):
        patient.sendall(frame[at : at + 1])
    (length,) = struct.unpack(">i", receive(patient, 4))
    assert receive(patient, length)[:4] == struct.pack(">i", 1)
    for connection in connections:
        connection.close()


def test_requests_without_reading_the_answers(live: LiveBroker) -> None:
    """A client that never reads is not read any more, and costs little memory."""
    body = encode_request(ApiKey.DESCRIBE_CONFIGS, 4, describe_broker())
    frame = encode_request_frame(ApiKey.DESCRIBE_CONFIGS, 4, 1, "greedy", body)
    before = live.rss()
    with live.connect() as connection:
        connection.settimeout(2)
        sent = 0
        try:
            while sent < 64 * 2**20:
                connection.sendall(frame * 200)
                sent += len(frame) * 200
        except TimeoutError:
            pass
        else:
            raise AssertionError("64 MiB of requests were taken in without one being answered")
        live.check_serves("while a client does not read")
        assert live.rss() - before < GROWTH_BYTES_MAX


def describe_broker() -> Struct:
    return Struct(
        resources=[Struct(resource_type=4, resource_name="1", configuration_keys=None)],
        include_synonyms=True,
        include_documentation=True,
    )


# -- connections


def test_many_connections_come_and_go(live: LiveBroker) -> None:
    for start in range(0, MANY_CONNECTIONS, 100):
        connections = [live.connect() for _ in range(100)]
        for place, connection in enumerate(connections, start):
            if place % 3 == 0:
                connection.sendall(b"\x00\x00")
            if place % 2 == 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
    limit = time.monotonic() + WAIT_SECONDS
    while len(live.process.net_connections("tcp")) > 100:
        assert time.monotonic() < limit, "connections stay open"
        time.sleep(0.1)


def test_idle_connections(live: LiveBroker) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    connections = [live.connect() for _ in range(IDLE_CONNECTIONS)]
    try:
        live.check_serves("with idle connections")
        limit = time.monotonic() + WAIT_SECONDS
        while cpu_share(live.process) > IDLE_CPU_SHARE_MAX:
            assert time.monotonic() < limit, "idle connections keep the broker busy"
    finally:
        for connection in connections:
            connection.close()


# -- damaged requests


def sample(
    field_list: tuple[FieldSchema, ...], version: int, rng: random.Random, live: LiveBroker
) -> Struct:
    return Struct(
        **{f.name: value(f, version, rng, live) for f in field_list if f.present(version)}
    )


def value(field: FieldSchema, version: int, rng: random.Random, live: LiveBroker) -> Any:
    if field.nullable and rng.random() < 0.3:
        return None
    if field.array:
        return [one(field, version, rng, live) for _ in range(rng.choice((0, 1, 1, 2)))]
    return one(field, version, rng, live)


def one(field: FieldSchema, version: int, rng: random.Random, live: LiveBroker) -> Any:
    """Often what exists here, so that a request goes deep."""
    match field.kind:
        case "struct":
            return sample(field.fields, version, rng, live)
        case "string":
            return rng.choice((TOPIC, TOPIC, live.cluster_id, *WORDS))
        case "records" | "bytes":
            return damaged_batch(rng)
        case "uuid":
            return rng.choice((live.topic_id, uuid.UUID(int=1), uuid.UUID(int=0)))
        case "bool":
            return rng.random() < 0.5
        case "float64":
            return rng.random()
        case "int8" | "error_code" | "int16":
            return rng.choice((0, 1, -1, 2, 4, 127 if field.kind == "int8" else 32767))
        case "uint16":
            return rng.randrange(2**16)
        case "int32":
            # Waits of clients are given as int32: none may hold this test up for long.
            return rng.choice((0, 1, -1, 2, 40, 2**31 - 1, -(2**31)))
    return rng.choice((0, 1, -1, -2, -3, 1000, 2**63 - 1, -(2**63)))


def damaged_batch(rng: random.Random) -> bytes:
    """A batch of records, most often with something wrong in it."""
    count = rng.choice((1, 1, 3, 50))
    records = [Record(n, 1_700_000_000_000 + n, b"k", rng.randbytes(20), ()) for n in range(count)]
    data = bytearray(
        encode_batch(
            records,
            compression=rng.choice(list(batch.Compression)),
            producer_id=rng.choice((-1, -1, 5)),
            producer_epoch=0,
            base_sequence=rng.choice((-1, 0, 7, 2**31 - 1)),
            control=rng.random() < 0.1,
            transactional=rng.random() < 0.1,
        )
    )
    match rng.randrange(9):
        case 0:
            data[17:21] = rng.randbytes(4)  # the checksum
        case 1:
            data[57:61] = rng.choice(HOSTILE[2:5]).ljust(4, b"\x00")  # the number of records
        case 2:
            data[23:27] = struct.pack(">i", rng.choice((-1, 10**6, 2**31 - 1)))  # last delta
        case 3:
            data[8:12] = rng.choice(HOSTILE[2:6])[:4]  # the length
        case 4:
            del data[rng.randrange(len(data)) :]
        case 5:
            data[16] = rng.choice((0, 1, 3, 255))  # magic
        case 6:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 7:
            data += bytes(data)
    if rng.random() < 0.5 and len(data) > 61:
        # Right again, so that what is behind the checksum is looked at.
        data[17:21] = struct.pack(">I", crc32c(bytes(data[21:])))
    return bytes(data)


def damage(body: bytes, rng: random.Random) -> bytes:
    data = bytearray(body)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                del data[at:]
            case 1 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                data[at : at + rng.randrange(5)] = rng.choice(HOSTILE)
            case 3:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 4:
                del data[at : at + rng.randrange(1, 5)]
            case _:
                data[at : at + 4] = rng.choice(HOSTILE)
    return bytes(data)


def served(live: LiveBroker, port: int) -> dict[int, tuple[int, int]]:
    asked = Struct(client_software_name="fuzz", client_software_version="1")
    answer = live.ask(ApiKey.API_VERSIONS, asked, port)
    return {each.api_key: (each.min_version, each.max_version) for each in answer.api_keys}


# Requests that would, when they come through unharmed, take the cluster apart as they should.
DESTRUCTIVE = frozenset({ApiKey.DELETE_TOPICS, ApiKey.UNREGISTER_BROKER})


@pytest.mark.parametrize("listener", ["client", "controller"])
def test_damaged_requests_of_every_kind(live: LiveBroker, listener: str) -> None:
    port = live.port if listener == "client" else live.controller_port
    keys = sorted(served(live, port).items())
    assert len(keys) > 10
    each = max(1, FRAMES // len(keys))
    for key, (low, high) in keys:
        rng = random.Random(f"{SEED}/{listener}/{key}")
        shape = schema.message(key, "request")
        first, last = supported_versions(key)
        for number in range(each):
            version = rng.randint(max(low, first), min(high, last))
            body = encode_request(key, version, sample(shape.fields, version, rng, live))
            if key in DESTRUCTIVE and (TOPIC.encode() in body or listener == "controller"):
                continue
            frame = encode_request_frame(key, version, number, "fuzz", damage(body, rng))
            label = f"seed {SEED}, {listener}, {ApiKey(key).name} {version}, number {number}"
            attack(live, port, frame, label)


def attack(live: LiveBroker, port: int, frame: bytes, label: str) -> None:
    """Send a frame and then one that is always answered: it is, or the connection ends."""
    ping = encode_request_frame(ApiKey.API_VERSIONS, 0, PING, "ping", b"")
    with live.connect(port) as connection:
        send(connection, frame + ping)
        try:
            while True:
                head = connection.recv(4, socket.MSG_WAITALL)
                if len(head) < 4:
                    break
                (length,) = struct.unpack(">i", head)
                answer = connection.recv(length, socket.MSG_WAITALL)
                if answer[:4] == struct.pack(">i", PING):
                    break
        except TimeoutError:
            live.check_alive(label)
            raise AssertionError(f"{label}: neither answered nor closed: {frame.hex()}") from None
        except OSError:
            pass
    live.check_alive(label)


# -- batches


def test_bad_batches_are_refused_one_by_one(live: LiveBroker) -> None:
    """Each kind of damage has its error, and nothing of it is in the log afterwards."""
    records = [Record(n, 1_700_000_000_000, b"k", b"v", ()) for n in range(3)]
    good = encode_batch(records)

    def changed(at: int, new: bytes, *, crc: bool) -> bytes:
        data = bytearray(good)
        data[at : at + len(new)] = new
        if crc:
            data[17:21] = struct.pack(">I", crc32c(bytes(data[21:])))
        return bytes(data)

    end_before = end_offset(live)
    corrupt = {ErrorCode.corrupt_message}
    invalid = {ErrorCode.invalid_record, ErrorCode.corrupt_message}
    cases = {
        "checksum": (changed(17, b"\x01\x02\x03\x04", crc=False), corrupt),
        "a flipped byte": (changed(len(good) - 1, b"\x55", crc=False), corrupt),
        "count 0": (changed(57, struct.pack(">i", 0), crc=True), invalid),
        "count -1": (changed(57, struct.pack(">i", -1), crc=True), invalid),
        "count 2^31-1": (changed(57, struct.pack(">i", 2**31 - 1), crc=True), invalid),
        "last offset delta": (changed(23, struct.pack(">i", 10**6), crc=True), invalid),
        "length": (changed(8, struct.pack(">i", 2**31 - 1), crc=False), invalid),
        "length -1": (changed(8, struct.pack(">i", -1), crc=False), invalid),
        "cut": (good[:70], invalid),
        "header only": (good[:61], invalid),
        "half a header": (good[:20], invalid),
        "control": (encode_batch(records, control=True), invalid),
        "two batches": (good + good, invalid),
    }
    for label, (data, codes) in cases.items():
        partition = Struct(index=1, records=data)
        topic = Struct(name=TOPIC, topic_id=live.topic_id, partition_data=[partition])
        answer = live.ask(ApiKey.PRODUCE, Struct(acks=-1, timeout_ms=5000, topic_data=[topic]))
        code = answer.responses[0].partition_responses[0].error_code
        assert code in codes, f"{label}: {code!r}"
    assert end_offset(live) == end_before


def end_offset(live: LiveBroker) -> int:
    partition = Struct(partition_index=1, timestamp=-1)
    answer = live.ask(
        ApiKey.LIST_OFFSETS,
        Struct(replica_id=-1, topics=[Struct(name=TOPIC, partitions=[partition])]),
    )
    return int(answer.topics[0].partitions[0].offset)
