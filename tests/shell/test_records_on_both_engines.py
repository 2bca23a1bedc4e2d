"""Records through logd and Apache Kafka: one script of `produce` and `tail`, the same from both.

What each step printed and said is kept in `golden/records.json`, with what differs from run to run
replaced by words; LOGCTL_WRITE_GOLDEN=1 writes it anew from logd.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer

from benchmarks.peers import Cluster
from broker.protocol.api_keys import ApiKey
from broker.protocol.batch import Record, encode_batch
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ErrorCode
from broker.protocol.network import AsyncioNetwork
from broker.protocol.struct import Struct
from tests.both_engines import ENGINES, running
from tests.own_time import own_s_of_thread
from tests.shell.golden_shapes import check_shape
from tests.shell.in_process import Answer, InProcess

pytestmark = [pytest.mark.interop, pytest.mark.timeout(400)]

GOLDEN = Path(__file__).parent / "golden" / "records.json"
CSV = b'id,region,at,text\n1,eu,2026-01-02T03:04:05Z,"two\nlines, one field"\n2,us,7,\n'
DOCUMENTS = json.dumps(
    [{"id": 7, "at": 5, "n": {"x": [1, 2]}}, {"id": "b", "at": 6, "n": None}], indent=2
).encode()
BINARY = bytes(range(256)) + b"\n\r\x00"
LINES = b"".join(b"line %d\n" % number for number in range(200))
# Topics of the script. Times are given wherever they are printed.
TOPICS = (
    "rec -p 3",
    "keyed -p 4",
    "rows",
    "docs",
    "copy -p 3",
    "blob",
    "packed",
    "group -p 2",
    "compact -c cleanup.policy=compact",
)
AT = "--timestamp 2026-02-03T04:05:06Z"
# (command line, standard input). In order: each builds on those before it.
SCRIPT: tuple[tuple[str, bytes], ...] = (
    # Arguments, keys, headers, partitions, times
    (f"produce rec one two 'three four' --partition 0 {AT}", b""),
    (f"produce rec k1=v1 k2=v2 k3= --key-separator = --partition 1 {AT}", b""),
    (f"produce rec -H a=1 -H b= -H a=2 --key k --partition 2 --each x y {AT}", b""),
    ("produce rec --partition 3 x", b""),
    ("produce recs x", b""),
    ("produce rec --acks 0 --partition 0 acks-none --timestamp 1000", b""),
    ("produce rec --acks 1 --partition 0 acks-leader --timestamp 1001", b""),
    ("produce rec --acks 2 x", b""),
    (f"produce rec --tombstone k1 k2 --partition 1 {AT}", b""),
    ("produce rec --dry-run a b", b""),
    ("produce rec --read-only a", b""),
    # Partitioners: Kafka's, librdkafka's, in turn
    (f"produce keyed --key-field id --input json {AT}", b'{"id":"a"}\n{"id":"b"}\n{"id":"c"}\n'),
    (f"produce keyed --key-separator : --partitioner crc32 {AT}", b"a:1\nb:2\nc:3\nd:4\n"),
    (f"produce keyed --partitioner round-robin {AT} 1 2 3 4", b""),
    ("tail keyed --from start --until end", b""),
    # Compression, all kinds into one partition, read back
    *((f"produce packed --compression {each} {AT}", LINES) for each in ("none", "gzip", "snappy")),
    *((f"produce packed --compression {each} {AT}", LINES) for each in ("lz4", "zstd")),
    ("tail packed --from start --until end --template '{offset} {value}'", b""),
    ("tail packed --from 150 --until 203 --format string", b""),
    ("tail packed --from -3 --until end", b""),
    # CSV, JSON of any layout, mistakes with their lines
    ("produce rows --input csv --key-field id --header-field region --timestamp-field at", CSV),
    ("produce rows --input csv --key-field id --value-field text --timestamp 5", CSV),
    ("produce rows --input csv --key-field idd", CSV),
    ("produce rows --input csv --delimiter ';' --timestamp 5", b"a;b\n1;2\n3\n"),
    ("tail rows --from start --until end", b""),
    ("produce docs --input json --key-field id --timestamp-field at", DOCUMENTS),
    ("produce docs --input json --keep-arrays --timestamp 8", b'[1,\n2]\n"x"\n{\n"a" : 1 }\n'),
    (
        "produce docs --input json --keep-going --timestamp 9",
        b'{"a":1}\n{"a":\n{"a":2}\n{"a" 3}\n{"a":4}\n',
    ),
    ("produce docs --input json --dry-run", b'{"a":1}\nnope\n[1,2'),
    ("produce docs --input json --timestamp 10", b'{"a":1}\nnope\n'),
    ("tail docs --from start --until end", b""),
    ("produce docs --key-field id", b'{\n"id": 1\n}\n'),
    # Filters
    ("tail docs --from start --until end --where 'n.x[1]=2' --format string", b""),
    ("tail docs --from start --until end --where 'a>=2' --format string", b""),
    ("tail docs --from start --until end --key '^b$' --format string", b""),
    ("tail docs --from start --until end --value '!a' --format string", b""),
    ("tail rec --from start --until end -H a=2 --format string", b""),
    ("tail rec:2 --from start --until end -H b --max 1 --format string", b""),
    ("tail rec --from start --until end --grep 'three|k3' --format string", b""),
    ("tail rec --from start --until end --grep '(' --format string", b""),
    # Positions: offsets, last, counts, times
    ("tail rec:0 --from 1 --until 3 --format string", b""),
    ("tail rec --from start --until +1 --template '{partition}@{offset} {key} {value}'", b""),
    ("tail rec:0 --from -2 --until end --template '{offset} {timestamp}'", b""),
    ("tail rec:0 --from @2026-02-03T04:05:06Z --until end --format string", b""),
    ("tail rec:0 --from 99 --until end --format string", b""),
    ("tail rec:7 --from start --until end", b""),
    ("tail rec --from nowhere", b""),
    ("tail nothing --from start --until end", b""),
    # Several topics, patterns, formats
    ("tail rec:0-1 rows --from start --until end --template '{topic}-{partition} {value}'", b""),
    ("tail 'ro*' 'doc*' --from start --until +1 --template '{topic} {key} {value.id}'", b""),
    ("tail rec:2 --from start --until end --format hex", b""),
    ("tail rec:2 --from start --until end --format raw --delimiter '|'", b""),
    ("tail rec:2 --from start --until end --template '{header.b}|{headers}|{time}'", b""),
    ("tail rec:1 --from start --until end --format table", b""),
    ("tail rec:2 --from start --until end --format yaml", b""),
    ("produce blob --file - --whole --header type=x/y --timestamp 5", BINARY),
    ("tail blob --from start --until end", b""),
    # A topic that keeps the last record of each key refuses those without
    ("produce compact a b", b""),
    ("produce compact --keep-going --key-separator : --input lines", b"k:1\nno key\nk:2\n"),
    ("produce compact --keep-going --input records", b'{"value":"a"}\n{"key":"k","value":"3"}\n'),
    ("tail compact --from start --until end --template '{key} {value}'", b""),
    # As a member of a group, ending anywhere
    (f"produce group a b c d e --partition 0 {AT}", b""),
    (f"produce group f g --partition 1 {AT}", b""),
    ("tail group --group g --from start --until 2 --format string", b""),
    ("tail group --group g --until +1 --format string", b""),
    ("tail group --group g --until -1 --max 5 --format string", b""),
    ("tail group --group g --until end --format string", b""),
    ("tail group:0 --group g --until end", b""),
    ("tail group --group g --from 3", b""),
    ("tail group --group g --read-only", b""),
)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Both(InProcess):
    cluster: Cluster


@pytest.fixture(scope="module", params=ENGINES)
def logctl(request: pytest.FixtureRequest) -> Iterator[tuple[str, Both]]:
    with running(request.param) as cluster:
        run = Both(cluster.bootstrap)
        run.cluster = cluster
        yield request.param, run


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    for name in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))


def settled(text: str) -> str:
    """The same words without what differs from run to run."""
    text = re.sub(r" in \d+ ms", " in N ms", text)
    return re.sub(r'"took_ms": \d+', '"took_ms": 0', text)


def step(run: InProcess, line: str, stdin: bytes) -> dict[str, Any]:
    """What a line left behind, as it is kept; records of several partitions in one order."""
    answer = run(line, stdin=stdin)
    out = settled(answer.out.decode("utf-8", "backslashreplace"))
    lines = out.splitlines()
    if line.startswith("tail") and " hex" not in line and " yaml" not in line:
        lines = sorted(lines)
    if len(lines) > 45:
        lines = [*lines[:3], f"... {len(lines)} lines", *lines[-3:]]
    return {"line": line, "code": answer.code, "out": lines, "err": settled(answer.err)}


def test_the_script_of_records_gives_the_same_on_both_engines(logctl):
    name, run = logctl
    for topic in TOPICS:
        assert run(f"topic create {topic} -r 3").code == 0
    found = [step(run, line, stdin) for line, stdin in SCRIPT]
    if os.environ.get("LOGCTL_WRITE_GOLDEN") and name == "logd":
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    wanted = json.loads(GOLDEN.read_text())
    problems = [
        f"{name}: {is_now}\nwanted {was}"
        for is_now, was in zip(found, wanted, strict=True)
        if is_now != was
    ]
    assert not problems, "\n\n".join(problems)


def test_what_tail_printed_is_written_again_unchanged(logctl):
    _, run = logctl
    whole = "--from start --until end"
    sources = "rec", "keyed", "rows", "docs", "blob", "packed"
    printed = b"".join(run(f"tail {topic} {whole}").out for topic in sources)
    kept = b"".join(line + b"\n" for line in printed.splitlines() if b'"partition": 3' not in line)
    written = run("produce copy --input records --keep-partition", stdin=kept)
    assert (written.code, written.data["failed"]) == (0, 0), written.err
    again = run(f"tail copy {whole}")

    def contents(lines: bytes) -> list[str]:
        found = []
        for line in lines.splitlines():
            data = json.loads(line)
            del data["topic"], data["offset"]
            found.append(json.dumps(data, sort_keys=True))
        return sorted(found)

    assert contents(again.out) == contents(kept)
    assert len(again.out.splitlines()) > 1_000


def written(producer: Producer, topic: str, *values: str) -> None:
    for value in values:
        producer.produce(topic, value.encode(), partition=0)
    assert producer.flush(30) == 0


def transactional(run: InProcess, name: str) -> Producer:
    producer = Producer({"bootstrap.servers": run.bootstrap, "transactional.id": name})
    producer.init_transactions(60)
    return producer


def fates(lines: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Of each line the value, how its transaction ended, whether it is stable; or the control."""
    return [
        (each["control"],)
        if "control" in each
        else (each["value"], (each["transaction"] or {}).get("state"), each["stable"])
        for each in lines
    ]


