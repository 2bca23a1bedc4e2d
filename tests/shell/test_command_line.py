"""What a person or a script sees: the bytes on stdout, the words on stderr, the exit code."""

from __future__ import annotations

import json

import pytest
import yaml

from clusters.admin import Gathered, LogDir
from shell.exits import ExitCode


def test_topic_list_is_a_table(logctl):
    result = logctl("topic", "list")
    assert result.code == ExitCode.DONE
    assert result.out.splitlines() == [
        "TOPIC    PARTITIONS  REPLICAS  UNDER-REPLICATED  OFFLINE",
        "orders            3         3                 2        1",
        "signups           3         3                 0        0",
    ]
    assert result.err == ""


def test_topic_list_as_json_and_yaml_says_the_same(logctl):
    as_json = json.loads(logctl("topic", "list", "--format", "json").out)
    as_yaml = yaml.safe_load(logctl("--format", "yaml", "topic", "list").out)
    assert as_json == as_yaml
    assert [topic["topic"] for topic in as_json] == ["orders", "signups"]
    with_internal = json.loads(logctl("topic", "list", "--internal", "--format=json").out)
    assert [topic["topic"] for topic in with_internal] == ["orders", "signups", "__internal"]


def test_topic_describe_json_has_the_documented_fields(logctl):
    data = json.loads(logctl("topic", "describe", "orders", "--format", "json").out)
    assert list(data) == ["topic", "id", "partitions", "config"]
    assert list(data["partitions"][0]) == [
        "partition",
        "leader",
        "leader_epoch",
        "replicas",
        "isr",
        "offline",
        "start_offset",
        "end_offset",
    ]


def test_topic_describe_shows_what_is_wrong(logctl):
    lines = logctl("topic", "describe", "orders").out.splitlines()
    assert lines[0].split() == ["topic", "orders"]
    assert lines[2].split() == ["config", "retention.ms", "604800000"]
    assert lines[5].split() == ["0", "1", "4", "1,2,3", "1,2,3", "-", "0", "1500"]
    assert lines[6].split() == ["1", "2", "7", "2,3,1", "2,1", "3", "10", "1400"]
    assert lines[7].split() == ["2", "none", "9", "3", "-", "3", "0", "0"]


def test_broker_list_names_state_and_controller(logctl):
    lines = logctl("broker", "list").out.splitlines()
    room = ["512.0", "MiB"]
    assert lines[1].split() == ["1", "127.0.0.1:19092", "a", "up", "1", "3", *room, "active"]
    assert lines[3].split() == ["3", "127.0.0.1:19094", "-", "down", "0", "3", "-", "-"]


def test_a_full_disk_is_named_and_the_exit_code_says_unhealthy(logctl, monkeypatch):
    full = LogDir(
        broker=2,
        path="/data",
        error="its log dir failed",
        total_bytes=2**30,
        usable_bytes=2**20,
        replicas=(),
    )

    async def log_dirs(broker_ids=None):
        return Gathered((full,), ())

    monkeypatch.setattr(logctl.doors.fake, "log_dirs", log_dirs)
    wanted = "broker 2: the disk of its log dir /data is full (1.0 MiB of 1.0 GiB free)"
    for words in (("broker", "list"), ("broker", "describe", "2", "--format", "json")):
        told = logctl(*words)
        assert told.code == ExitCode.UNHEALTHY
        assert wanted in told.err
    data = json.loads(logctl("broker", "list", "--format", "json").out)
    assert [len(each["log_dirs"]) for each in data] == [0, 1, 0]
    assert data[1]["log_dirs"][0]["trouble"] == wanted.removeprefix("broker 2: ")


def test_broker_describe_lists_what_lives_on_it(logctl):
    told = logctl("broker", "describe", "3", "--format", "json")
    assert told.code == ExitCode.UNHEALTHY
    assert "broker 3: no log dirs: it is not running" in told.err
    data = json.loads(told.out)
    assert {
        "topic": "orders",
        "partition": 1,
        "role": "follower",
        "in_sync": False,
        "size_bytes": None,
    } in data["partitions"]
    missing = logctl("broker", "describe", "9")
    assert missing.code == ExitCode.FAILED
    assert "There is no broker 9; there are 1, 2, 3." in missing.err


def test_topic_settings_take_units(logctl):
    words = ["topic", "create", "audit", "--config", "retention.ms=7d"]
    done = logctl(*words, "--config", "segment.bytes=64MiB", "--config", "cleanup.policy=compact")
    assert done.code == ExitCode.DONE
    created = next(call for call in logctl.doors.fake.calls if call[0] == "create")
    assert created[4] == {
        "retention.ms": "604800000",
        "segment.bytes": "67108864",
        "cleanup.policy": "compact",
    }
    wrong = logctl("topic", "create", "audit", "--config", "retention.ms=7parsecs")
    assert wrong.code == ExitCode.USAGE
    assert "7parsecs" in wrong.err


