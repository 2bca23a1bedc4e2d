"""kcat from Debian lists, produces and consumes."""

import json
import random
import subprocess
from pathlib import Path

import pytest

from tests.interop.clients import Confluent, Row
from tests.interop.real_cluster import RealCluster, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

LIMIT_SECONDS = 60
START_MS = 1_700_000_000_000


class Kcat:
    def __init__(self, path: str, cluster: RealCluster) -> None:
        self.path = path
        self.cluster = cluster

    def __call__(self, *arguments: str, node: int = 1, given: bytes = b"") -> bytes:
        done = subprocess.run(
            [self.path, "-b", self.cluster.address(node), *arguments],
            input=given,
            capture_output=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@pytest.fixture
def run(kcat: str, brokers: RealCluster) -> Kcat:
    return Kcat(kcat, brokers)


@pytest.fixture
def topic(brokers: RealCluster, request: pytest.FixtureRequest) -> str:
    name = request.node.name.replace("[", "-").strip("]")
    Confluent().create_topic(brokers.bootstrap, name, 2, {})
    brokers.wait_heard(name, 2)
    return str(name)


@pytest.mark.parametrize("node", [1, 2, 3])
def test_list(run: Kcat, topic: str, node: int) -> None:
    # The broker that was asked may hear of the topic a moment later.
    until(lambda: f'topic "{topic}"'.encode() in run("-L", node=node), "the topic is listed")
    listed = json.loads(run("-L", "-J", node=node))
    assert sorted(broker["id"] for broker in listed["brokers"]) == [1, 2, 3]
    assert {broker["name"] for broker in listed["brokers"]} == {
        run.cluster.address(each) for each in run.cluster.ports
    }
    (found,) = [each for each in listed["topics"] if each["topic"] == topic]
    assert [each["partition"] for each in found["partitions"]] == [0, 1]
    for partition in found["partitions"]:
        assert sorted(each["id"] for each in partition["replicas"]) == [1, 2, 3]
        assert sorted(each["id"] for each in partition["isrs"]) == [1, 2, 3]
        assert partition["leader"] in (1, 2, 3)
    (only,) = json.loads(run("-L", "-J", "-t", topic, node=node))["topics"]
    assert only["topic"] == topic


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_produce_and_consume(run: Kcat, topic: str, compression: str) -> None:
    lines = "".join(f"k{n}:größe {n}\n" for n in range(500))
    run(
        *("-P", "-t", topic, "-p", "1", "-K", ":", "-z", compression),
        *("-H", "origin=kcat", "-X", "enable.idempotence=true"),
        node=2,
        given=lines.encode(),
    )
    out = run("-C", "-t", topic, "-p", "1", "-e", "-q", "-f", "%o %k:%s %h\n", node=3)
    assert out.decode() == "".join(f"{n} k{n}:größe {n} origin=kcat\n" for n in range(500))
    last = run("-C", "-t", topic, "-p", "1", "-o", "-5", "-c", "2", "-q", "-f", "%o\n")
    assert last == b"495\n496\n"


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_acks(run: Kcat, topic: str, acks: str) -> None:
    run("-P", "-t", topic, "-p", "0", "-X", f"acks={acks}", given=b"one\ntwo\n")
    out = run("-C", "-t", topic, "-p", "0", "-c", "2", "-q")
    assert out == b"one\ntwo\n"


def test_a_file_comes_back_byte_for_byte(run: Kcat, topic: str, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(900_000)
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    run("-P", "-t", topic, "-p", "0", str(path))
    # -D "" puts nothing after a message.
    assert run("-C", "-t", topic, "-p", "0", "-e", "-q", "-D", "") == content


def test_what_kcat_reads_of_other_clients(run: Kcat, topic: str) -> None:
    rows = [
        Row(b"k", b"v", (("h", b"1"), ("n", None)), START_MS),
        Row(None, None, (), START_MS + 5),
        Row(b"", b"", (), START_MS + 10),
    ]
    Confluent().produce(run.cluster.bootstrap, topic, 0, rows, compression="zstd")
    out = run("-C", "-t", topic, "-p", "0", "-e", "-q", "-Z", "-J").decode()
    found = [json.loads(line) for line in out.splitlines()]
    assert [(each["offset"], each["ts"], each["tstype"]) for each in found] == [
        (0, START_MS, "create"),
        (1, START_MS + 5, "create"),
        (2, START_MS + 10, "create"),
    ]
    assert [(each["key"], each["payload"]) for each in found] == [
        ("k", "v"),
        (None, None),
        ("", ""),
    ]
    assert found[0]["headers"] == ["h", "1", "n", None]
    asked = run("-Q", "-t", f"{topic}:0:{START_MS + 1}").decode()
    assert asked.split() == [topic, "[0]", "offset", "1"]
