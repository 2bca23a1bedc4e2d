"""Runbooks: checked whole before the first step, and what a run does and says."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from clusters.declared.variables import Variables
from clusters.errors import SpecError
from clusters.query import UNKNOWN, ClusterState, Table, parse
from shell.cli import build
from shell.commands import all_commands
from shell.runbook import engine, filling
from shell.runbook.loading import load_runbook

REGISTRY = all_commands()
TREE = build(REGISTRY)


@pytest.fixture
def book(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "book.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def states(monkeypatch):
    """Hands the engine these states, one at each look; the last one for ever."""
    left: list[Any] = []

    async def observe(session, queries):
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(engine, "observe", observe)
    return left


def brokers(*up: str, at_ms: int = 0, missing: tuple[str, ...] = ()) -> ClusterState:
    rows = tuple({"broker": index, "state": state} for index, state in enumerate(up, 1))
    return ClusterState({"brokers": Table(rows, missing)}, at_ms)


def records(tmp_path: Path) -> list[dict[str, Any]]:
    found = sorted((tmp_path / "state" / "logctl" / "runs").glob("*.json"))
    return [json.loads(path.read_text()) for path in found]


def test_everything_that_is_wrong_is_told_before_the_first_step(logctl, book):
    told = logctl(
        "run",
        book(
            """runbook: bad
variables: {a: 1, must: }
steps:
  - run: topic creat orders
  - run: topic create orders --partitons 3
  - run: topic create orders --partitions x
  - wait: partitions where isrr < 3
  - assert: groups where lag > 3 for 3m
  - run: watch
  - run: topic list | cat
  - say: ${bb}
  - confrm: hello
  - wait: no partitions where topic = ${a}
    timeot: 3s
  - run: topic create
    with: {topik: x}
  - {run: topic list, wait: no brokers}
  - for_each: [1]
    steps: [{say: "${itm}"}]
  - run: run other.yaml
  - 3
"""
        ),
    )
    assert told.code == 1
    for words in (
        ":2: variables.must: must be given: --set must=VALUE",
        ":4: steps[0].run: No such command 'topic creat'. Did you mean 'create'?",
        "Did you mean '--partitions'?",
        ":6: steps[2].run: Invalid value for '--partitions'",
        ':7: steps[3].wait: column 18: partitions have no field `isrr`; did you mean "isr"?',
        ":8: steps[4].assert: asks for one moment",
        ":9: steps[5].run: 'watch' never ends",
        ":10: steps[6].run: must be one command",
        ':11: steps[7].say: there is no variable "bb" here',
        ':12: steps[8].confrm: unknown key; did you mean "confirm"?',
        ':14: steps[9].timeot: unknown key; did you mean "timeout"?',
        ":16: steps[10].with.topik: 'topic create' has nothing like it; did you mean \"topic\"?",
        ":17: steps[11]: does run and wait; a step does one thing",
        ':19: steps[12].steps[0].say: there is no variable "itm" here; did you mean "item"?',
        ":20: steps[13].run: 'run' cannot be a step",
        ":21: steps[14]: must be a command or a mapping, not 3",
    ):
        assert words in told.err
    assert logctl.doors.connected_to == []


def test_answers_are_saved_and_stay_one_word(logctl, book, tmp_path):
    told = logctl(
        "run",
        book(
            """
variables: {name: "a b; rm -rf"}
steps:
  - run: topic list
    save: topics
  - run: topic create ${topics.0.topic}.copy --partitions ${topics.0.partitions}
  - for_each: ${topics}
    as: t
    steps:
      - run: topic create
        with: {topic: "${t.topic}.again", config: {retention.ms: 1d}}
  - run: topic create ${name}
"""
        ),
    )
    assert told.code == 0, told.err
    made = [call[1] for call in logctl.doors.fake.calls]
    assert made == ["orders.copy", "orders.again", "signups.again", "a b; rm -rf"]
    assert logctl.doors.fake.calls[1][4] == {"retention.ms": "86400000"}
    [record] = records(tmp_path)
    assert record["result"] == "done"
    assert [step["step"] for step in record["steps"]] == ["1", "2", "3[1].1", "3[2].1", "3", "4"]
    page = next((tmp_path / "state").rglob("*.md")).read_text()
    assert "| ✓ | 1 | topic list |" in page


def test_a_failure_stops_the_run_and_says_how_to_go_on(logctl, book, tmp_path):
    path = book(
        """