def test_topic_create_passes_everything_on(logctl):
    words = [
        "topic",
        "create",
        "audit",
        "-p",
        "6",
        "--replication",
        "3",
        "--config",
        "a=1",
        "-c",
        "b=x=y",
    ]
    assert logctl(*words).code == ExitCode.DONE
    assert logctl.doors.fake.calls == [("create", "audit", 6, 3, {"a": "1", "b": "x=y"}, False)]


def test_topic_create_dry_run_only_validates(logctl):
    result = logctl("topic", "create", "audit", "--dry-run")
    assert logctl.doors.fake.calls == [("create", "audit", -1, -1, {}, True)]
    assert "nothing was changed" in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("topc list", "No such command 'topc'. Did you mean 'topic'?"),
        ("topic lst", "No such command 'topic lst'. Did you mean 'list'?"),
        ("consume orders", "No such command 'consume'. Did you mean 'tail'?"),
        ("status", "No such command 'status'. Did you mean 'cluster status'?"),
        ("reset billing", "No such command 'reset'. Did you mean 'group reset'?"),
        ("list", "Did you mean 'broker list' or 'topic list' or 'partition list', for example?"),
        ("topic", "'topic' needs a verb: list, create, describe, delete, alter, clone, trim."),
        ("topic list --formt json", "No such option '--formt'. Did you mean '--format'?"),
        (
            "topic list --format jsn",
            "'jsn' is not one of table, json, yaml, raw, hex, string, template. Did you mean",
        ),
        ("topic create", "Missing argument 'TOPIC'."),
        ("topic create x -p six", "'six' is not a valid integer"),
        ("topic create x -c retention", "'retention' is not a KEY=VALUE."),
        ("topic list --timeout soon", "'soon' is not a duration"),
        ("topic list --bootstrap localhost:port", "'localhost:port' is not a HOST:PORT"),
        ("topic list --context locl", "There is no context 'locl'. Did you mean 'local'?"),
        ("topic list --format raw", "The format raw is for commands that print records"),
        ("context use locl", "There is no context 'locl'. Did you mean 'local'?"),
        ("cluster status locl", "Did you mean 'local'?"),
        ("broker kill two", "'two' is not a whole number."),
        ("produce orders x --acks 2", "'2' is not one of 0, 1, all."),
        ("produce orders x --file y", "Give values or --file, not both."),
        ("tail orders --from yesterday", "'yesterday' is not a position"),
        ("tail orders:x", "'orders:x' is not TOPIC or TOPIC:PARTITION"),
        ("help topc", "There is no command 'topc'. Did you mean 'topic'?"),
        ("completion bsh", "'bsh' is not one of bash, zsh, fish. Did you mean 'bash'?"),
    ],
)
def test_wrong_usage_is_told_with_the_nearest_word(logctl, words, said):
    result = logctl(*words.split())
    assert result.code == ExitCode.USAGE
    assert said in result.err
    assert result.out == ""
    assert "Traceback" not in result.err


def test_an_unknown_topic_is_told(logctl):
    for verb in ("describe", "delete"):
        result = logctl("topic", verb, "order", "--yes")
        assert result.code == ExitCode.FAILED
        assert 'There is no topic "order"' in result.err


def test_options_work_before_and_after_the_verb(logctl):
    for words in (
        ["--bootstrap", "a:1,b:2", "topic", "list", "--timeout", "3s"],
        ["topic", "--bootstrap", "a:1,b:2", "list", "--timeout=3s"],
        ["topic", "list", "--timeout", "3000ms", "--bootstrap", "a:1,b:2"],
    ):
        assert logctl(*words).code == ExitCode.DONE
        assert logctl.doors.connected_to[-1] == (("a:1", "b:2"), 3_000)


def test_environment_stands_in_for_options_and_gives_way_to_them(logctl):
    logctl.doors.environ = {
        "LOGCTL_BOOTSTRAP": "e:1",
        "LOGCTL_FORMAT": "json",
        "LOGCTL_TIMEOUT": "2s",
    }
    assert json.loads(logctl("topic", "list").out)
    assert logctl.doors.connected_to[-1] == (("e:1",), 2_000)
    assert logctl("topic", "list", "--context", "local", "--format", "table").code == 0
    assert logctl.doors.connected_to[-1] == (("127.0.0.1:19092",), 2_000)
    logctl.doors.environ = {"LOGCTL_FORMAT": "xml"}
    assert logctl("topic", "list").code == ExitCode.USAGE


def test_without_a_cluster_it_says_how_to_name_one(logctl):
    logctl.doors.current = None
    result = logctl("topic", "list")
    assert result.code == ExitCode.USAGE
    assert "--bootstrap HOST:PORT" in result.err