def read_soon(run: InProcess, line: str, wanted: Sequence[tuple[Any, ...]]) -> Answer:
    """Read until that is what is there: the coordinator writes markers after it has answered."""
    limit = time.monotonic() + 60
    while fates((answer := run(line)).lines) != list(wanted):
        assert time.monotonic() < limit, answer
    return answer


def test_records_of_transactions_say_how_they_ended(logctl):
    name, run = logctl
    assert run("topic create pay -r 3").code == 0
    whole = "tail pay --from start --until end"
    if name == "logd":
        # It has none: a producer that wants one is refused, and every record is committed.
        with pytest.raises(KafkaException):
            Producer(
                {"bootstrap.servers": run.bootstrap, "transactional.id": "a"}
            ).init_transactions(1)
        assert run("produce pay one two").code == 0
        for level in ("read_committed", "read_uncommitted"):
            answer = run(f"{whole} --isolation-level {level} --control-records")
            assert fates(answer.lines) == [("one", None, True), ("two", None, True)]
            assert answer.err == ""
        return
    first, second = transactional(run, "a"), transactional(run, "b")
    written(Producer({"bootstrap.servers": run.bootstrap}), "pay", "plain")
    for value, end in (("kept", first.commit_transaction), ("lost", first.abort_transaction)):
        first.begin_transaction()
        written(first, "pay", f"{value} 1", f"{value} 2")
        end(60)
    before = [("plain", None, True), *((f"kept {n}", "committed", True) for n in (1, 2))]
    aborted = [(f"lost {n}", "aborted", True) for n in (1, 2)]
    ended = [*before, ("commit",), *aborted, ("abort",)]
    read_soon(run, f"{whole} --control-records", ended)
    second.begin_transaction()
    written(second, "pay", "undecided")
    first.begin_transaction()
    written(first, "pay", "behind it")
    first.commit_transaction(60)
    held = [("undecided", "open", False), ("behind it", "committed", False)]
    found = [*ended, *held, ("commit",)]
    read_soon(run, f"{whole} --control-records", found)
    assert fates(run(whole).lines) == [each for each in found if len(each) > 1]
    # Broken off in the middle of a transaction: the leader knows how it ended.
    assert fates(run("tail pay --from 4 --max 1").lines) == [aborted[0]]
    assert fates(run("tail pay --from 1 --max 1").lines) == [before[1]]
    shown = run(whole, output="table").out.decode().splitlines()
    assert [line.split("  <")[-1] for line in shown if "  <" in line] == [
        "aborted>", "aborted>", "open>", "held>",
    ]  # fmt: skip
    committed = run(f"{whole} --isolation-level read_committed")
    assert fates(committed.lines) == before
    assert "2 records of aborted transactions left out" in committed.err
    assert "pay-0 waits at 7 for an open transaction, 3 offsets behind it" in committed.err
    told = run(f"{whole} --isolation-level read_committed --control-records").lines[-1]
    assert (told["control"], told["left_out"], told["last_stable_offset"]) == ("progress", 2, 7)
    group = run(f"{whole} --committed --group pays".replace("--until end", "--until 7"))
    assert fates(group.lines) == before
    assert "2 records of aborted transactions left out." in group.err
    # A member says the same of records as any other reader.
    group = run(f"{whole} --group all --control-records")
    assert fates(group.lines) == found
    second.abort_transaction(60)
    answer = read_soon(run, f"{whole} --committed", [*before, ("behind it", "committed", True)])
    assert "3 records of aborted transactions left out." in answer.err


