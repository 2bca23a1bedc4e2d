"""The examples and declared state on three real brokers: incidents that are made, and healed."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import clusters
from clusters.throwaway import ThrowAwayCluster
from shell.cli import build
from shell.commands import all_commands
from shell.output import Output
from shell.runner import Runner
from shell.session import Doors

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

ROOT = Path(__file__).parent.parent.parent
RUNBOOKS = ROOT / "examples" / "runbooks"
STATE = ROOT / "examples" / "state"


@dataclass
class Told:
    code: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)


class Shell:
    def __call__(self, *words: object, answers: tuple[str, ...] = ()) -> Told:
        out, err = io.BytesIO(), io.StringIO()
        doors, left = Doors(), list(answers)
        doors.ask = lambda prompt: left.pop(0) if left else None
        runner = Runner(build(all_commands()), Output(stdout=out, stderr=err), doors)
        try:
            code = runner.run_blocking(runner.parse([str(word) for word in words]))
        except Exception as error:
            code = runner.explain(error)
        assert "Traceback" not in err.getvalue()
        assert "Internal error" not in err.getvalue()
        return Told(int(code), out.getvalue().decode(), err.getvalue())

    def ok(self, *words: object, answers: tuple[str, ...] = ()) -> Told:
        told = self(*words, answers=answers)
        assert told.code == 0, told.err
        return told


@pytest.fixture(scope="module")
def shell():
    cluster = ThrowAwayCluster(str(Path(clusters.__file__).parent / "local.yaml"), own_ports=True)
    cluster.prepare()
    try:
        asyncio.run(cluster.up())
        yield Shell()
    finally:
        asyncio.run(cluster.close())


@pytest.fixture(scope="module")
def shop(shell):
    shell.ok("topic", "create", "shop.old-carts", "-p", "1", "-r", "3")
    assert shell("diff", STATE / "shop.yaml").code == 3
    refused = shell("apply", STATE / "shop.yaml")
    assert refused.code == 4
    assert "shop.old-carts" in refused.err
    shell.ok("apply", STATE / "shop.yaml", "--yes")
    return shell


def names(shell) -> list[str]:
    return [topic["topic"] for topic in shell("topic", "list", "--format", "json").json()]


def test_every_example_is_a_valid_file(shell):
    given = {"broker": 2, "topic": "t", "group": "g", "partitions": 3}
    for path in sorted(RUNBOOKS.glob("*.yaml")):
        wanted = yaml.safe_load(path.read_text()).get("variables", {})
        options = [
            word for name in wanted if name in given for word in ("--set", f"{name}={given[name]}")
        ]
        shell.ok("run", path, "--check", *options)


def test_declared_state_is_made_and_then_holds(shop):
    assert names(shop) == ["audit.logins", "shop.customers", "shop.orders"]
    assert shop.ok("diff", STATE / "shop.yaml").out == ""
    topic = shop("topic", "describe", "shop.orders", "--format", "json").json()
    assert len(topic["partitions"]) == 6
    assert topic["config"]["max.message.bytes"] == str(2 << 20)
    shop.ok("run", RUNBOOKS / "drift.yaml")


def test_what_export_writes_applies_back_with_no_difference(shop, tmp_path):
    shop.ok("topic", "create", "odd", "-p", "3", "-r", "2", "-c", "retention.ms=12345")
    state = tmp_path / "offsets.yaml"
    state.write_text("groups: {readers: {topics: {odd: {offsets: {0: 0, 2: 0}}}}}\n")
    shop.ok("apply", state)
    written = tmp_path / "all.yaml"
    shop.ok("export", "--group", "*", "--placement", "--out", written)
    assert yaml.safe_load(written.read_text())["topics"]["odd"]["configs"] == {
        "retention.ms": "12345"
    }
    assert shop("export", "--out", written).code == 4
    for options in ((), ("--prune",)):
        told = shop.ok("diff", written, *options)
        assert "No differences" in told.err
    shop.ok("topic", "delete", "odd", "--yes")
    assert "there is no such topic" in shop("diff", written).out
    shop.ok("apply", written)
    assert shop.ok("diff", written).out == ""
    shop.ok("topic", "delete", "odd", "--yes")


def test_a_saved_plan_is_done_once_and_only_while_the_world_stands_still(shop, tmp_path):
    state, plan = tmp_path / "state.yaml", tmp_path / "plan.json"
    state.write_text(
        "topics:\n  moving: {partitions: 3, replication: 3, configs: {retention.ms: 1d}}\n"
    )
    shop.ok("topic", "create", "moving", "-p", "2", "-r", "2")
    shop.ok("apply", state, "--plan-out", plan)
    steps = [step["kind"] for step in json.loads(plan.read_text())["steps"]]
    assert steps == ["set configs", "move replicas", "add partitions"]
    shop.ok("apply", "--plan", plan)
    assert shop.ok("diff", state).out == ""
    again = shop.ok("apply", "--plan", plan)
    assert again.err.count("already: ") == 3
    shop.ok("topic", "delete", "moving", "--yes")
    moved = shop("apply", "--plan", plan)
    assert moved.code == 4
    assert "The world has moved" in moved.err
    assert "moving" not in names(shop)
    plan.write_text(plan.read_text().replace('"partitions": 3', '"partitions": 4'))
    assert "was changed after it was written" in shop("apply", "--plan", plan).err


def test_pruning_leaves_what_is_protected(shop, tmp_path):
    shop.ok("topic", "create", "audit.old", "-p", "1", "-r", "3")
    shop.ok("topic", "create", "stray", "-p", "1", "-r", "3")
    assert shop.ok("diff", STATE / "shop.yaml").out == ""
    shop.ok("apply", STATE / "shop.yaml", "--prune", "--yes")
    assert "stray" not in names(shop)
    assert "audit.old" in names(shop)
    gone = tmp_path / "gone.yaml"
    gone.write_text("protect: ['audit*']\ntopics: {audit.old: {state: absent}}\n")
    refused = shop("apply", gone, "--yes")
    assert refused.code == 4
    assert f"{gone}:2: topic audit.old: is protected from deletion by {gone}:1" in refused.err
    shop.ok("topic", "delete", "audit.old", "--yes")


def test_a_broker_that_died_comes_back(shop):
    shop.ok("broker", "kill", "2", "--yes")
    shop.ok(
        *["run", RUNBOOKS / "broker-died.yaml", "--set", "broker=2", "--record", "ignored"],
        "--check",
    )
    told = shop.ok("run", RUNBOOKS / "broker-died.yaml", "--set", "broker=2", "--format", "json")
    record = told.json()
    assert record["result"] == "done"
    assert {step["result"] for step in record["steps"]} == {"ok"}
    assert [step["title"] for step in record["steps"]][-1] == "leaders are home"
    assert shop.ok("query", "--assert", "no partitions where leader != preferred_leader").code == 0


def test_rolling_restart_keeps_everything_in_sync(shop):
    told = shop.ok("run", RUNBOOKS / "rolling-restart.yaml", "--format", "json")
    restarts = [
        step["command"] for step in told.json()["steps"] if step["command"].startswith("broker r")
    ]
    assert sorted(restarts) == ["broker restart 1", "broker restart 2", "broker restart 3"]


def test_less_is_kept_of_a_topic_that_fills_the_disk(shop):
    shop.ok("topic", "create", "noisy", "-p", "1", "-r", "3")
    shop.ok("produce", "noisy", "old", "--timestamp", "2026-01-31T12:00:00Z")
    shop.ok("produce", "noisy", "new")
    given = ["--set", "topic=noisy", "--set", "retention=2h"]
    assert shop("run", RUNBOOKS / "disk-filling.yaml", *given).code == 4
    shop.ok("run", RUNBOOKS / "disk-filling.yaml", *given, "--yes")
    config = shop("topic", "describe", "noisy", "--format", "json").json()["config"]
    assert config["retention.ms"] == "7200000"
    shop.ok("query", "--assert", "all partitions where topic = noisy have records = 1")


def test_a_stuck_group_is_moved_once_someone_says_yes(shop, tmp_path):
    shop.ok("produce", "shop.customers", "--key", "c1", "hello")
    shop.ok("produce", "shop.customers", "--key", "c1", "again")
    start = ["run", RUNBOOKS / "group-stuck.yaml", "--set", "group=crm"]
    start += ["--set", "topic=shop.customers", "--set", f"keep={tmp_path}/before.json"]
    early = STATE.parent / "state" / "offsets.yaml"
    made = ["apply", early, "--set", "group=crm", "--set", "topic=shop.customers"]
    shop.ok(*made, "--set", "at=earliest")
    refused = shop(*start, answers=("no",))
    assert refused.code == 4
    assert "not confirmed" in refused.err
    assert "--from 4" in refused.err
    behind = ("query", "--assert", "sum(lag of lags where group = crm) = 0")
    assert shop(*behind).code == 3
    shop.ok(*start, answers=("yes",))
    shop.ok(*behind)


def test_a_hot_topic_gets_more_partitions(shop):
    shop.ok("topic", "create", "hot", "-p", "2", "-r", "3")
    given = ["--set", "topic=hot", "--set", "partitions=5"]
    dry = shop.ok("run", RUNBOOKS / "hot-topic.yaml", *given, "--dry-run")
    assert "2 → 5" in dry.out
    assert len(shop("topic", "describe", "hot", "--format", "json").json()["partitions"]) == 2
    shop.ok("run", RUNBOOKS / "hot-topic.yaml", *given, "--yes")
    assert len(shop("topic", "describe", "hot", "--format", "json").json()["partitions"]) == 5


def test_conditions_are_asked_of_the_cluster(shop):
    rows = shop("query", "partitions where topic = shop.orders", "--format", "json").json()
    assert [row["partition"] for row in rows] == list(range(6))
    assert shop("query", "--fail-if-any", "partitions where offline").code == 0
    assert shop("query", "--fail-if-any", "topics where topic = shop.orders").code == 3
    wrong = shop("query", "partitions where leder = 3")
    assert wrong.code == 2
    assert 'did you mean "leader"?' in wrong.err
    told = shop(
        "query", "events where kind = TopicCreated and topic = shop.orders", "--format=json"
    )
    assert [row["topic"] for row in told.json()] == ["shop.orders"]
    watched = shop("watch", "--where", "all brokers have state = up", "--max", "1", "--format=json")
    assert watched.json()["change"] == "holds"
    past = [
        "watch",
        "--from-start",
        "--where",
        "kind = TopicCreated",
        "--max",
        "2",
        "--format=json",
    ]
    assert [json.loads(line)["kind"] for line in shop(*past).out.splitlines()] == [
        "TopicCreated",
        "TopicCreated",
    ]


def test_a_broker_that_does_not_answer_is_never_taken_for_healthy(shop):
    shop.ok("broker", "kill", "3", "--yes")
    try:
        told = shop("query", "--assert", "all brokers have size < 1TiB")
        assert told.code == 10
        assert "unknown" in told.out
    finally:
        shop.ok("broker", "start", "3")