@pytest.mark.parametrize("how", ["option", "environment", "context"])
def test_read_only_refuses_changes(logctl, how):
    words = ["topic", "create", "x"]
    if how == "option":
        words.append("--read-only")
    elif how == "environment":
        logctl.doors.environ = {"LOGCTL_READ_ONLY": "1"}
    else:
        from clusters.state import Context

        logctl.doors.saved["local"] = Context(name="local", bootstrap=["a:1"], read_only=True)
    result = logctl(*words)
    assert result.code == ExitCode.REFUSED
    assert "read-only" in result.err
    assert logctl.doors.fake.calls == []
    assert logctl("topic", "list", *words[3:]).code == ExitCode.DONE


def test_delete_is_confirmed(logctl):
    refused = logctl("topic", "delete", "orders")
    assert refused.code == ExitCode.REFUSED
    assert "--yes" in refused.err
    logctl.doors.answers = ["no"]
    assert logctl("topic", "delete", "orders").code == ExitCode.REFUSED
    assert logctl.doors.fake.calls == []
    logctl.doors.answers = ["yes"]
    assert logctl("topic", "delete", "orders").code == ExitCode.DONE
    assert logctl("topic", "delete", "signups", "--yes").code == ExitCode.DONE
    assert logctl.doors.fake.calls == [("delete", "orders"), ("delete", "signups")]


def test_destroy_wants_the_clusters_name(logctl):
    assert logctl("cluster", "destroy", "local", "--yes").code == ExitCode.REFUSED
    logctl.doors.answers = ["yes"]
    assert logctl("cluster", "destroy", "local").code == ExitCode.REFUSED
    assert not logctl.doors.destroyed
    logctl.doors.answers = ["local"]
    assert logctl("cluster", "destroy", "local").code == ExitCode.DONE
    assert logctl.doors.destroyed


def test_destroy_by_script(logctl):
    words = ["cluster", "destroy", "local", "--yes", "--confirm-name"]
    assert logctl(*words, "other").code == ExitCode.REFUSED
    assert not logctl.doors.destroyed
    assert logctl(*words, "local").code == ExitCode.DONE
    assert logctl.doors.destroyed


def test_a_cluster_that_never_answers_ends_within_the_timeout(logctl, monkeypatch):
    monkeypatch.setattr("shell.session._DEADLINE_GRACE_MS", 0)
    logctl.doors.fake.delay_forever = True
    result = logctl("topic", "list", "--timeout", "50ms")
    assert result.code == ExitCode.FAILED
    assert "No answer from 127.0.0.1:19092 within 0.05 s." in result.err


def test_errors_for_the_reader_are_shown_as_they_are(logctl):
    from broker.protocol.errors import LogctlError

    logctl.doors.fake.failure = LogctlError("127.0.0.1:1 refused the connection")
    result = logctl("topic", "list")
    assert result.code == ExitCode.FAILED
    assert result.err == "error: 127.0.0.1:1 refused the connection\n"


def test_an_internal_error_is_one_line_and_a_log_entry(logctl, tmp_path):
    from shell.journal import start_journal

    start_journal(debug=False)
    logctl.doors.fake.failure = KeyError("surprise")
    result = logctl("topic", "list")
    assert result.code == ExitCode.FAILED
    assert "Internal error: KeyError: 'surprise'" in result.err
    assert "Traceback" not in result.err
    path = tmp_path / "state" / "logctl" / "logctl.log"
    assert path.stat().st_mode & 0o077 == 0, "for its owner alone"
    log = path.read_text()
    assert "Traceback" in log
    assert "KeyError: 'surprise'" in log


def test_help_of_each_command_goes_to_stdout(logctl):
    for name in logctl.registry.commands:
        shown = logctl(*name.split(), "--help")
        assert shown.code == ExitCode.DONE
        assert f"Usage: logctl {name}" in shown.out
        assert "Options of every command" in shown.out
        assert shown.err == ""
    assert logctl("help", "topic", "create").out == logctl("topic", "create", "--help").out


def test_contexts_are_listed_added_used_and_removed(logctl):
    assert logctl("context", "add", "staging", "10.0.0.1,10.0.0.2:9093").code == ExitCode.DONE
    assert logctl.doors.saved["staging"].bootstrap == ["10.0.0.1:9092", "10.0.0.2:9093"]
    assert logctl("context", "use", "staging").code == ExitCode.DONE
    listed = json.loads(logctl("context", "list", "--format", "json").out)
    assert [(c["name"], c["current"]) for c in listed] == [("local", False), ("staging", True)]
    assert json.loads(logctl("context", "current", "--format", "json").out)["name"] == "staging"
    assert logctl("context", "remove", "staging").code == ExitCode.DONE
    assert logctl("context", "current").code == ExitCode.FAILED


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(logctl, shell):
    result = logctl("completion", shell)
    assert result.code == ExitCode.DONE
    assert "_LOGCTL_COMPLETE" in result.out
