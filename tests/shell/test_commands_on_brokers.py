"""The commands as a user runs them, against three real brokers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

import clusters
from clusters.query import parse
from clusters.throwaway import ThrowAwayCluster
from shell.cli import build
from shell.commands import all_commands
from shell.observing import observe
from shell.output import Output
from shell.runner import Runner
from shell.session import Doors, Session
from shell.settings import Settings
from shell.waiting import wait_until
from tests.shell.golden_shapes import check_shape

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

IMAGE = bytes(range(256)) * 40 + b"\n\r\n\x00"


@dataclass
class Cluster:
    """Runs `logctl` with the throw-away cluster as its current context."""

    bootstrap: list[str]
    controllers: list[str]

    def start(self, *words: str, **more) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "shell.main", *words],
            stdin=more.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **more,
        )

    def run(self, *words: str, stdin: bytes = b"", code: int = 0):
        """Run a command line in this process: the same way, without the start of a process."""
        out, err = io.BytesIO(), io.StringIO()
        with tempfile.TemporaryFile() as lines:
            lines.write(stdin)
            lines.seek(0)
            doors = Doors()
            doors.stdin = lambda: lines
            doors.ask = lambda prompt: None
            runner = Runner(build(all_commands()), Output(stdout=out, stderr=err), doors)
            try:
                ended = runner.run_blocking(runner.parse(words))
            except Exception as error:
                ended = runner.explain(error)
        assert ended == code, err.getvalue()
        assert "Traceback" not in err.getvalue()
        return out.getvalue(), err.getvalue()

    def process(self, *words: str, stdin: bytes = b"", code: int = 0):
        """Run a command line as a process of its own."""
        process = self.start(*words, stdin=subprocess.PIPE)
        out, err = process.communicate(stdin, timeout=60)
        assert process.returncode == code, err.decode()
        assert b"Traceback" not in err
        return out, err.decode()

    def json(self, *words: str, stdin: bytes = b""):
        return json.loads(self.run(*words, "--format", "json", stdin=stdin)[0])

    def lines(self, *words: str):
        out, _ = self.run(*words, "--format", "json")
        return [json.loads(line) for line in out.splitlines()]

    def topic(self, name: str, partitions: int = 1) -> str:
        self.run("topic", "create", name, "-p", str(partitions), "-r", "3")
        return name


@pytest.fixture(scope="module")
def logctl():
    spec = Path(clusters.__file__).parent / "local.yaml"
    cluster = ThrowAwayCluster(str(spec), own_ports=True)
    cluster.prepare()
    try:
        asyncio.run(cluster.up())
        spec = cluster.operations.spec
        controllers = [f"127.0.0.1:{spec.controller_port(host)}" for host in spec.hosts]
        yield Cluster(cluster.bootstrap, controllers)
    finally:
        asyncio.run(cluster.close())


def test_what_changes_something_is_brought_to_its_end_though_nobody_reads_on(logctl, tmp_path):
    """As in `apply --yes ... 2>&1 | head -1`: half of the steps would be worse than none."""
    state = tmp_path / "two.yaml"
    kind = "topics:\n" + "".join(f"  unread-{n}: {{partitions: 1}}\n" for n in (1, 2))
    state.write_text(kind)
    runbook = tmp_path / "run.yaml"
    steps = "".join(f"  - run: topic create unread-{n}\n" for n in (3, 4))
    runbook.write_text(f"runbook: unread\nsteps:\n{steps}")
    lines = (
        ("topic", "create", "unread-0"),
        ("apply", str(state), "--yes", "--format", "json"),
        ("run", str(runbook)),
    )
    for words in lines:
        reader, writer = os.pipe()
        os.close(reader)
        more = [sys.executable, "-m", "shell.main", *words]
        done = subprocess.run(more, stdout=writer, stderr=writer, timeout=60, check=False)
        os.close(writer)
        assert done.returncode == 0, words
    found = [each["topic"] for each in logctl.json("topic", "list")]
    assert [name for name in found if "unread" in name] == [f"unread-{n}" for n in range(5)]


def test_the_port_of_a_controller_is_told_from_that_of_a_broker(logctl):
    said = logctl.run("topic", "list", "--bootstrap", logctl.controllers[0], code=1)[1]
    assert f"{logctl.controllers[0]}: it answers, but not as a broker" in said
    assert "the port of a controller? Name the one that clients use" in said
    # One of several: the others are asked.
    both = f"{logctl.controllers[1]},{logctl.bootstrap[0]}"
    logctl.run("broker", "list", "--bootstrap", both)


def test_topics_from_creation_to_deletion(logctl):
    _, err = logctl.run(
        *[
            "topic",
            "create",
            "orders",
            "--partitions",
            "6",
            "--replication",
            "3",
            "--config",
            "retention.ms=86400000",
        ]
    )
    assert "Created topic orders: 6 partitions, 3 replicas each." in err
    again = logctl.run("topic", "create", "orders", code=1)[1]
    assert "already exists" in again
    assert "orders" in [topic["topic"] for topic in logctl.json("topic", "list")]
    data = logctl.json("topic", "describe", "orders")
    assert list(data) == ["topic", "id", "partitions", "config"]
    assert len(data["partitions"]) == 6
    assert all(sorted(p["isr"]) == [1, 2, 3] for p in data["partitions"])
    assert data["config"]["retention.ms"] == "86400000"
    assert "did you mean" in logctl.run("topic", "describe", "order", code=1)[1].lower()
    logctl.run("topic", "delete", "orders", code=4)
    logctl.run("topic", "delete", "orders", "--yes", "--read-only", code=4)
    logctl.run("topic", "delete", "orders", "--yes")
    assert "orders" not in [topic["topic"] for topic in logctl.json("topic", "list")]
    logctl.run("topic", "describe", "orders", code=1)


def test_brokers(logctl):
    brokers = logctl.json("broker", "list")
    assert [(b["id"], b["state"]) for b in brokers] == [(1, "up"), (2, "up"), (3, "up")]
    assert sum(b["is_controller"] for b in brokers) == 1
    assert logctl.json("broker", "describe", "2")["id"] == 2


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_records_come_back_in_each_compression(logctl, compression):
    topic = logctl.topic(f"squeezed-{compression}")
    summary = logctl.json("produce", topic, "one", "two", "-z", compression, "-k", "key")
    assert summary["partitions"] == [
        {"partition": 0, "records": 2, "first_offset": 0, "last_offset": 1}
    ]
    read = logctl.lines("tail", topic, "--from", "start", "--until", "end")
    assert [(r["offset"], r["key"], r["value"]) for r in read] == [
        (0, "key", "one"),
        (1, "key", "two"),
    ]


def test_json_lines_keys_headers_and_partitions(logctl, tmp_path):
    topic = logctl.topic("keyed", 3)
    lines = b"".join(b'{"who": "c%d", "n": %d}\n' % (n % 5, n) for n in range(50))
    logctl.run("produce", topic, "--key-field", "who", "--header", "from=test", stdin=lines)
    read = logctl.lines("tail", topic, "--from", "start", "--until", "end")
    homes = defaultdict(set)
    numbers = defaultdict(list)
    for record in read:
        homes[record["key"]].add(record["partition"])
        numbers[record["key"]].append(json.loads(record["value"])["n"])
        assert record["headers"] == [{"name": "from", "value": "test", "encoding": "utf-8"}]
    assert all(len(partitions) == 1 for partitions in homes.values())
    assert numbers == {f"c{k}": list(range(k, 50, 5)) for k in range(5)}
    path = tmp_path / "lines"
    path.write_bytes(b"a:1\nb:2\n")
    words = ["produce", topic, "--file", str(path), "--key-separator", ":", "--partition", "2"]
    each = logctl.lines(*words, "--each")
    assert [line["partition"] for line in each] == [2, 2]
    assert "there is no 3" in logctl.run("produce", topic, "x", "--partition", "3", code=2)[1]
    bad = logctl.run("produce", topic, "--key-field", "who", stdin=b'{"who": 1}\nx\n', code=1)[1]
    assert "line 2 is not JSON" in bad


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_acks(logctl, acks):
    topic = logctl.topic(f"acks-{acks}")
    summary = logctl.json("produce", topic, "a", "b", "c", "--acks", acks)
    assert summary["records"] == 3
    tail = ["tail", topic, "--from", "start", "--max", "3", "--format", "raw"]
    assert logctl.run(*tail)[0] == b"a\nb\nc\n"


def test_an_image_comes_back_byte_for_byte(logctl, tmp_path):
    topic = logctl.topic("pictures")
    path = tmp_path / "image.png"
    path.write_bytes(IMAGE)
    logctl.run("produce", topic, "--file", str(path), "--whole", "-H", "type=image/png")
    tail = ["tail", topic, "--from", "start", "--max", "1"]
    raw = [*tail, "--format", "raw", "--delimiter", ""]
    assert logctl.run(*raw)[0] == IMAGE
    assert logctl.process(*raw)[0] == IMAGE
    (record,) = logctl.lines(*tail)
    assert record["encoding"] == "base64"
    assert base64.b64decode(record["value"]) == IMAGE
    table = logctl.run(*tail)[0].decode()
    assert f"<{len(IMAGE)} bytes: 00 01" in table


def test_a_record_that_is_too_large_is_refused_in_words(logctl, tmp_path):
    topic = logctl.topic("large")
    path = tmp_path / "large"
    path.write_bytes(bytes(3_000_000))
    err = logctl.run("produce", topic, "--file", str(path), "--whole", code=1)[1]
    assert "MessageSizeTooLarge" in err or "too large" in err.lower()
    assert len(err.splitlines()) <= 2


def test_twenty_thousand_lines_each_once_and_in_order(logctl):
    topic = logctl.topic("many", 3)
    lines = b"".join(b"%d\n" % n for n in range(20_000))
    summary = logctl.json("produce", topic, stdin=lines)
    assert summary["records"] == 20_000
    assert sum(p["records"] for p in summary["partitions"]) == 20_000
    out, _ = logctl.run("tail", topic, "--from", "start", "--until", "end", "--format", "raw")
    assert sorted(map(int, out.split())) == list(range(20_000))
    by_partition = defaultdict(list)
    for record in logctl.lines("tail", topic, "--from", "start", "--until", "end"):
        by_partition[record["partition"]].append((record["offset"], int(record["value"])))
    for records in by_partition.values():
        assert [offset for offset, _ in records] == list(range(len(records)))
        assert [n for _, n in records] == sorted(n for _, n in records)


def test_positions(logctl):
    topic = logctl.topic("places")
    logctl.run("produce", topic, *[str(n) for n in range(10)])

    def values(*words):
        return [r["value"] for r in logctl.lines("tail", topic, *words)]

    assert values("--from", "-3", "--until", "end") == ["7", "8", "9"]
    assert values("--from", "4", "--until", "6") == ["4", "5"]
    assert values("--from", "start", "--max", "2") == ["0", "1"]
    assert values("--from", "8", "--until", "end") == ["8", "9"]
    assert values("--from", "end", "--until", "end") == []
    assert values("--from", "99", "--until", "end") == []
    assert values("--from", "@-1h", "--until", "end") == [str(n) for n in range(10)]
    assert values("--from", "@2000-01-01", "--until", "@-1h") == []
    one = logctl.lines("tail", f"{topic}:0", "--from", "5", "--max", "1")
    assert one[0]["value"] == "5"
    assert "there is no 1" in logctl.run("tail", f"{topic}:1", code=2)[1]


def test_tail_follows_and_ctrl_c_ends_it_well(logctl):
    topic = logctl.topic("followed")
    tail = logctl.start("tail", topic, "--from", "start", "--format", "raw")
    try:
        for value in ("first", "second"):
            logctl.run("produce", topic, value)
            assert tail.stdout.readline() == value.encode() + b"\n"
        tail.send_signal(signal.SIGINT)
        _, err = tail.communicate(timeout=60)
    finally:
        tail.kill()
    assert tail.returncode == 0
    assert b"Traceback" not in err


def test_a_closed_pipe_ends_tail_quietly(logctl):
    topic = logctl.topic("cut")
    logctl.run("produce", topic, *[str(n) for n in range(50)])
    tail = logctl.start("tail", topic, "--from", "start", "--format", "raw")
    assert tail.stdout.readline() == b"0\n"
    tail.stdout.close()
    logctl.run("produce", topic, *[str(n) for n in range(50)])
    assert tail.wait(timeout=60) == 0
    assert b"Traceback" not in tail.stderr.read()
    tail.stderr.close()


def test_a_leader_is_killed_while_records_flow(logctl):
    topic = logctl.topic("moving")
    leader = logctl.json("topic", "describe", topic)["partitions"][0]["leader"]
    watch = logctl.start("watch", "--format", "json", "--for", "60s")
    for line in watch.stderr:
        if line.startswith(b"live"):
            break
    tail = logctl.start("tail", topic, "--from", "start", "--max", "300", "--format", "raw")
    produce = logctl.start("produce", topic, stdin=subprocess.PIPE, env=os.environ | {"X": "1"})
    try:
        for number in range(300):
            try:
                produce.stdin.write(b"%d\n" % number)
                produce.stdin.flush()
            except BrokenPipeError:
                break  # what it says of that comes below
            if number == 100:
                logctl.run("broker", "kill", str(leader))
            time.sleep(0.005)  # a trickle, so that some records fall into the move
        _, err = produce.communicate(timeout=60)
        assert produce.returncode == 0, err
        out, _ = tail.communicate(timeout=60)
        assert out.split() == [b"%d" % n for n in range(300)]
        seen = {}
        for line in watch.stdout:
            event = json.loads(line)
            if event["topic"] == topic:
                seen[event["kind"]] = event
            if {"LeaderMoved", "IsrShrunk"} <= set(seen):
                break
    finally:
        for process in (watch, tail, produce):
            process.kill()
            process.communicate()
    assert list(seen["LeaderMoved"]) == [
        "at",
        "offset",
        "kind",
        "topic",
        "partition",
        "broker",
        "before",
        "after",
        "leader_epoch",
        "partition_epoch",
    ]
    assert seen["LeaderMoved"]["before"] == leader
    assert leader not in seen["IsrShrunk"]["after"]
    assert logctl.run("cluster", "status", code=10)
    dead = next(b for b in logctl.json("broker", "list") if b["id"] == leader)
    assert dead["state"] != "up"
    logctl.run("broker", "start", str(leader))
    logctl.run("cluster", "status")


def test_what_commands_on_clusters_write_has_the_documented_fields(logctl, tmp_path):
    def written(words: str) -> list:
        out, _ = logctl.run(*words.split(), "--format", "json")
        try:
            return json.loads(out)
        except ValueError:
            return [json.loads(line) for line in out.splitlines()]

    check_shape("cluster-status", written("cluster status"))
    check_shape("cluster-audit", written("cluster audit"))
    check_shape("cluster-validate", written("cluster validate"))
    check_shape("cluster-logs", written("cluster logs -n 1"))
    check_shape("cluster-check", written("cluster check"))
    up = written("cluster up")
    check_shape("cluster-up", [up[0], up[-1]])
    check_shape("context-list", written("context list"))
    check_shape("context-show", written("context show"))
    check_shape("context-current", written("context current"))
    done, _ = logctl.run("cluster", "exec", "--format", "json", "--", "true")
    check_shape("cluster-exec", [json.loads(done)])
    state, book = tmp_path / "state.yaml", tmp_path / "book.yaml"
    state.write_text("topics: {documented: {partitions: 2, replication: 3}}")
    book.write_text("steps: [topic list --internal, assert: all brokers have state = up]")
    diff, _ = logctl.run("diff", str(state), "--format", "json", code=3)
    check_shape("diff", json.loads(diff))
    check_shape("apply", written(f"apply {state} --yes"))
    check_shape("run", written(f"run {book}"))
    logctl.run("alias", "td", "topic", "describe")
    check_shape("alias", written("alias"))


def test_read_only_sessions_may_see_what_would_be_done(logctl):
    def tried(words: str, code: int = 0) -> str:
        out, err = logctl.run(*words.split(), "--read-only", code=code)
        return f"{out.decode()}{err}"

    assert "nothing to do" in tried("cluster up --plan")
    assert "nothing to do" in tried("cluster up --dry-run")
    assert "one at a time, the controller last" in tried("cluster restart --dry-run", 3)
    assert "would be stopped: 1, 2, 3" in tried("cluster down --dry-run")
    assert "Removes " in tried("cluster destroy --dry-run")
    assert "2 of 3 voters left" in tried("broker stop 2 --dry-run")
    assert "runs already" in tried("broker start 2 --dry-run")
    assert "There is no broker 9" in tried("broker kill 9 --dry-run", 1)
    assert "read-only" in tried("cluster up", 4)
    assert "read-only" in tried("broker kill 2", 4)
    told = logctl.run("cluster", "exec", "--dry-run", "--read-only", "--", "rm", "a b")[1]
    assert "Would run on this machine, as the user of the connection: rm 'a b'" in told
    status = logctl.json("cluster", "status")
    assert [broker["state"] for broker in status["brokers"]] == ["running"] * 3


def test_a_wait_looks_when_the_cluster_changes(logctl):
    query = parse("any topics where topic = late")
    looked = threading.Event()

    async def look(session: Session):
        state = await observe(session, [query])
        looked.set()
        return state

    def create() -> None:
        assert looked.wait(60)
        logctl.run("topic", "create", "late")

    settings = Settings(bootstrap=tuple(logctl.bootstrap))
    session = Session(settings, Output(stdout=io.BytesIO(), stderr=io.StringIO()))
    creator = threading.Thread(target=create)
    creator.start()
    # The next regular look would come too late.
    waiting = wait_until(
        session, look, query, limit_ms=120_000, every_ms=240_000, tell=lambda *_: None
    )
    assert asyncio.run(waiting) is None
    creator.join()


def test_up_twice_says_so(logctl):
    _, err = logctl.run("cluster", "up")
    assert "already up" in err


def test_the_shell_completes_live_topic_names(logctl):
    logctl.topic("completed")
    environment = os.environ | {
        "_LOGCTL_COMPLETE": "bash",
        "COMP_LINE": "logctl topic describe compl",
        "COMP_POINT": "27",
    }
    limit, found = time.monotonic() + 60, []
    while not found:
        # Tab gives up soon: on a busy machine a person presses it again.
        assert time.monotonic() < limit
        out, _ = logctl.start(env=environment).communicate(timeout=60)
        found = out.split()
    assert found == [b"completed"]


def test_lines_of_standard_input_are_commands(logctl):
    out, _ = logctl.process(stdin=b"# a comment\ntopic create piped\ntopic list\n")
    assert b"piped" in out
    assert logctl.process(stdin=b"topc\ntopic list\n", code=2)[0] == b""


class Terminal:
    """`logctl` on a pseudo-terminal of 120 columns."""

    def __init__(self, *words: str):
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm-256color"
            os.execv(sys.executable, [sys.executable, "-m", "shell.main", *words])
        size = struct.pack("HHHH", 40, 120, 0, 0)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, size)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def until(self, words: str, seconds: float = 60) -> None:
        """Wait until the words were drawn, whatever moves of the cursor lie between them."""
        wanted = words.replace(" ", "")
        deadline = time.monotonic() + seconds
        while wanted not in self.seen:
            assert time.monotonic() < deadline, f"{words!r} not in {self.seen[-2000:]!r}"
            self._read()
        self.seen = self.seen.split(wanted, 1)[1]

    def _read(self) -> None:
        ready, _, _ = select.select([self.descriptor], [], [], 0.1)
        if not ready:
            return
        data = os.read(self.descriptor, 65536).decode(errors="replace")
        if "\x1b[6n" in data:  # the prompt asks where the cursor is
            self.type("\x1b[1;1R")
        self.seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\s", "", data)

    def leave(self) -> int:
        """Press Ctrl-D, once, and return the exit code."""
        self.type("\x04")
        return self.wait()

    def wait(self, seconds: float = 60) -> int:
        """Return the exit code."""
        deadline = time.monotonic() + seconds
        while True:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, f"the shell does not end: {self.seen[-2000:]!r}"
            with contextlib.suppress(OSError):
                self._read()

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.descriptor)


def test_the_interactive_shell_on_a_terminal(logctl):
    terminal = Terminal()
    try:
        terminal.until("logctl>")
        terminal.until("brokers 3/3")
        terminal.type("topic create typed -p 2\r")
        terminal.until("Created topic typed: 2 partitions")
        terminal.type("tail typed\r")
        terminal.until("PARTITION OFFSET")
        terminal.type("\x03")
        terminal.until("logctl>")
        terminal.type("topc\r")
        terminal.until("Did you mean 'topic'?")
        terminal.until("logctl [2]>")
        terminal.type("topic delete typed\r")
        terminal.until("Type yes to confirm:")
        terminal.type("yes\r")
        terminal.until("Deleted topic typed.")
        terminal.until("logctl>")
        assert terminal.leave() == 0
    finally:
        terminal.close()