@dataclass
class Follower:
    """A tail without an end; what it wrote and said, in the order in which a person saw it."""

    seen: Path
    process: subprocess.Popen[bytes]

    @property
    def lines(self) -> list[str]:
        return self.seen.read_text().splitlines()

    def until(self, *wanted: str) -> None:
        limit = time.monotonic() + 60
        while not all(any(words in line for line in self.lines) for words in wanted):
            assert time.monotonic() < limit, (wanted, self.lines)
            time.sleep(0.05)

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0


@contextmanager
def following(run: InProcess, folder: Path, name: str, *words: str) -> Iterator[Follower]:
    line = [sys.executable, "-m", "shell.main", "tail", *words, "--bootstrap", run.bootstrap]
    with (folder / name).open("wb") as seen:
        process = subprocess.Popen(line, stdout=seen, stderr=subprocess.STDOUT)
    try:
        yield Follower(folder / name, process)
    finally:
        process.kill()
        process.wait()


def test_a_live_reader_is_told_what_became_of_what_it_was_shown(logctl, tmp_path):
    name, run = logctl
    assert run("topic create live -r 3").code == 0
    from_start = "live", "--from", "start"
    with (
        following(run, tmp_path, "alone", *from_start) as alone,
        following(
            run, tmp_path, "member", *from_start, "--group", "g", "--format", "json"
        ) as member,
    ):
        both = alone, member
        if name == "logd":
            assert run("produce live one two").code == 0
            for reader in both:
                reader.until("one", "two")
                reader.end()
            assert not [line for line in alone.lines if "<" in line or "ransaction" in line]
            return
        first, second = transactional(run, "c"), transactional(run, "d")
        for producer, values in ((first, ("a", "b")), (second, ("c",))):
            producer.begin_transaction()
            written(producer, "live", *values)
        written(Producer({"bootstrap.servers": run.bootstrap}), "live", "d")
        alone.until("a  <open>", "b  <open>", "c  <open>", "d  <held>")
        member.until('"value": "d"')
        first.commit_transaction(60)
        second.abort_transaction(60)
        for reader in both:
            reader.until("committed: offsets 0-1 of live-0.", "aborted: offset 2 of live-0.")
            reader.until("live-0 is decided up to offset 3: nothing is held there any more.")
            reader.end()
        told = [json.loads(line) for line in member.lines if line.startswith("{")]
        assert fates(told) == [*((v, "open", False) for v in "abc"), ("d", None, False)]


