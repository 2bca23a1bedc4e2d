"""Commands on cluster files and hosts, as far as they go without a host."""

import json

import pytest
import yaml

from clusters.free_ports import free_ports
from clusters.spec import parse_spec
from shell.exits import ExitCode
from shell.session import Doors


@pytest.fixture
def real(logctl, monkeypatch):
    """The command line with the real doors to files and operations."""
    doors = logctl.doors
    monkeypatch.setattr(doors, "load_spec", lambda path: Doors.load_spec(doors, path))
    monkeypatch.setattr(
        doors, "operations", lambda spec, report: Doors.operations(doors, spec, report)
    )
    return logctl


def test_init_writes_a_file_that_is_valid_and_never_over_another(real, tmp_path):
    path = tmp_path / "prod.yaml"
    hosts = ["ops@10.0.0.11", "ops@10.0.0.12:2222", "root@b3", "ops@10.0.0.14"]
    result = real("cluster", "init", *hosts, "--name", "prod", "-o", str(path))
    assert result.code == ExitCode.DONE
    assert f"logctl cluster check {path}" in result.err
    spec = parse_spec(path.read_bytes(), str(path))
    assert spec.name == "prod"
    assert [host.address for host in spec.hosts] == ["10.0.0.11", "10.0.0.12", "b3", "10.0.0.14"]
    reached = [spec.ssh_of(host) for host in spec.hosts]
    assert [(ssh.user, ssh.port) for ssh in reached] == [
        ("ops", None),
        ("ops", 2222),
        ("root", None),
        ("ops", None),
    ]
    assert [len(spec.voters), len(spec.bootstrap)] == [3, 4]
    assert spec.settings["min.insync.replicas"] == "2"
    before = path.read_text()
    again = real("cluster", "init", "x@y", "-o", str(path))
    assert again.code == ExitCode.FAILED
    assert "is there already" in again.err
    assert path.read_text() == before


@pytest.mark.parametrize("count", [1, 2, 5])
def test_init_to_stdout_is_a_file_too(real, count):
    result = real("cluster", "init", *(f"root@h{n}" for n in range(count)))
    spec = parse_spec(result.out.encode(), "new.yaml")
    assert len(spec.hosts) == count
    assert spec.ssh.become == "none"


def test_init_names_what_is_no_host(real):
    for wrong in ("a b", "ops@", "h:99999", "-x", "ops@h:22:22"):
        result = real("cluster", "init", "--", wrong)
        assert result.code == ExitCode.FAILED
        assert f'"{wrong}" is no host' in result.err
        assert result.out == ""


