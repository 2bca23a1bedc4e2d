"""One script finds out about a machine: run here by a real sh, and read back."""

import os
import platform
import socket
from pathlib import Path

from clusters.hosts.fact_script import BrokerPlaces, fact_script
from clusters.hosts.local import LocalConnection
from clusters.hosts.machine_facts import parse_facts


async def facts_of(tmp_path, **changes):
    places = BrokerPlaces(
        id=4,
        node_dir=str(tmp_path / "it's a" / "broker-4"),
        data_dirs=(str(tmp_path / "d$1"), str(tmp_path / "d2")),
        unit="logctl-x-4.service",
        unit_path=str(tmp_path / "unit"),
        marker=".logctl-owner",
    )
    script = fact_script(
        root=str(tmp_path / "it's a"),
        user="root",
        paths=[str(tmp_path / "none" / "deep")],
        brokers=[places],
    )
    answer = await LocalConnection().run(script, what="gather facts")
    assert (answer.status, answer.complaint) == (0, "")
    return parse_facts(answer.out)


async def test_a_machine_with_nothing_of_ours(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        facts = await facts_of(tmp_path)
        assert listener.getsockname()[1] in facts.listening
    assert facts.architecture == platform.machine()
    assert facts.missing_tools == ()
    assert facts.has_user
    assert facts.number("memory_kb")
    assert facts.values["boot_id"].strip().count("-") == 4
    mount = facts.mounts[str(tmp_path / "none" / "deep")]
    assert (mount.exists, mount.place, mount.noexec) == (False, str(tmp_path), False)
    assert mount.free_bytes > 0
    assert facts.brokers[4].generation is None
    assert facts.releases == frozenset()


async def test_what_is_installed_is_found_whatever_the_paths_hold(tmp_path):
    root = tmp_path / "it's a"
    node = root / "broker-4"
    generation = node / "generations" / "abc"
    generation.mkdir(parents=True)
    (generation / "server.properties").write_bytes(b"a=1\nfile\tconfig\t3\n\xff\n")
    (generation / "release").symlink_to("../../../releases/r1")
    (node / "current").symlink_to("generations/abc")
    for name, complete in (("r1", True), ("r2", False)):
        (root / "releases" / name).mkdir(parents=True)
        if complete:
            (root / "releases" / name / ".complete").touch()
    (tmp_path / "d$1").mkdir()
    (tmp_path / "d$1" / ".logctl-owner").write_text('{"cluster": "x"}\n')
    (tmp_path / "d2").mkdir()
    (tmp_path / "d2" / "stranger").touch()
    (node / "run").mkdir()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    (node / "run" / "child.identity").write_text(f"{os.getpid()} {start} {boot}\n")
    facts = await facts_of(tmp_path)
    broker = facts.brokers[4]
    assert (broker.generation, broker.release, broker.previous) == ("abc", "r1", None)
    assert broker.files["config"] == b"a=1\nfile\tconfig\t3\n\xff\n"
    assert broker.files["marker-0"] == b'{"cluster": "x"}\n'
    assert broker.filled == (1,)
    assert facts.releases == {"r1"}
    assert broker.identities["child"] == (os.getpid(), int(start), boot, int(start))
    assert not {"releases", "current"} & facts.values.keys()


def test_anything_else_is_read_without_harm():
    facts = parse_facts(b"\xff\x00\nfile\tx\t9999\nshort\nmount\t\nlisten\tx\nbroker\tx\n")
    assert facts.brokers == {}