async def leave_open(address: str, topic: str) -> None:
    """Write a record of a transaction that no coordinator knows: it hangs."""
    host, _, port = address.rpartition(":")
    connection = await BrokerConnection.open(AsyncioNetwork(), host, int(port))
    try:
        batch = encode_batch(
            [Record(0, round(time.time() * 1000), None, b"stuck")],
            producer_id=424_242,
            producer_epoch=0,
            base_sequence=0,
            transactional=True,
        )
        body = Struct(
            transactional_id="nobody",
            acks=-1,
            timeout_ms=10_000,
            topic_data=[Struct(name=topic, partition_data=[Struct(index=0, records=batch)])],
        )
        limit = time.monotonic() + 60
        while True:
            # Later versions name topics by their ids.
            answer = await connection.request(ApiKey.PRODUCE, body, max_version=10)
            code = answer.responses[0].partition_responses[0].error_code
            if code == ErrorCode.none:
                return
            # The setting that lets it in reaches the broker a moment after it was changed.
            assert code == ErrorCode.invalid_producer_id_mapping
            assert time.monotonic() < limit
            await asyncio.sleep(0.05)
    finally:
        connection.close()


def test_transactions_are_listed_and_ended(logctl):
    name, run = logctl
    assert run("topic create txn -r 3").code == 0
    if name == "logd":
        for line in ("transaction list", "transaction abort payments-7 --yes"):
            answer = run(line)
            assert answer.code == 1
            assert "There are no transactions here" in answer.err
        assert run("transaction hanging txn").data == []
        return
    producer = transactional(run, "payments-7")
    producer.begin_transaction()
    written(producer, "txn", "open")
    (told,) = [e for e in run("transaction list").data if e["transactional_id"] == "payments-7"]
    assert (told["state"], told["partitions"]) == ("Ongoing", [{"topic": "txn", "partition": 0}])
    assert told["timeout_ms"] == 60_000
    check_shape("transaction-list", [told])
    assert "payments-7" not in run("transaction list --open-for 1h").out.decode()
    assert "Did you mean 'payments-7'?" in run("transaction abort payments7 --yes").err
    assert run("transaction abort payments-7").code == 4
    trial = run("transaction abort payments-7 --dry-run")
    assert "Nothing was changed." in trial.err
    check_shape("transaction-abort", trial.data)
    # With a coordinator that knows it, it does not hang, however long it is open.
    assert run("transaction hanging txn --open-for 1ms").data == []
    answer = run("transaction abort payments-7 --yes")
    assert (answer.code, "Aborted the transaction of payments-7." in answer.err) == (0, True)
    with pytest.raises(KafkaException):
        producer.commit_transaction(60)
    assert "No transaction of payments-7 is open" in run("transaction abort payments-7").err
    states = {e["transactional_id"]: e["state"] for e in run("transaction list --all").data}
    assert states["payments-7"] in {"Empty", "CompleteAbort"}
    assert fates(run("tail txn --from start --until end").lines) == [("open", "aborted", True)]

    leader = run("topic describe txn").data["partitions"][0]["leader"]
    (home,) = [e for e in run("broker list").data if e["id"] == leader]
    # Brokers ask the coordinator before they take a record of a transaction (KIP-890).
    verify = "transaction.partition.verification.enable"
    assert run(f"config set broker {leader} {verify}=false").code == 0
    asyncio.run(leave_open(f"{home['host']}:{home['port']}", "txn"))
    assert run("transaction hanging txn").data == [], "not for so long yet"
    answer = run("transaction hanging txn --open-for 1ms")
    assert (answer.code, [e["producer_id"] for e in answer.data]) == (10, [424_242])
    check_shape("transaction-hanging", answer.data)
    held = run("tail txn --from start --until end --committed")
    assert "for an open transaction" in held.err
    assert "`transaction list` shows whose." in held.err
    abort = "transaction abort --hanging txn:0 --open-for 1ms"
    assert run(abort).code == 4
    assert "Would abort 1 hanging transaction" in run(f"{abort} --dry-run").err
    answer = run(f"{abort} --yes")
    assert (answer.code, "Aborted: txn:0 from " in answer.err) == (0, True)
    assert run("transaction hanging txn --open-for 1ms").code == 0
    assert "No transaction hangs there" in run(f"{abort} --yes").err
    assert "open transaction" not in run("tail txn --from start --until end --committed").err


