"""A cluster file is read with every error at once, each with its line and the way out."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.engines import engine_named
from clusters.errors import SpecError
from clusters.layout import broker_layout
from clusters.spec import load_spec, parse_spec
from clusters.spec.settings_names import KNOWN, mistyped
from clusters.units import setting_text

HERE = Path(__file__).resolve().parents[2] / "clusters"
GOOD = """\
cluster: x
hosts:
  - {id: 1, address: local}
"""


LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text.encode(), "f.yaml")
    return str(caught.value).splitlines()


def test_the_local_example_has_the_documented_addresses():
    spec = load_spec(HERE / "local.yaml")
    assert spec.bootstrap == ["127.0.0.1:19092", "127.0.0.1:19093", "127.0.0.1:19094"]
    assert spec.voters == [(n, "127.0.0.1", 19191 + n) for n in (1, 2, 3)]
    assert spec.settings["default.replication.factor"] == "3"
    assert spec.settings["min.insync.replicas"] == "2"


def test_the_three_hosts_example_loads_with_units_applied():
    spec = load_spec(HERE / "three-hosts.yaml")
    assert [host.address for host in spec.hosts] == ["10.0.0.11", "10.0.0.12", "10.0.0.13"]
    assert spec.settings["log.retention.ms"] == str(7 * 24 * 3600 * 1000)
    assert spec.settings["log.segment.bytes"] == str(512 << 20)


def test_every_problem_is_told_at_once_with_line_value_and_nearest_word():
    found = problems(
        "cluster: x\n"
        "engin: logd\n"
        "listeners: {clinet: 1, controller: 99999}\n"
        "settings:\n"
        "  min.insync.replica: 2\n"
        "  log.retention.ms: 7dd\n"
        "  node.id: 3\n"
        "hosts:\n"
        "  - {id: 1, address: local}\n"
        "  - {id: 1, address: local, port_ofset: 3, roles: [brokre]}\n"
    )
    text = "\n".join(found)
    assert 'f.yaml:2: engin: unknown key; did you mean "engine"?' in found
    assert 'f.yaml:3: listeners.clinet: unknown key; did you mean "client"?' in found
    assert any(line.startswith("f.yaml:3: listeners.controller: 99999 is out of") for line in found)
    assert 'did you mean "min.insync.replicas"?' in text
    assert 'f.yaml:6: settings.log.retention.ms: "7dd" is not a duration' in text
    assert "f.yaml:7: settings.node.id: is set from hosts[].id" in text
    assert 'f.yaml:10: hosts[1].port_ofset: unknown key; did you mean "port_offset"?' in found
    assert "f.yaml:10: hosts[1].id: id 1 is already used on line 9" in found
    assert 'did you mean "broker"?' in text
    assert [int(line.split(":")[1]) for line in found] == sorted(
        int(line.split(":")[1]) for line in found
    )


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "is empty"),
        ("- a\n", 1, "must be a mapping"),
        ("cluster: [\n", 2, "not valid YAML"),
        ("cluster: x\ncluster: y\nhosts: [{id: 1, address: local}]\n", 2, "given twice"),
        ("cluster: x\n", None, "hosts: is missing"),
        ("cluster: x\nhosts: []\n", 2, "must not be empty"),
        ("cluster: !!python/object:os.system x\nhosts: [{id: 1, address: local}]\n", 1, "text"),
        ("cluster: !boom x\nhosts: [{id: 1, address: local}]\n", 1, "tag !boom"),
        ("cluster: ../x\nhosts: [{id: 1, address: local}]\n", 1, "lower-case letters"),
        (GOOD + "paths: {data: relative}\n", 4, "absolute path"),
        (GOOD + "paths: {data: /}\n", 4, "would mix"),
        (GOOD + "listeners: {client: 9000, controller: 9000}\n", 3, "already the client port"),
        (GOOD + "  - {id: 2, address: local}\n", 4, "already the client port"),
        (GOOD + "  - {id: 2, address: 10.0.0.1}\n", 4, "make all addresses local, or none"),
        (GOOD + "settings: {min.insync.replicas: 2}\n", 4, "only 1 broker"),
        ("cluster: x\nhosts: [{id: 1, address: local, roles: [broker]}]\n", 2, "role controller"),
        ("cluster: x\nhosts: [{id: 1, address: 'a b'}]\n", 2, "no host name"),
        ("cluster: x\nhosts: [{id: 1, address: local, port_offset: 60000}]\n", 2, "65535"),
        (LAUGHS, None, "expands to more"),
        pytest.param("a: " + "[" * 500 + "]" * 500, None, "nested deeper", id="deep"),
    ],
)
def test_a_bad_file_is_one_clear_error(text, line, words):
    found = problems(text)
    assert any(words in problem for problem in found), found
    if line is not None:
        assert any(problem.startswith(f"f.yaml:{line}: ") for problem in found), found


def test_missing_files_folders_and_binary_are_told(tmp_path):
    with pytest.raises(SpecError, match=r"none\.yaml: there is no such file"):
        load_spec(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="is a folder"):
        load_spec(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"cluster: x\n\xff\xfe")
    with pytest.raises(SpecError, match=r"b\.yaml:2: is not UTF-8"):
        load_spec(tmp_path / "b.yaml")


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.text(alphabet="abc:-[]{},&*!?|>'\"%@ \n", max_size=80)))
def test_no_content_whatever_raises_anything_but_spec_error(content):
    raw = content if isinstance(content, bytes) else content.encode()
    with contextlib.suppress(SpecError):
        parse_spec(raw, "f.yaml")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("log.retention.ms", "7d", "604800000"),
        ("log.retention.hours", "7d", "168"),
        ("leader.imbalance.check.interval.seconds", "1m", "60"),
        ("log.segment.bytes", "512MiB", "536870912"),
        ("log.segment.bytes", "1.5k", "1536"),
        ("log.retention.bytes", -1, "-1"),
        ("auto.create.topics.enable", False, "false"),
        ("compression.type", "zstd", "zstd"),
    ],
)
def test_settings_take_units(name, value, text):
    assert setting_text(name, value) == text


def test_a_duration_that_its_unit_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="not a whole number of hours"):
        setting_text("log.retention.hours", "90m")


def test_a_setting_cannot_smuggle_in_another_line():
    assert "one line of text" in problems(GOOD + 'settings: {log.level: "a\\nnode.id=9"}\n')[0]


def test_only_clear_typing_mistakes_are_taken_for_such():
    assert mistyped("default.replication.facto") == "default.replication.factor"
    assert mistyped("some.plugin.class.we.never.heard.of") is None
    assert all(mistyped(name) is None for name in KNOWN)


def test_the_broker_reads_the_configuration_that_is_written(tmp_path):
    from broker.config import BrokerConfig

    spec = load_spec(HERE / "local.yaml")
    layout = broker_layout(spec, spec.host(2))
    text = engine_named("logd").configuration(spec, layout, "AAAAAAAAAAAAAAAAAAAAAA")
    path = tmp_path / "broker.properties"
    path.write_text(text)
    config = BrokerConfig.load(str(path))
    assert (config.node_id, config.cluster_id) == (2, "AAAAAAAAAAAAAAAAAAAAAA")
    assert config.voters == {n: ("127.0.0.1", 19191 + n) for n in (1, 2, 3)}
    assert config.data_dir == layout.data_dirs[0]
    assert config.rack == "b"
    assert "min.insync.replicas=2" in text.splitlines()


def test_groups_work_on_a_cluster_of_one_broker():
    """The offsets topic asks for three replicas by default, which one broker can't give."""
    spec = parse_spec(
        b"cluster: alone\nengine: logd\nlisteners: {client: 19500, controller: 19600}\n"
        b"hosts:\n  - {id: 1, address: local}\n",
        "alone.yaml",
    )
    layout = broker_layout(spec, spec.host(1))
    text = engine_named("logd").configuration(spec, layout, "AAAAAAAAAAAAAAAAAAAAAA")
    assert "offsets.topic.replication.factor=1" in text.splitlines()