def test_validate_lists_every_problem_with_its_line(real, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(
        "cluster: x\nssh: {becom: sudo, jump: 'a b'}\nrun: {nofile: 1}\n"
        "checks: {ignore: [swapiness]}\nhosts:\n  - {id: 1, address: 10.0.0.1, bind: '-x'}\n"
    )
    result = real("cluster", "validate", str(path), "--format", "json")
    assert result.code == ExitCode.FAILED
    told = json.loads(result.out)
    assert not told["valid"]
    lines = {problem["line"]: problem["message"] for problem in told["problems"]}
    assert 'did you mean "become"' in " ".join(p["message"] for p in told["problems"])
    assert 'did you mean "swappiness"' in lines[4]
    assert "at least 1024" in lines[3]
    assert "bind" in lines[6]
    good = tmp_path / "good.yaml"
    good.write_text("cluster: x\nhosts: [{id: 1, address: 10.0.0.1}]\n")
    assert real("cluster", "validate", str(good)).code == ExitCode.DONE


def test_the_schema_knows_every_key_of_the_bundled_files(real):
    schema = json.loads(real("cluster", "validate", "--schema").out)
    assert schema["additionalProperties"] is False
    for path in real.doors.bundled_specs().values():
        with open(path, encoding="utf-8") as file:
            document = yaml.safe_load(file)
        assert document.keys() <= schema["properties"].keys()
        host = schema["$defs"]["HostSpec"]["properties"]
        assert all(each.keys() <= host.keys() for each in document["hosts"])
    units = schema["$defs"]["Rollout"]["properties"]["timeout"]["anyOf"]
    assert {each["type"] for each in units} == {"integer", "string"}


UNREACHABLE = """\
cluster: far
ssh: {user: ops, port: 1, agent: false}
hosts:
  - {id: 1, address: 127.0.0.1}
  - {id: 2, address: 127.0.0.2}
"""


def test_hosts_that_do_not_answer_are_results_of_a_check_and_a_status(real, tmp_path):
    path = tmp_path / "far.yaml"
    path.write_text(UNREACHABLE)
    checked = real("cluster", "check", str(path), "--format", "json")
    assert checked.code == ExitCode.FAILED
    found = {(each["broker_id"], each["check"], each["state"]) for each in json.loads(checked.out)}
    assert {(1, "ssh", "fail"), (2, "ssh", "fail")} <= found
    status = real("cluster", "status", str(path), "--timeout", "1s")
    assert status.code == ExitCode.UNHEALTHY
    assert "the host of broker 1 cannot be reached" in status.out
    up = real("cluster", "up", str(path), "--yes")
    assert up.code == ExitCode.FAILED
    assert "127.0.0.1 cannot be reached by SSH" in up.err
    assert "By hand: ssh -p 1" in up.err
    entries = json.loads(real("cluster", "audit", str(path), "--format", "json").out)
    assert [(entry["command"], entry["outcome"]) for entry in entries] == [("up", "failed")]


def test_nothing_is_written_on_hosts_from_a_read_only_session(real, tmp_path):
    path = tmp_path / "far.yaml"
    path.write_text(UNREACHABLE)
    for words in (["check", str(path), "--fix"], ["up", str(path)], ["exec", "--", "id"]):
        assert real("--read-only", "cluster", *words).code == ExitCode.REFUSED


def test_the_plan_of_a_cluster_here_is_shown_and_nothing_is_done(real, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "here.yaml"
    client, controller = free_ports(2)
    path.write_text(
        f"cluster: here\nlisteners: {{client: {client}, controller: {controller}}}\n"
        "hosts: [{id: 1, address: local}]\n"
    )
    shown = real("cluster", "up", str(path), "--plan")
    assert shown.code == ExitCode.DIFFERENCES
    assert "broker 1 on this machine: install (it is not installed yet)" in shown.out
    assert not (tmp_path / "data").exists()
    result = real("cluster", "up", str(path), "--plan", "--format", "json")
    events = [json.loads(line) for line in result.out.splitlines()]
    assert events[-1]["event"] == "result"
    assert events[-1]["starts"] == [1]
    assert {event["event"] for event in events[:-1]} <= {"progress"}


def test_rollback_of_what_was_never_changed_and_restart_of_nothing_are_told(real, tmp_path):
    path = tmp_path / "none.yaml"
    path.write_text(
        "cluster: none\nlisteners: {client: 23292, controller: 23392}\n"
        "hosts: [{id: 1, address: local}]\n"
    )
    assert "has nothing to go back to" in real("cluster", "rollback", str(path)).err
    assert "is not installed" in real("cluster", "restart", str(path)).err


def test_the_audit_tells_of_runs_also_of_those_that_failed(real, tmp_path):
    path = tmp_path / "none.yaml"
    path.write_text(
        "cluster: none\nlisteners: {client: 23292, controller: 23392}\n"
        "hosts: [{id: 1, address: local}]\n"
    )
    real("cluster", "rollback", str(path))
    entries = json.loads(real("cluster", "audit", str(path), "--format", "json").out)
    assert [(entry["command"], entry["outcome"]) for entry in entries] == [("rollback", "failed")]
    assert "nothing to go back to" in entries[0]["detail"]