# Asked all at once, of brokers of which some are frozen: they take connections and never answer.
ASKED = (
    "topic describe sick",
    "partition list sick",
    "broker list",
    "broker describe 2",
    "config get broker 2",
    "quorum describe",
    "group list",
    "query 'partitions where size > 0 and end > 0'",
    "query 'groups where lag > 0'",
    "wait 'no brokers where state != up' --within 2s",
    "topic delete sick --dry-run",
)
TIMEOUT_S = 3
AT_ONCE = 5


def asked(run: InProcess, lines: Sequence[str], attempts: int = 1) -> dict[str, Answer]:
    """The answers by line; each came within the time that its command was given.

    Where more attempts are left, what nobody answered is asked again with more time: on a busy
    machine brokers that are well may be late, too.
    """

    def ask(line: str) -> Answer:
        for attempt in range(attempts):
            timeout_s = TIMEOUT_S * 4**attempt
            began = own_s_of_thread()
            answer = InProcess(run.bootstrap, timeout=f"{timeout_s}s")(line)
            took_s = own_s_of_thread() - began
            assert took_s <= 2 * timeout_s + 1, (line, answer)
            if "No answer from" not in answer.err:
                break
        return answer

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(lines, pool.map(ask, lines), strict=True))


@contextmanager
def frozen(cluster: Cluster, *nodes: int) -> Iterator[None]:
    processes = [cluster.processes[node] for node in nodes]
    try:
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def test_a_frozen_broker_costs_its_own_part_of_an_answer_and_no_more_time_than_allowed(logctl):
    _, run = logctl
    assert run("topic create sick -p 3 -r 3").code == 0
    assert run("produce sick a b c d --partitioner round-robin").code == 0
    with frozen(run.cluster, 2):
        found = asked(run, ASKED, attempts=3)
    for line, answer in found.items():
        assert answer.out or answer.err, line
        # What only the controller knows waits for it, when it is the one that is frozen.
        told = "broker 2" in answer.err.lower() or "did not answer" in answer.err
        assert answer.code in {0, 10} or (answer.code == 1 and told), (line, answer)
    assert len(found["topic describe sick"].data["partitions"]) == 3
    assert len(found["partition list sick"].data) == 3
    assert len(found["broker list"].data) == 3
    assert found["wait 'no brokers where state != up' --within 2s"].code in {0, 10}


def test_a_cluster_that_is_frozen_as_a_whole_is_told_of_in_time(logctl):
    _, run = logctl
    lines = (*ASKED[:5], "tail sick --from start --until end", "produce sick x")
    with frozen(run.cluster, 1, 2, 3):
        found = asked(run, lines)
    for line, answer in found.items():
        assert answer.code in {1, 10}, (line, answer)
        assert re.search("not reachable|[Nn]o answer|could not be found", answer.err), (
            line,
            answer,
        )
    limit = time.monotonic() + 60
    while run("query --assert 'all brokers have state = up'").code != 0:
        assert time.monotonic() < limit, "the cluster did not come back"