variables: {topic: gone}
steps:
  - run: topic list
    save: topics
  - name: describe it
    run: topic describe ${topic}
    on_failure: [{say: looking closer}]
  - run: topic create ${topics.0.topic}.copy
on_failure:
  - say: tidying up
"""
    )
    told = logctl("run", path)
    assert told.code == 1
    assert f'2 failed  describe it: There is no topic "gone" ({path}:6)' in told.err
    assert "2.on_failure.1 ok  looking closer" in told.err
    assert "on_failure.1 ok  tidying up" in told.err
    assert f"go on with: run {path} --from 2" in told.err
    assert logctl.doors.fake.calls == []
    told = logctl("run", path, "--from", "describe it", "--set", "topic=orders")
    assert told.code == 0, told.err
    assert [call[1] for call in logctl.doors.fake.calls] == ["orders.copy"]
    assert [record["result"] for record in records(tmp_path)] == ["failed", "done"]


def test_from_needs_what_the_steps_before_it_saved(logctl, book):
    path = book("steps:\n  - {run: topic list, save: topics}\n  - say: ${topics.0.topic}\n")
    told = logctl("run", path, "--from", "2")
    assert told.code == 2
    assert "no earlier run" in told.err
    assert logctl("run", path, "--from", "9").code == 2


def test_a_dry_run_changes_nothing_and_shows_all(logctl, book):
    told = logctl(
        "run",
        book(
            """
steps:
  - run: topic create new
  - run: topic describe nothing
  - confirm: Delete it?
  - run: topic delete orders
  - say: the end
