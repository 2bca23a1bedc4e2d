"""One script of commands against logd and Apache Kafka: the same JSON, codes and words from both.

What each step printed is kept in `golden/`, with what differs from run to run replaced by words;
the reference pages show it. LOGCTL_WRITE_GOLDEN=1 writes it anew from logd.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiokafka
import pytest
import yaml
from confluent_kafka import Consumer

from shell.cli import build
from shell.commands import all_commands
from shell.output import Output
from shell.runner import Runner
from shell.script import parse_line
from shell.session import Doors
from tests.both_engines import ENGINES, running

pytestmark = [pytest.mark.interop, pytest.mark.timeout(400)]

GOLDEN = Path(__file__).parent / "golden"

# (golden file or None, exit code, command line, a word of stderr). In order: each builds on those
# before it.
SCRIPT: tuple[tuple[str | None, int, str, str], ...] = (
    (
        None,
        0,
        "topic create orders -p 2 -r 3 -c retention.ms=7d -c min.insync.replicas=2",
        "Created topic orders",
    ),
    (None, 1, "topic create orders", "already exists"),
    (None, 0, "produce orders a b c d --partition 0", ""),
    ("produce", 0, "produce orders e --partition 1", "Wrote 1 record"),
    ("tail", 0, "tail orders:1 --from start --until end", ""),
    (None, 3, "query --fail-if-any 'partitions where topic = orders'", ""),
    ("query", 0, "query 'partitions where topic = orders and partition = 0'", ""),
    (None, 0, "query 'partitions where topic = nowhere'", "No partitions are like that."),
    (None, 0, "query --assert 'count(brokers where state = up) = 3'", ""),
    ("watch", 0, "watch --from-start --max 1 --where 'topic = orders'", ""),
    ("broker-describe", 0, "broker describe 1", ""),
    (None, 1, "broker describe 9", ""),
    (None, 4, "broker unregister 1 --yes", "Broker 1 is up"),
    (None, 1, "broker unregister 9 --yes", "BROKER_ID_NOT_REGISTERED"),
    ("topic-list", 0, "topic list", ""),
    ("topic-describe", 0, "topic describe orders", ""),
    (None, 1, "topic describe order", 'did you mean "orders"'),
    (None, 0, "topic list --under-replicated --offline --under-min-isr", ""),
    ("partition-list", 0, "partition list orders", ""),
    (None, 0, "partition list --where 'topic = orders and end > 3'", ""),
    ("group-reset", 0, "group reset payments --to +0 --topic orders --dry-run", ""),
    (None, 4, "group reset payments --to 1 --topic orders", "Not confirmed"),
    (None, 0, "group reset payments --to 1 --topic orders --yes", "Set 2 committed offsets"),
    ("group-reset-dry-run", 0, "group reset payments --to -1 --dry-run", "Nothing was changed"),
    (None, 2, "group reset payments --to yesterday", "is no place to reset to"),
    ("group-list", 0, "group list", ""),
    ("group-list-topic", 0, "group list --topic orders", ""),
    (None, 0, "group list --topic orders --state Stable", "No group reads orders"),
    (None, 1, "group list --topic order", 'did you mean "orders"'),
    ("group-describe", 0, "group describe payments", ""),
    (None, 1, "group describe payment", 'did you mean "payments"'),
    (None, 0, "group delete-offsets payments orders:1 --yes", "Forgot"),
    (None, 4, "group delete payments", "Not confirmed"),
    (None, 0, "group delete payments --yes", "Deleted group payments"),
    ("config-get", 0, "config get topic orders retention.ms", ""),
    (
        "config-get-documentation",
        0,
        "config get topic orders retention.ms --documentation",
        "",
    ),
    ("config-set", 0, "config set topic orders retention.ms=1h segment.bytes=64MiB", "Changed 2"),
    (None, 2, "config set topic orders retenton.ms=1h", "Did you mean 'retention.ms'?"),
    (None, 2, "config set topic orders retention.ms=soon", "not a duration"),
    (None, 1, "config set topic orders segment.bytes=-5", "segment.bytes"),
    ("config-unset", 0, "config unset topic orders retention.ms", "Changed 1"),
    (None, 0, "topic create new -p 3 -r 2 -c retention.ms=1h --dry-run", "3 partitions, 2 repl"),
    (None, 0, "topic create new -p 3 -r 2 -c retention.ms=1h --dry-run", "retention.ms=3600000"),
    (None, 1, "topic describe new", "There is no topic"),
    (None, 1, "topic alter orders -p 3 -c cleanup.policy=shred", "cleanup.policy"),
    (None, 0, "topic alter orders -p 3 --dry-run", "partitions 2 → 3; keys now go to other"),
    (None, 0, "topic alter orders -c segment.bytes=128MiB --dry-run", "67108864 → 134217728"),
    (None, 0, "topic alter orders --unset segment.bytes --dry-run", "67108864 → its default"),
    (None, 0, "topic alter orders --unset retention.ms --dry-run", "is so already"),
    (None, 2, "topic alter orders -p 1", "never fewer"),
    (None, 0, "topic alter orders -p 3 -c cleanup.policy=compact,delete", "3 partitions, 2 before"),
    (None, 0, "topic clone orders orders-2 --placement", "3 partitions, 3 settings"),
    (None, 0, "topic trim orders --to 2 --dry-run", "nothing was changed"),
    ("topic-trim", 0, "topic trim orders:0 --to 2 --yes", "Deleted 2 records"),
    ("partition-move", 0, "partition move orders-2:0=2,1 --dry-run", "Nothing was changed"),
    (None, 0, "partition move orders-2:0=2,1 --wait --yes", "1 partition moved"),
    (None, 2, "partition move orders-2:0=2,9", "Broker 9 is not up"),
    (None, 2, "partition move orders-2 --to-brokers 1,2", "but only 2 brokers"),
    (None, 0, "partition move orders-2 --to-brokers 1,2,3 --dry-run", "Nothing has to move"),
    (None, 0, "partition move orders-2 --replication 3 --wait --yes", "1 partition moved"),
    (None, 0, "partition move orders-2 --replication 2 --dry-run", "Nothing was changed"),
    (None, 2, "partition move orders-2 --replication 1", "min.insync.replicas wants"),
    (None, 2, "partition move orders-2 --replication 4", "only 3 brokers can hold them"),
    (None, 4, "partition move orders-2 --replication 2", "It takes 3 replicas away."),
    ("partition-moves", 0, "partition moves", ""),
    (None, 2, "partition move orders-2:0=1,3 --throttle much", "'much' is no rate"),
    (None, 0, "partition throttles", "No throttle is set."),
    (None, 0, "partition throttle off", "No throttle is set."),
    (None, 0, "partition throttle 1MiB", "No move is under way"),
    ("partition-elect", 0, "partition elect orders-2", "0 failed"),
    ("quorum-describe", 0, "quorum describe", ""),
    ("broker-list", 0, "broker list", ""),
    ("producer-list", 0, "producer list orders:0", ""),
    (None, 0, "topic delete orders-2 --dry-run", "groups with members: none"),
    (None, 4, "topic delete orders-2", "records: 0"),
    (None, 4, "topic delete orders-2 --yes --read-only", "read-only"),
    (None, 0, "topic delete orders-2 --yes", "Deleted topic orders-2"),
    (None, 0, "topic clone orders tmp-1", "Created topic tmp-1"),
    (None, 0, "topic clone orders tmp-2", "Created topic tmp-2"),
    (None, 0, "topic delete 'tmp-?' --dry-run", "2 topics (tmp-1, tmp-2) would be deleted"),
    (None, 4, "topic delete tmp-1 'tmp-*'", "2 topics and all of their records"),
    (None, 1, "topic delete tmp-1 tmp-9 --yes", 'did you mean "tmp-'),
    (None, 0, "topic describe tmp-1", ""),
    (None, 2, "topic delete 'temp-*' --yes", "No topic matches 'temp-*'."),
    (None, 2, "topic delete '?_consumer_offsets' --yes", "No topic matches"),
    (None, 0, "topic delete 'tmp-*' --yes", "Deleted topic tmp-2"),
    (None, 1, "topic describe tmp-1", "There is no topic"),
    (None, 2, "partition list orders:9", "There is no partition orders:9"),
)

_VARIES = {
    "id": "TOPIC OR BROKER ID",
    "host": "HOST",
    "port": 0,
    "leader_epoch": 0,
    "coordinator": 0,
    "size_bytes": 0,
    "producer_id": 0,
    "last_timestamp_ms": 0,
    "last_fetch_ms": 0,
    "last_caught_up_ms": 0,
    "log_end_offset": 0,
    "high_watermark": 0,
    "lag_of_node": 0,
    "leader_id": 0,
    "leaders": 0,
    "replicas_count": 0,
    "directory_id": None,
    "is_controller": False,
    "path": "PATH",
    "total_bytes": 0,
    "usable_bytes": 0,
    "used_bytes": 0,
    "took_ms": 0,
    "elected": False,
    "timestamp": "TIME",
    "at": "TIME",
    "role": "ROLE",
    "preferred_leader": 0,
    # Kafka's own words on its own broker settings.
    "documentation": None,
}


# The record of a new topic may be read before those of its partitions.
_OF_A_NEW_TOPIC = {"partitions": 2, "replication_factor": 3}
_OF_NODES = {"brokers", "voters", "observers", "broker-describe"}
# What a broker sets itself, and where the metadata log has an event.
_OF_THE_ENGINE = {("config", "broker-describe"), ("offset", "watch")}


def read(out: str) -> Any:
    """The document on stdout, or the list of those that stand one a line."""
    try:
        return json.loads(out)
    except ValueError:
        return [json.loads(line) for line in out.splitlines()]


def plain(value: Any, inside: str = "") -> Any:
    """The same data without what differs from run to run."""
    if isinstance(value, list):
        return [plain(each, inside) for each in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, each in value.items():
        if name in _VARIES and not isinstance(each, dict):
            found[name] = _VARIES[name]
        elif name in {"replicas", "isr", "before", "after"} and isinstance(each, list):
            found[name] = sorted(each)
        elif inside == "after" and name in _OF_A_NEW_TOPIC:
            found[name] = _OF_A_NEW_TOPIC[name]
        elif name == "leader" and isinstance(each, int):
            found[name] = min(each, 0)
        elif name in {"replicas", "lag"} and inside in _OF_NODES:
            found[name] = 0
        elif name in {"nodes", "features", "synonyms"} or (name, inside) in _OF_THE_ENGINE:
            found[name] = type(each)()
        else:
            found[name] = plain(each, name)
    return found


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    with running(request.param) as cluster:
        yield request.param, cluster.bootstrap


def run(bootstrap: str, line: str, output: str = "json") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    out, err = io.BytesIO(), io.StringIO()
    doors = Doors()
    doors.environ = {}
    doors.ask = lambda prompt: None  # type: ignore[method-assign]
    runner = Runner(build(all_commands()), Output(stdout=out, stderr=err), doors)
    words = [*parse_line(line)[0].words, "--bootstrap", bootstrap, "--format", output]
    try:
        code = runner.run_blocking(runner.parse([*words, "--timeout", "30s"]))
    except Exception as error:
        code = runner.explain(error)
    return int(code), out.getvalue().decode(), err.getvalue()


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    for name in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))


def test_the_script_gives_the_same_on_both_engines(engine):
    name, bootstrap = engine
    problems = []
    for golden, code, line, said in SCRIPT:
        found, out, err = run(bootstrap, line)
        if found != code or said not in err or "Traceback" in err:
            problems.append(f"{line}: exit code {found}, wanted {code} with {said!r}: {err}")
        if golden is None or not out:
            continue
        data = plain(read(out), "brokers" if golden == "broker-list" else golden)
        path = GOLDEN / f"{golden}.json"
        if os.environ.get("LOGCTL_WRITE_GOLDEN") and name == "logd":
            path.write_text(json.dumps(data, indent=2) + "\n")
        wanted = json.loads(path.read_text())
        if data != wanted:
            problems.append(f"{line}: {json.dumps(data)}, wanted {json.dumps(wanted)}")
    assert not problems, f"on {name}:\n" + "\n".join(problems)


def test_a_throttle_is_told_or_it_is_told_that_there_is_none(engine):
    name, bootstrap = engine
    assert run(bootstrap, "topic create slow -p 1 --replication 1")[0] == 0
    code, _, err = run(bootstrap, "partition move slow=1,2,3 --throttle 1MiB --dry-run")
    run(bootstrap, "topic delete slow --yes")
    if name == "logd":
        assert (code, "This move cannot be throttled: " in err) == (1, True), err
    else:
        assert (code, "Brokers 1, 2, 3 copy at most 1.0 MiB/s each" in err) == (0, True), err


# Each gives the same as JSON, as YAML and as a table, whatever the engine.
READING = (
    "topic list --internal",
    "topic list --under-min-isr",
    "topic describe orders",
    "partition list orders",
    "partition moves",
    "partition throttles",
    "broker list",
    "broker describe 1",
    "config get topic orders",
    "config get topic orders --all",
    "config get topic orders cleanup.policy --documentation",
    "config get broker 1 --all",
    "config get broker default",
    "quorum describe",
    "group list",
    "producer list orders",
    "query 'partitions where topic = orders'",
    "query --fields",
    "query 'count(brokers where state = up) = 3'",
    "query 'quorum where lag < 1000'",
    "query 'brokers where disk_free > 1MiB'",
)
_PASSES = re.compile(r"^high_watermark$|^(last|lag|log_end|usable|total|used|size)_|_ms$|_bytes$")


def lasting(value: Any) -> Any:
    """The same data without what passes between two questions."""
    if isinstance(value, list):
        return [lasting(each) for each in value]
    if isinstance(value, dict):
        kept = {name: each for name, each in value.items() if not _PASSES.search(name)}
        return {
            name: lasting(each)
            for name, each in kept.items()
            if name
            not in {"disk_free", "size", "disk_used_percent", "lag", "end", "behind", "silent"}
        }
    return value


@pytest.mark.parametrize("line", READING)
def test_every_format_says_the_same(engine, line):
    _, bootstrap = engine
    code, out, err = run(bootstrap, line)
    assert code == 0, err
    data = json.loads(out)
    as_yaml, as_table = (run(bootstrap, line, output) for output in ("yaml", "table"))
    assert as_yaml[0] == as_table[0] == code
    assert lasting(yaml.safe_load(as_yaml[1])) == lasting(data)
    rows = as_table[1].splitlines()
    if isinstance(data, list):
        # A heading, and a row for each; one setting with documentation is told in lines.
        assert len(rows) == len(data) + 1 or "--documentation" in line
        assert (
            len(data) > 0
            or line in {"partition moves", "partition throttles", "topic list --under-min-isr"}
            or ("default" in line or "group" in line)
        )
    assert rows


async def test_a_group_with_members_is_not_reset_and_its_speed_is_measured(engine):
    _, bootstrap = engine
    created = await asyncio.to_thread(run, bootstrap, "topic create read -p 2 -r 3")
    assert created[0] == 0, created[2]
    await asyncio.to_thread(run, bootstrap, "produce read a b c d e f --partition 1")
    consumer = aiokafka.AIOKafkaConsumer(
        "read",
        bootstrap_servers=bootstrap,
        group_id="readers",
        client_id="reader",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        while not await consumer.getmany(timeout_ms=500):
            pass
        await consumer.commit({aiokafka.TopicPartition("read", 1): 2})
        refused = await asyncio.to_thread(run, bootstrap, "group reset readers --to earliest --yes")
        assert refused[0] == 4
        assert "has 1 members (reader on " in refused[2]
        deleted = await asyncio.to_thread(run, bootstrap, "topic delete read")
        assert "groups with members: readers (1)" in deleted[2]
        words = "group describe readers --rate --sample 1500ms"
        asking = asyncio.create_task(asyncio.to_thread(run, bootstrap, words))
        for offset in range(2, 5):
            await consumer.commit({aiokafka.TopicPartition("read", 1): offset})
            await asyncio.wait({asking}, timeout=0.5)
        code, out, err = await asking
    finally:
        await consumer.stop()
    assert code == 0, err
    data = json.loads(out)
    assert [member["client_id"] for member in data["members"]] == ["reader"]
    row = data["partitions"][1]
    assert row["consumed_per_s"] > 0
    assert row["written_per_s"] == 0
    assert row["drain_s"] > 0
    assert data["total_lag"] == row["lag"] < 4


# The newest group protocol that each serves.
PROTOCOLS = {"logd": "classic", "apache-kafka": "consumer"}


async def test_groups_of_the_newest_protocol_are_described(engine):
    name, bootstrap = engine
    created = await asyncio.to_thread(run, bootstrap, "topic create newer -p 2 -r 3")
    assert created[0] == 0, created[2]
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "newcomers",
            "group.protocol": PROTOCOLS[name],
            "client.id": "newcomer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(["newer"])
    try:
        limit = time.monotonic() + 60
        while len(consumer.assignment()) < 2:
            assert time.monotonic() < limit, "the group has no assignment"
            await asyncio.to_thread(consumer.poll, 0.2)
        words = "group describe newcomers"
        code, out, err = await asyncio.to_thread(run, bootstrap, words)
        assert code == 0, err
        data = json.loads(out)
        assert (data["state"], data["members"][0]["client_id"]) == ("Stable", "newcomer")
        assert [row["partition"] for row in data["partitions"]] == [0, 1]
        assert (data["generation"] is None) == (PROTOCOLS[name] == "classic")
        code, _, err = await asyncio.to_thread(run, bootstrap, "group delete newcomers --dry-run")
        assert (code, "would be refused: it has members" in err) == (1, True), err
    finally:
        await asyncio.to_thread(consumer.close)
    groups = json.loads((await asyncio.to_thread(run, bootstrap, "group list"))[1])
    assert ("newcomers", PROTOCOLS[name]) in [(g["group"], g["group_type"].lower()) for g in groups]


def test_offsets_are_saved_and_brought_back(engine, tmp_path):
    _, bootstrap = engine
    run(bootstrap, "topic create kept -r 3")
    run(bootstrap, "produce kept a b c d")
    assert run(bootstrap, "group reset keeper --to 3 --topic kept --yes")[0] == 0
    path = tmp_path / "before.json"
    words = f"group reset keeper --to earliest --to-file {path} --yes"
    code, _, err = run(bootstrap, f"{words} --dry-run")
    assert (code, "1 committed offsets would be saved to" in err) == (0, True)
    assert not path.exists()
    assert run(bootstrap, words)[0] == 0
    code, _, err = run(bootstrap, f"group reset keeper --to latest --to-file {path} --yes")
    assert (code, "may hold what is needed to go back" in err) == (1, True)
    assert json.loads(path.read_text()) == [{"topic": "kept", "partition": 0, "offset": 3}]
    code, out, _ = run(bootstrap, f"group reset keeper --to file:{path} --yes")
    assert (code, json.loads(out)[0]["after"]) == (0, 3)
    code, out, _ = run(bootstrap, "group reset keeper --to @-1h --dry-run")
    assert (code, json.loads(out)[0]["after"]) == (0, 0)
    path.write_text("[{}]")
    code, _, err = run(bootstrap, f"group reset keeper --to file:{path} --yes")
    assert (code, "holds no offsets" in err) == (1, True)


def test_contexts_pin_their_cluster_and_refuse_changes(engine, tmp_path):
    _, bootstrap = engine
    words = ["context add here", bootstrap, "--pin --changes refuse --color red"]
    code, _, err = run(bootstrap, " ".join(words))
    assert code == 0, err
    config = tmp_path / "config" / "logctl" / "config.yaml"
    assert config.stat().st_mode & 0o777 == 0o600
    assert in_context("topic list")[0] == 0
    refused = in_context("topic create never")
    assert (refused[0], "read-only" in refused[1]) == (4, True)
    shown = in_context("context show here")
    assert shown[0] == 0
    config.write_text(config.read_text().replace("cluster_id: ", "cluster_id: not-"))
    refused = in_context("topic list")
    assert (refused[0], "was expected; nothing was asked" in refused[1]) == (4, True)
    assert in_context("produce orders x")[0] == 4


def in_context(line: str) -> tuple[int, str]:
    out, err = io.BytesIO(), io.StringIO()
    doors = Doors()
    doors.environ = {}
    runner = Runner(build(all_commands()), Output(stdout=out, stderr=err), doors)
    try:
        code = runner.run_blocking(runner.parse([*line.split(), "--context", "here"]))
    except Exception as error:
        code = runner.explain(error)
    return int(code), err.getvalue()
