"""Records through real brokers: written, read, resent, read as a group, read past a dead leader."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

import clusters
from clusters.throwaway import ThrowAwayCluster
from tests.shell.terminal import Terminal

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]


@dataclass
class Cluster:
    """Runs `logctl` as processes with the throw-away cluster as their current context."""

    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *words: str, **more) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "shell.main", *words],
            stdin=more.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **more,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Nothing outlives a test that failed in the middle."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()

    def run(self, *words: str, stdin: bytes = b"", code: int = 0) -> tuple[bytes, str]:
        process = self.start(*words, stdin=subprocess.PIPE)
        out, err = process.communicate(stdin, timeout=90)
        assert process.returncode == code, err.decode()
        assert b"Traceback" not in err
        return out, err.decode()

    def topic(self, name: str, partitions: int = 1) -> str:
        # Records of long ago stay, however long the tests take.
        kept = ("-c", "retention.ms=-1")
        self.run("topic", "create", name, "-p", str(partitions), "-r", "3", *kept)
        return name

    def whole(self, *topics: str, more: tuple[str, ...] = ()) -> list[dict]:
        words = ("tail", *topics, "--from", "start", "--until", "end", "--format", "json", *more)
        return [json.loads(line) for line in self.run(*words)[0].splitlines()]


@pytest.fixture(scope="module")
def logctl(tmp_path_factory):
    given = yaml.safe_load((Path(clusters.__file__).parent / "local.yaml").read_text())
    # By default the first member of a group waits three seconds for others.
    given["settings"]["group.initial.rebalance.delay.ms"] = 0
    spec = tmp_path_factory.mktemp("spec") / "local.yaml"
    spec.write_text(yaml.safe_dump(given))
    cluster = ThrowAwayCluster(str(spec), own_ports=True)
    cluster.prepare()
    users = Cluster()
    try:
        asyncio.run(cluster.up())
        yield users
    finally:
        users.end()
        asyncio.run(cluster.close())


def lines_as_they_come(process, wanted, seconds=60):
    """Collect lines of a process until `wanted(lines)`; a reader of its own keeps it from hanging."""
    lines: list[bytes] = []
    news = threading.Condition()

    def read():
        for line in process.stdout:
            with news:
                lines.append(line)
                news.notify_all()

    threading.Thread(target=read, daemon=True).start()
    with news:
        done = news.wait_for(lambda: wanted(lines), timeout=seconds)
    assert done, lines[-3:]
    return lines


def test_what_tail_printed_is_written_again_unchanged(logctl, tmp_path):
    first, second = logctl.topic("first", 3), logctl.topic("second", 3)
    binary = tmp_path / "binary"
    binary.write_bytes(bytes(range(256)))
    logctl.run("produce", first, "text", "ünï", "-k", "k1", "-H", "h=1", "-H", "h=2")
    logctl.run(
        "produce",
        first,
        "--file",
        str(binary),
        "--whole",
        "-k",
        "bin",
        "--timestamp",
        "2024-02-29T12:00:00.123Z",
    )
    logctl.run("produce", first, "--tombstone", "gone")
    logctl.run("produce", first, "no key at all", "", "--partition", "2")
    nothing = json.dumps({"key": None, "value": None, "headers": [{"name": "n", "value": None}]})
    logctl.run("produce", first, "-i", "records", stdin=nothing.encode())
    before = logctl.whole(first)
    assert len(before) == 7
    printed = "".join(json.dumps(record) + "\n" for record in before)
    logctl.run("produce", second, "-i", "records", "--keep-partition", stdin=printed.encode())

    def content(records):
        kept = [{k: v for k, v in r.items() if k not in {"topic", "offset"}} for r in records]
        return sorted(json.dumps(record, sort_keys=True) for record in kept)

    assert content(logctl.whole(second)) == content(before)


def test_failures_are_named_by_line_and_the_others_are_written(logctl):
    topic = logctl.topic("checked")
    logctl.run("produce", topic, "--input", "json", stdin=b'{"a":1}\n{\n{"a":2}\n', code=1)
    data = b'{"a":3}\n{\n{"a":4}\n'
    out, err = logctl.run(
        "produce", topic, "-i", "json", "--keep-going", "--format", "json", stdin=data, code=1
    )
    assert "standard input line 2 is not JSON" in err
    summary = json.loads(out)
    assert (summary["records"], summary["failed"]) == (2, 1)
    _, err = logctl.run("produce", topic, "--input", "json", "--dry-run", stdin=data, code=1)
    assert "Nothing was written" in err
    values = [json.loads(record["value"]) for record in logctl.whole(topic)]
    assert values == [{"a": 1}, {"a": 3}, {"a": 4}]


def test_a_record_that_the_brokers_refuse_is_named_and_the_others_go_on(logctl):
    logctl.run(
        "topic", "create", "small", "-p", "1", "-r", "3", "--config", "max.message.bytes=1000"
    )
    data = b"one\n" + os.urandom(2_000).hex().encode() + b"\nthree\n"
    _, err = logctl.run("produce", "small", "--keep-going", stdin=data, code=1)
    assert "standard input line 2: " in err
    assert "MessageSizeTooLarge" in err or "RecordTooLarge" in err
    assert sorted(r["value"] for r in logctl.whole("small")) == ["one", "three"]


def test_filters_and_templates(logctl):
    topic, other = logctl.topic("filtered", 2), logctl.topic("filtered-too")
    rows = "".join(f'{{"id": "c{i % 3}", "n": {i}, "tags": ["t{i}"]}}\n' for i in range(12))
    logctl.run("produce", topic, "-i", "json", "--key-field", "id", stdin=rows.encode())
    logctl.run("produce", other, "plain", "-H", "trace=abc")
    more = ("-w", "n>=4", "-w", "id=c1")
    assert sorted(json.loads(r["value"])["n"] for r in logctl.whole(topic, more=more)) == [4, 7, 10]
    assert [r["topic"] for r in logctl.whole("filter*", more=("-H", "trace=^a"))] == [other]
    out, _ = logctl.run(
        *("tail", topic, "-f", "start", "-u", "end", "--key", "!c[01]", "-t"), "{key}:{value.n}"
    )
    assert sorted(out.split()) == [b"c2:11", b"c2:2", b"c2:5", b"c2:8"]
    counts = [r["partition"] for r in logctl.whole(f"{topic}:0-1", more=("--until", "+2"))]
    assert sorted(counts) == [0, 0, 1, 1]


def test_a_group_commits_what_was_printed_and_no_more(logctl):
    topic = logctl.topic("grouped", 2)
    logctl.run("produce", topic, stdin=b"".join(b"%d\n" % i for i in range(20)))
    words = ("tail", topic, "--group", "readers", "--from", "start", "--format", "string")
    first = logctl.run(*words, "--max", "7")[0].split()
    rest = logctl.run(*words, "--until", "end")[0].split()
    assert len(first) == 7
    assert sorted([*first, *rest], key=int) == [b"%d" % i for i in range(20)]
    decoded = [
        r["decoded"] for r in logctl.whole("__consumer_offsets") if r.get("decoded") is not None
    ]
    commits = [d for d in decoded if d["type"] == "offset-commit" and d["group"] == "readers"]
    final = {d["partition"]: d["offset"] for d in commits}
    assert sum(final.values()) == 20
    members = [m for d in decoded if d["type"] == "group-metadata" for m in d.get("members", [])]
    assert any(m["assignment"] and m["assignment"][0]["topic"] == topic for m in members)


def test_a_group_stops_where_it_is_told_to_and_leaves_the_rest(logctl):
    topic = logctl.topic("shared-out", 2)
    for partition, count in ((0, 8), (1, 3)):
        lines = b"".join(b"%d:%d\n" % (partition, i) for i in range(count))
        logctl.run("produce", topic, "--partition", str(partition), stdin=lines)

    def read(until: str, more: tuple[str, ...] = ()) -> list[bytes]:
        words = ("tail", topic, "--group", "sharers", "--from", "start", "--format", "string")
        return sorted(logctl.run(*words, "--until", until, *more)[0].split())

    assert read("2") == [b"0:0", b"0:1", b"1:0", b"1:1"]
    assert read("+2") == [b"0:2", b"0:3", b"1:2"]
    assert read("+2", ("--value", "nothing like it")) == []
    assert read("-1") == [b"0:6"]
    assert read("@-1h") == []
    assert read("end") == [b"0:7"]
    assert read("end") == []
    described = logctl.run("group", "describe", "sharers", "--format", "json")[0]
    assert [row["lag"] for row in json.loads(described)["partitions"]] == [0, 0]


def test_so_many_of_each_partition_as_there_are(logctl):
    topic = logctl.topic("uneven", 2)
    logctl.run("produce", topic, "--partition", "0", "a", "b", "c")
    logctl.run("produce", topic, "--partition", "1", "d")
    words = ("tail", topic, "--from", "start", "--until", "+2", "--format", "string")
    assert sorted(logctl.run(*words)[0].split()) == [b"a", b"b", b"d"]


def test_a_file_is_followed_and_ctrl_c_tells_what_was_written(logctl, tmp_path):
    topic = logctl.topic("followed")
    log = tmp_path / "app.log"
    log.write_bytes(b"old\n")
    process = logctl.start("produce", topic, "--file", str(log), "--follow", "--format", "json")
    reader = logctl.start("tail", topic, "--from", "start", "--format", "string")
    try:
        lines_as_they_come(reader, lambda lines: lines == [b"old\n"])
        log.rename(tmp_path / "app.log.1")
        log.write_bytes(b"new\n")
    finally:
        reader.kill()
        reader.wait()
    deadline = time.monotonic() + 30
    while len(logctl.whole(topic)) < 2:
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["records"] == 2


def test_tail_follows_a_moved_leader_without_a_gap_or_a_repeat(logctl):
    topic = logctl.topic("moved")
    reader = logctl.start("tail", topic, "--from", "start", "--format", "json")
    writer = logctl.start("produce", topic, "--rate", "200", stdin=subprocess.PIPE)
    try:
        writer.stdin.write(b"".join(b"%d\n" % i for i in range(2_000)))
        writer.stdin.close()
        offsets: list[int] = []

        def enough(lines):
            offsets[:] = [json.loads(line)["offset"] for line in lines]
            return len(offsets) >= 200

        lines = lines_as_they_come(reader, enough)
        described = json.loads(logctl.run("topic", "describe", topic, "--format", "json")[0])
        leader = described["partitions"][0]["leader"]
        logctl.run("broker", "kill", str(leader), "--yes")
        assert writer.wait(timeout=90) == 0, writer.stderr.read()
        deadline = time.monotonic() + 60
        while len(lines) < 2_000 and time.monotonic() < deadline:
            time.sleep(0.05)
        records = [json.loads(line) for line in list(lines)]
        assert [record["offset"] for record in records] == list(range(2_000))
        assert [record["value"] for record in records] == [str(i) for i in range(2_000)]
    finally:
        for process in (reader, writer):
            process.kill()
            process.wait()
    logctl.run("broker", "start", str(leader))


def test_the_shell_shows_live_names_and_follows_until_ctrl_c(logctl):
    topic = logctl.topic("on-screen", 3)
    logctl.run("produce", topic, "hello")
    terminal = Terminal(environment={"LOGCTL_PAGER": "cat"}, columns=130)
    try:
        terminal.until(r"brokers [23]/3")
        terminal.type("tail on-")
        terminal.until(r"on-screen +3 partitions")
        terminal.type("\t --from start\r")
        terminal.until(r"hello")
        terminal.type("\x03")
        terminal.until(r"^logctl> *$")
        terminal.type(f"config set topic {topic} cleanup.policy=")
        terminal.until(r"cleanup.policy=delete +as it is now, default")
        terminal.type("\x03")
        terminal.type("watch --from-start\r")
        terminal.until(r"TopicCreated|LeaderMoved|BrokerJoined")
        terminal.type("\x03")
        terminal.until(r"^logctl> *$")
        terminal.type("topic list | grep -c on-screen; topic list --columns topic --sort -topic\r")
        terminal.until(r"^1$")
        terminal.until(r"^TOPIC *\n(.*\n)+logctl> *$")
        assert terminal.leave() == 0
    finally:
        terminal.close()