"""
        ),
        "--dry-run",
    )
    assert told.code == 0, told.err
    assert [(call[0], call[-1]) for call in logctl.doors.fake.calls] == [("create", True)]
    assert "2 open  topic describe nothing" in told.err
    assert "5 ok  the end" in told.err
    assert logctl.doors.asked == []


def test_questions(logctl, book):
    path = book("steps:\n  - confirm: Sure?\n  - run: topic create new\n")
    logctl.doors.answers = ["no"]
    assert logctl("run", path).code == 4
    assert logctl("run", path).code == 4
    assert logctl.doors.fake.calls == []
    logctl.doors.answers = ["yes"]
    assert logctl("run", path).code == 0
    assert logctl("run", path, "--yes").code == 0
    assert len(logctl.doors.fake.calls) == 2


def test_a_read_only_session_is_refused_before_the_first_step(logctl, book):
    path = book("steps:\n  - topic list\n  - topic create new\n")
    told = logctl("run", path, "--read-only")
    assert told.code == 4
    assert "Step 2" in told.err
    assert logctl.doors.connected_to == []


def test_expected_codes_and_retries(logctl, book):
    path = book(
        "steps:\n  - {run: topic describe none, expect: [1]}\n"
        "  - {run: topic describe none, retry: 2, every: 50ms}\n"
    )
    told = logctl("run", path)
    assert told.code == 1
    assert told.err.count("2 failed, attempt") == 2


def test_assert_tells_what_speaks_against_it(logctl, book, states):
    states.append(brokers("up", "fenced"))
    told = logctl(
        "run", book("steps:\n  - assert: all brokers have state = up\n    message: sick\n")
    )
    assert told.code == 10
    assert "sick: does not hold: all brokers have" in told.err
    assert "2 (state fenced)" in told.err


def test_what_nobody_can_tell_is_no_assertion_and_no_condition(logctl, book, states):
    states.append(brokers("up", missing=("broker 2 did not answer",)))
    told = logctl("run", book("steps:\n  - assert: all brokers have state = up\n"))
    assert told.code == 10
    assert "nobody can say whether it holds" in told.err
    assert "broker 2 did not answer" in told.err
    told = logctl(
        "run", book("steps:\n  - {when: no brokers where state = down, run: topic list}\n")
    )
    assert told.code == 1


def test_wait_survives_silence_and_counts_anew(logctl, book, states):
    from shell.exits import Failed

    states += [
        brokers("up", "down", at_ms=0),
        brokers("up", "up", at_ms=1000),
        Failed("No answer from the cluster."),
        brokers("up", "up", at_ms=3000),
        brokers("up", UNKNOWN, at_ms=4000),
        brokers("up", "up", at_ms=5000),
        brokers("up", "up", at_ms=6900),
        brokers("up", "up", at_ms=7000),
    ]
    told = logctl(
        "run", book("steps:\n  - {wait: all brokers have state = up, for: 2s, every: 50ms}\n")
    )
    assert told.code == 0, told.err
    assert len(states) == 1


def test_wait_gives_up_in_time_with_what_it_saw(logctl, book, states):
    states.append(brokers("up", "down"))
    told = logctl(
        "run",
        book("steps:\n  - {wait: no brokers where state = down, timeout: 200ms, every: 50ms}\n"),
    )
    assert told.code == 10
    assert "does not hold after 0.2 s" in told.err
    assert "2 (state down)" in told.err


def test_the_command_waits_as_the_step_does(logctl, states, monkeypatch):
    async def observe(session, queries):
        return states.pop(0) if len(states) > 1 else states[0]

    monkeypatch.setattr("shell.commands.wait.observe", observe)
    states += [brokers("up", "down"), brokers("up", "up")]
    told = logctl("wait", "all brokers have state = up", "--every", "50ms")
    assert told.code == 0, told.err
    states[:] = [brokers("up", "down")]
    told = logctl("wait", "no", "brokers", "where", "state", "=", "down", "--within", "100ms")
    assert told.code == 10
    assert "2 (state down)" in told.err
    assert logctl("wait", "no brokers for 3s", "--for", "3s").code == 2


def test_parallel_steps_all_end_and_one_failure_is_enough(logctl, book, tmp_path):
    told = logctl(
        "run", book("steps:\n  - parallel: [topic list, topic describe none, broker list]\n")
    )
    assert told.code == 1
    results = {step["step"]: step["result"] for step in records(tmp_path)[0]["steps"]}
    assert results == {"1.1": "ok", "1.2": "failed", "1.3": "ok", "1": "failed"}


@hypothesis_settings(max_examples=80, deadline=None)
@given(st.text(max_size=12))
def test_no_value_changes_the_structure_of_a_condition(text):
    variables = Variables(declared={"x": text.replace("${", "$${")})
    query = parse(filling.condition("topics where topic = ${x}", variables))
    row = SimpleNamespace(topic=text)
    number = text if not text.isdecimal() else str(int(text))
    value = query.condition.source.where.right.value
    assert str(value) in {row.topic, number}
    quoted = parse(filling.condition('topics where topic contains "a${x}b"', variables))
    inside = quoted.condition.source.where.right.value
    assert inside.startswith("a")
    assert inside.endswith("b")


KEYS = [*engine.Action, "name", "when", "with", "save", "expect", "for", "timeout", "on_failure"]
SCALARS = st.sampled_from(
    ["topic list", "${x}", "no brokers", "3s", "topic create ${x}", "'", "${", "a.b", "x"]
)
STEP = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | SCALARS | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([str(key) for key in KEYS]), inner, max_size=4)
    ),
    max_leaves=8,
)


@hypothesis_settings(max_examples=80, deadline=None)
@given(
    st.fixed_dictionaries(
        {"steps": st.lists(STEP, max_size=4) | STEP},
        optional={"variables": STEP, "on_failure": STEP, "runbook": STEP},
    )
)
def test_any_file_is_a_runbook_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "book.yaml"
    path.write_text(yaml.safe_dump(data))
    with contextlib.suppress(SpecError):
        book = load_runbook(str(path), REGISTRY, TREE, Variables(declared={"x": 1}))
        assert book.steps
