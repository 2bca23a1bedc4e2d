"""Plans and processes as data: digests, diffs without secrets, units, what supervisors tell."""

from clusters.hosts.machine_facts import InstalledBroker, MachineFacts
from clusters.layout import broker_layout
from clusters.phases.plan_model import changed_settings, config_diff, generation_digest
from clusters.processes import unit_text
from clusters.processes.builtin import supervised_view
from clusters.processes.systemd import unit_view
from clusters.spec import parse_spec

BEFORE = "# from a.yaml\nnode.id=1\nlog.retention.ms=1\nssl.keystore.password=old\n"
AFTER = "# from b.yaml\nnode.id=1\nlog.retention.ms=2\nssl.keystore.password=new\nx=1\n"


def test_a_generation_is_named_by_settings_and_release_not_by_the_files_heading():
    assert generation_digest(BEFORE, "r1") == generation_digest(BEFORE.replace("a.yaml", "z"), "r1")
    assert generation_digest(BEFORE, "r1") != generation_digest(BEFORE, "r2")
    assert generation_digest(BEFORE, "r1") != generation_digest(AFTER, "r1")


def test_a_diff_shows_what_changes_and_never_a_secret():
    diff = config_diff(BEFORE, AFTER)
    assert "-log.retention.ms=1\n+log.retention.ms=2" in diff
    assert "+x=1" in diff
    assert "old" not in diff
    assert "new" not in diff
    assert changed_settings(BEFORE, AFTER) == ["log.retention.ms", "ssl.keystore.password", "x"]
    assert config_diff(BEFORE, BEFORE.replace("a.yaml", "c.yaml")) == ""


def spec(**more):
    text = "cluster: prod\nhosts:\n  - {id: 1, address: 10.0.0.1}\n"
    return parse_spec(
        (text + "".join(f"{key}: {value}\n" for key, value in more.items())).encode(), "f"
    )


def test_a_unit_runs_as_its_own_user_with_everything_else_closed():
    loaded = spec(run="{user: kafka, nofile: 5000, stop_timeout: 90s}")
    layout = broker_layout(loaded, loaded.hosts[0])
    lines = unit_text(loaded, layout, ["/opt/x/bin/logd", "--config", "/opt/a b%c"]).splitlines()
    assert 'ExecStart=/opt/x/bin/logd --config "/opt/a b%%c"' in lines
    for line in (
        "User=kafka",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "LimitNOFILE=5000",
        "TimeoutStopSec=90",
        "Restart=always",
        "ReadWritePaths=/var/lib/logctl/prod/broker-1 /var/log/logctl/prod",
        "StandardOutput=append:/var/log/logctl/prod/broker-1.log",
    ):
        assert line in lines


def test_a_unit_of_an_installation_at_home_may_see_home():
    loaded = spec(paths="{install: /home/ops/logctl}")
    assert "ProtectHome" not in unit_text(loaded, broker_layout(loaded, loaded.hosts[0]), ["x"])


def test_paths_at_home_are_those_of_the_user_there():
    loaded = spec(paths="{install: ~/logctl, data: [~/data], logs: ~/logs}")
    layout = broker_layout(loaded, loaded.hosts[0], "/home/ann")
    assert layout.cluster_root == "/home/ann/logctl/prod"
    assert layout.data_dirs == ("/home/ann/data/prod/broker-1",)
    assert layout.log_path == "/home/ann/logs/prod/broker-1.log"


def test_what_systemd_says_becomes_a_state():
    running = {"ActiveState": "active", "SubState": "running", "MainPID": "7", "NRestarts": "1"}
    running["ExecMainStartTimestampMonotonic"] = "2000000"
    view = unit_view(running, 12.0)
    assert (view.state, view.pid, view.uptime_ms) == ("running", 7, 10_000)
    assert "restarted once" in view.detail
    looping = {"ActiveState": "activating", "SubState": "auto-restart", "ExecMainStatus": "2"}
    assert unit_view(looping, None).state == "stale"
    assert "exit status 2" in unit_view(looping, None).detail
    assert unit_view({"ActiveState": "inactive", "LoadState": "loaded"}, None).state == "stopped"
    assert unit_view({}, None).state == "stopped"


def test_a_pid_alone_is_never_taken_for_a_broker():
    machine = MachineFacts(values={"boot_id": "b1", "uptime": "100.0 1"})

    def state(*identity):
        return supervised_view(machine, InstalledBroker(identities={"child": identity})).state

    assert state(7, 500, "b1", 500) == "running"
    assert state(7, 500, "b1", 501) == "stale"  # the number has another owner now
    assert state(7, 500, "b0", 500) == "stale"  # from before a reboot
    assert state(7, 500, "b1", None) == "stale"  # it is gone
    assert supervised_view(machine, InstalledBroker()).state == "stopped"
