"""The properties file: what is accepted, and how refusals read."""

from pathlib import Path

import pytest

from broker.config import BrokerConfig, ConfigError, parse_host_port

GOOD = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "listeners": "PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19192",
    "controller.listener.names": "CONTROLLER",
    "controller.quorum.voters": "1@127.0.0.1:19192,2@127.0.0.1:19193,3@127.0.0.1:19194",
    "log.dirs": "/var/lib/logd",
    "cluster.id": "4L6g3nShT-eMCtK--X86sw",
}


def problems(**changes: str | None) -> tuple[str, ...]:
    properties = {**GOOD, **{name.replace("__", "."): value for name, value in changes.items()}}
    given = {name: value for name, value in properties.items() if value is not None}
    with pytest.raises(ConfigError) as caught:
        BrokerConfig.from_properties(given)
    return caught.value.problems


def test_a_combined_node() -> None:
    config = BrokerConfig.from_properties({**GOOD, "broker.rack": "a", "num.partitions": "4"})
    assert config.node_id == 1
    assert config.is_broker
    assert config.is_controller
    assert [str(each) for each in config.client_listeners] == ["PLAINTEXT://127.0.0.1:19092"]
    assert [str(each) for each in config.controller_listeners] == ["CONTROLLER://127.0.0.1:19192"]
    assert config.voters[3] == ("127.0.0.1", 19194)
    assert config.rack == "a"
    assert config.settings.integer("num.partitions") == 4
    assert config.metrics_port is None


def test_a_file_with_comments_continuations_and_colons(tmp_path: Path) -> None:
    lines = [f"{name}={value}" for name, value in GOOD.items() if name != "listeners"]
    file = tmp_path / "server.properties"
    file.write_text(
        "# a comment\n! another\n\n"
        + "\n".join(lines)
        + "\nlisteners : PLAINTEXT://127.0.0.1:1,\\\n    CONTROLLER://127.0.0.1:2\n"
        + "advertised.listeners=PLAINTEXT://broker-1.example:9092\n"
    )
    config = BrokerConfig.load(str(file))
    assert [each.port for each in config.listeners] == [1, 2]
    assert config.advertised["PLAINTEXT"].host == "broker-1.example"


def test_every_problem_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    file.write_text("node.id=one\nnum.partitons=4\nnonsense\nnode.id=2\nmin.insync.replicas=0\n")
    with pytest.raises(ConfigError) as caught:
        BrokerConfig.load(str(file))
    found = "\n".join(caught.value.problems)
    assert "line 1: node.id must be a whole number" in found
    assert "line 2: unknown setting num.partitons; did you mean num.partitions?" in found
    assert "line 3: expected name=value, found 'nonsense'" in found
    assert "line 4: node.id is already set on line 1" in found
    assert "line 5: " in found
    assert "cluster.id is missing" in found
    assert "log.dirs is missing" in found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"process__roles": "brokr"}, "'brokr' is not broker or controller"),
        ({"listeners": "PLAINTEXT:127.0.0.1:9092"}, "is not NAME://host:port"),
        ({"listeners": "PLAINTEXT://127.0.0.1:99999,CONTROLLER://h:1"}, "is not host:port"),
        ({"listeners": "PLAINTEXT://127.0.0.1:1"}, "needs a listener named CONTROLLER"),
        ({"listeners": "CONTROLLER://127.0.0.1:1"}, "needs a listener for clients"),
        ({"listeners": "A://h:1,A://h:2,CONTROLLER://h:3"}, "A is given twice"),
        ({"listeners": "A://h:1,CONTROLLER://h:1"}, "h:1 is given twice"),
        ({"listeners": "SSL://h:1,CONTROLLER://h:2"}, "SSL is not served yet"),
        ({"listeners": "A://0.0.0.0:1,CONTROLLER://h:2"}, "set advertised.listeners=A://HOST:PORT"),
        ({"advertised__listeners": "B://h:1"}, "no listener named B"),
        ({"controller__quorum__voters": "1@h"}, "is not host:port"),
        ({"controller__quorum__voters": "2@h:1"}, "does not name node 1"),
        ({"process__roles": "broker"}, "a controller listener needs the controller role"),
        ({"log__dirs": "/a,/b"}, "one data folder is served"),
        ({"metadata__log__dir": "/elsewhere"}, "the metadata log lives in log.dirs"),
        ({"cluster__id": None}, "cluster.id is missing"),
        ({"node__id": "-1"}, "node.id must be a whole number"),
        ({"metrics__port": "x"}, "metrics.port must be a port number"),
        ({"log__segment__bytes": "large"}, "log.segment.bytes"),
        ({"inter__broker__listener__name": "X"}, "no client listener named X"),
    ],
)
def test_what_cannot_work_is_refused_in_words(changes: dict[str, str], words: str) -> None:
    assert any(words in problem for problem in problems(**changes)), problems(**changes)


def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        BrokerConfig.load(str(tmp_path / "absent.properties"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        BrokerConfig.load(str(tmp_path / "binary"))


def test_addresses_with_brackets() -> None:
    assert parse_host_port("[::1]:9092") == ("::1", 9092)
    with pytest.raises(ValueError, match="brackets"):
        parse_host_port("::1:9092")
