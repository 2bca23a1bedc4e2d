"""Conditions, declared state and runbooks mean the same on logd and on Apache Kafka."""

from __future__ import annotations

import io
import json
import re

import pytest

from shell.cli import build
from shell.commands import all_commands
from shell.output import Output
from shell.runner import Runner
from shell.session import Doors
from tests.both_engines import ENGINES, running

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

STATE = """
defaults: {replication: 1}
topics:
  both.orders:
    partitions: 3
    configs: {retention.ms: 1d, cleanup.policy: [compact, delete], max.message.bytes: 1MiB}
  both.pinned: {assignment: [[1], [1]]}
groups:
  both: {topics: {both.orders: {at: earliest}}}
"""
BOOK = """
steps:
  - run: topic list
    save: topics
  - assert: count(topics where topic ~ "^both") = ${count}
  - wait: no partitions where offline or under_replicated
    for: 200ms
    every: 50ms
    timeout: 30s
  - assert: all partitions where topic = both.orders have config.retention.ms = 1d and size < 1MiB
  - assert: sum(lag of lags where group = both) = 0 and all quorum have lag < 100
  - when: any topics where topic = both.pinned
    run: topic delete both.pinned --yes
  - wait: no topics where topic = both.pinned
    timeout: 30s
"""


class Shell:
    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def __call__(self, *words: object, code: int = 0) -> tuple[str, str]:
        out, err = io.BytesIO(), io.StringIO()
        runner = Runner(build(all_commands()), Output(stdout=out, stderr=err), Doors())
        line = [*map(str, words), "--bootstrap", self.bootstrap]
        try:
            ended = runner.run_blocking(runner.parse(line))
        except Exception as error:
            ended = runner.explain(error)
        assert ended == code, err.getvalue()
        assert "Internal error" not in err.getvalue()
        return out.getvalue().decode(), err.getvalue()


@pytest.fixture(scope="module", params=ENGINES)
def shell(request):
    with running(request.param, 1) as cluster:
        yield Shell(cluster.bootstrap)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def test_the_same_files_do_the_same(shell, folder):
    state, written, book = folder / "state.yaml", folder / "export.yaml", folder / "book.yaml"
    state.write_text(STATE)
    shell("diff", state, code=3)
    shell("apply", state, "--dry-run", code=3)
    shell("apply", state)
    assert "No differences" in shell("diff", state)[1]
    left_out = shell("export", "--group", "both", "--placement", "--out", written)[1]
    # Neither has rules: the one does not serve them, the other runs without an authorizer.
    assert re.search("acls are left out: .*(DescribeAcls|without an authorizer)", left_out)
    assert "No differences" in shell("diff", written, "--only", "topic=both*")[1]
    state.write_text(STATE.replace("partitions: 3", "partitions: 4").replace("1d", "2d"))
    steps = json.loads(shell("diff", state, "--format", "json", code=3)[0])["steps"]
    # The offsets of a partition that is not there yet follow once it is.
    assert [(step["kind"], step["topic"]) for step in steps] == [
        ("set configs", "both.orders"),
        ("add partitions", "both.orders"),
    ]
    assert steps[0]["after"] == {"configs": {"retention.ms": "172800000"}}
    shell("apply", state)
    assert "No differences" in shell("diff", state)[1]
    state.write_text(STATE.replace("partitions: 3", "partitions: 4"))
    shell("apply", state)
    book.write_text("variables: {count: 2}\n" + BOOK)
    shell("run", book)
    refused = shell("diff", state, "--set", "nothing=1", code=1)[1]
    assert "no file uses the variable" in refused
    rows = json.loads(shell("query", "lags where group = both", "--format", "json")[0])
    assert [(row["partition"], row["committed"], row["lag"]) for row in rows] == [
        (0, 0, 0),
        (1, 0, 0),
        (2, 0, 0),
        (3, 0, 0),
    ]
