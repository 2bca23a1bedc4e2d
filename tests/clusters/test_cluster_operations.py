"""What stands in the way of an operation is told before anything changes; nothing else is touched."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from clusters.errors import CheckFailed, HostError, OperationError, StateError
from clusters.free_ports import free_ports
from clusters.hosts.local import LocalConnection
from clusters.layout import MARKER, broker_layout
from clusters.lock import cluster_lock
from clusters.manifest import (
    BrokerRecord,
    Manifest,
    ProcessIdentity,
    load_manifest,
    manifest_path,
    save_manifest,
)
from clusters.operations import Operations
from clusters.phases.base import told_once
from clusters.spec import parse_spec
from clusters.state import (
    Context,
    cluster_data_dir,
    config_path,
    contexts,
    current_context,
    remove_context,
    use_context,
)

HERE = Path(__file__).resolve().parents[2] / "clusters"


def spec_of(brokers: int = 3, name: str = "unit", **more):
    ports = free_ports(2 * brokers)
    data = {
        "cluster": name,
        "hosts": [
            {
                "id": n,
                "address": "local",
                "listeners": {"client": ports[2 * n - 2], "controller": ports[2 * n - 1]},
            }
            for n in range(1, brokers + 1)
        ],
        **more,
    }
    return parse_spec(yaml.safe_dump(data).encode(), "unit.yaml")


def identity(pid: int) -> ProcessIdentity:
    return ProcessIdentity(pid=pid, started_at=psutil.Process(pid).create_time())


def manifest_of(spec, processes: dict[int, ProcessIdentity | None]) -> Manifest:
    brokers = {}
    for host in spec.hosts:
        layout = broker_layout(spec, host)
        brokers[host.id] = BrokerRecord(
            id=host.id,
            address=layout.address,
            process=processes.get(host.id),
            config_path=layout.config_path,
            config_digest="",
            log_path=layout.log_path,
            data_dirs=layout.data_dirs,
        )
    return Manifest(
        cluster=spec.name,
        cluster_id="AAAAAAAAAAAAAAAAAAAAAA",
        spec_path=spec.source,
        engine="logd",
        brokers=brokers,
    )


@pytest.fixture
def bystander():
    """A process of ours that is no broker."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait(60)


async def failures(operation) -> str:
    with pytest.raises(CheckFailed) as caught:
        await operation
    return str(caught.value)


async def test_an_engine_that_cannot_be_deployed_yet_is_refused_in_words():
    with pytest.raises(OperationError, match="apache-kafka cannot be deployed yet"):
        await Operations(spec_of(engine="apache-kafka")).up()


async def test_every_taken_port_is_named_with_its_holder_and_nothing_is_left(own_folders):
    spec = spec_of()
    host = spec.hosts[1]
    with socket.socket() as taken, socket.socket() as other:
        taken.bind(("127.0.0.1", spec.client_port(host)))
        taken.listen()
        other.bind(("127.0.0.1", spec.controller_port(spec.hosts[2])))
        other.listen()
        text = await failures(Operations(spec).up())
    assert f"Broker 2: the client port 127.0.0.1:{spec.client_port(host)} is in use by" in text
    assert f"pid {os.getpid()}" in text
    assert "Broker 3: the controller port" in text
    assert not (own_folders / "data").exists()
    assert load_manifest("unit") is None
    assert current_context() is None


async def test_a_folder_of_the_file_must_be_there_and_be_a_folder(tmp_path):
    missing = tmp_path / "none"
    text = await failures(Operations(spec_of(paths={"data": [str(missing)]})).up())
    assert f"there is no folder {missing}" in text
    assert "Create it" in text
    (tmp_path / "file").write_text("x")
    text = await failures(Operations(spec_of(paths={"data": [str(tmp_path / "file")]})).up())
    assert "file is not a folder" in text


async def test_files_of_somebody_else_are_never_taken_over():
    spec = spec_of()
    folder = Path(cluster_data_dir("unit")) / "broker-2"
    folder.mkdir(parents=True)
    (folder / "precious").write_text("x")
    assert "holds files that logctl did not put there" in await failures(Operations(spec).up())
    assert (await Operations(spec).destroy()).removed == []
    assert (folder / "precious").read_text() == "x"


async def test_data_of_another_cluster_is_refused():
    spec = spec_of()
    folder = Path(cluster_data_dir("unit")) / "broker-2"
    folder.mkdir(parents=True)
    (folder / MARKER).write_text(json.dumps({"cluster": "other", "node_id": 7}))
    assert "belongs to broker 7 of the cluster other" in await failures(Operations(spec).up())
    with pytest.raises(HostError, match="belongs to broker 7"):
        await Operations(spec).destroy()
    assert folder.is_dir()


async def test_destroy_removes_what_is_marked_as_ours():
    spec = spec_of()
    root = Path(cluster_data_dir("unit"))
    for number in (1, 2, 3):
        folder = root / f"broker-{number}"
        folder.mkdir(parents=True)
        (folder / MARKER).write_text(json.dumps({"cluster": "unit", "node_id": number}))
        (folder / "log").write_text("x")
    (root / MARKER).write_text(json.dumps({"cluster": "unit", "node_id": None}))
    removed = (await Operations(spec).destroy()).removed
    assert removed == [*(str(root / f"broker-{n}") for n in (1, 2, 3)), str(root)]
    assert not root.exists()


async def test_a_pid_that_belongs_to_another_process_now_is_never_touched(bystander):
    spec = spec_of()
    recycled = ProcessIdentity(pid=bystander.pid, started_at=1_000_000.0)
    save_manifest(manifest_of(spec, {1: recycled}))
    status = await Operations(spec).status(timeout_ms=500)
    assert [(each.state, each.pid) for each in status.brokers] == [
        ("stale", None),
        ("stopped", None),
        ("stopped", None),
    ]
    assert "broker 1 ended by itself" in (status.problem or "")
    assert not await Operations(spec).kill_broker(1)
    save_manifest(manifest_of(spec, {1: recycled}))
    result = await Operations(spec).down()
    assert not result.changed
    assert bystander.poll() is None


THREADED = """
import ctypes, socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
threading.Thread(target=time.sleep, args=(1.5,)).start()
print(flush=True)
ctypes.CDLL(None).pthread_exit(None)  # ends this thread alone, as a kill does for a moment
"""


async def test_a_process_of_which_a_thread_is_left_has_not_ended():
    port = free_ports(1)[0]
    process = subprocess.Popen([sys.executable, "-c", THREADED, str(port)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        known = identity(process.pid)
        connection = LocalConnection()
        async with asyncio.timeout(60):
            while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.01)
        assert await connection.is_alive(known)
        async with asyncio.timeout(60):
            while await connection.is_alive(known):
                await asyncio.sleep(0.01)
        assert await connection.port_use("127.0.0.1", port) is None
    finally:
        process.kill()
        process.communicate(timeout=60)


async def test_a_port_that_is_just_being_released_is_waited_for():
    port = free_ports(1)[0]
    held = socket.socket()
    held.bind(("127.0.0.1", port))  # bound and not listening: no holder is told for it
    asyncio.get_running_loop().call_later(0.2, held.close)
    assert await LocalConnection().port_use("127.0.0.1", port) is None


async def test_a_broker_that_ignores_the_request_to_stop_is_killed_in_time():
    program = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    )
    stubborn = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert stubborn.stdout is not None
    try:
        stubborn.stdout.readline()
        spec = spec_of()
        save_manifest(manifest_of(spec, {2: identity(stubborn.pid)}))
        told = []
        result = await Operations(spec, report=told.append, stop_timeout_ms=200).down()
        assert (result.stopped, result.killed) == ((2,), (2,))
        assert any("was killed" in progress.message for progress in told)
        assert stubborn.wait(60) == -signal.SIGKILL
    finally:
        stubborn.kill()
        stubborn.communicate(timeout=60)


async def test_a_running_broker_with_other_settings_is_planned_to_be_restarted(bystander):
    spec = spec_of()
    save_manifest(manifest_of(spec, {n: identity(bystander.pid) for n in (1, 2, 3)}))
    plan = await Operations(spec).plan()
    assert plan.changes
    assert (plan.starts, plan.restarts) == ((), (1, 2, 3))
    assert not os.path.exists(broker_layout(spec, spec.hosts[0]).node_dir)
    assert bystander.poll() is None


async def test_a_broker_that_the_file_no_longer_names_stands_in_the_way(bystander):
    save_manifest(manifest_of(spec_of(4), {4: identity(bystander.pid)}))
    assert "Broker 4 runs, but" in await failures(Operations(spec_of(3)).up())


def test_what_several_hosts_say_is_said_once():
    texts = ["h1: no room", "h2: sudo refused ann: wrong", "h3: no room", "h4 is not known"]
    assert told_once(texts).splitlines() == [
        "h1, h3: no room",
        "h2: sudo refused ann: wrong",
        "h4 is not known",
    ]


async def test_trying_a_start_finds_what_the_start_is_refused_for(monkeypatch):
    spec = spec_of()
    plan, waits_for = await Operations(spec).plan_start(2)
    assert plan.starts == (2,)
    assert "2 are needed to elect a controller" in waits_for
    assert "Start broker 1 or 3, too" in waits_for
    monkeypatch.setattr("clusters.phases.checks.FREE_BYTES_MIN", 1 << 60)
    real = await failures(Operations(spec).start_broker(2))
    tried = await failures(Operations(spec).plan_start(2))
    for told in (real, tried):  # others write to that disk: the number is another each time
        assert "Broker 2: only " in told
        assert "MiB are free at" in told
    with pytest.raises(OperationError, match="There is no broker 9"):
        await Operations(spec).plan_start(9)
    assert load_manifest("unit") is None, "nothing was changed"


async def test_an_unknown_broker_is_named():
    with pytest.raises(OperationError, match="There is no broker 9"):
        await Operations(spec_of()).stop_broker(9)


async def test_a_damaged_manifest_is_one_clear_error():
    spec = spec_of()
    path = Path(manifest_path("unit"))
    path.parent.mkdir(parents=True)
    for content in (b"{", b"[]", b'{"version": 1}', b"\xff"):
        path.write_bytes(content)
        with pytest.raises(StateError, match=r"manifest\.json is damaged"):
            await Operations(spec).up()


async def test_two_operations_do_not_work_on_a_cluster_at_once():
    async with cluster_lock("unit"):
        with pytest.raises(OperationError, match=f"pid {os.getpid()}.*is working on"):
            async with cluster_lock("unit", wait_ms=100):
                pass
    async with cluster_lock("unit", wait_ms=100):
        pass


def test_contexts_are_kept_privately_and_one_is_current():
    assert current_context() is None
    use_context(Context(name="a", bootstrap=["h:1"], spec_path="/x.yaml"))
    use_context(Context(name="b", bootstrap=["h:2"]))
    current = current_context()
    assert current is not None
    assert current.name == "b"
    assert use_context("a").bootstrap == ["h:1"]
    assert list(contexts()) == ["a", "b"]
    assert stat.S_IMODE(os.stat(config_path()).st_mode) == 0o600
    with pytest.raises(StateError, match='no context "bb"; did you mean "b"'):
        use_context("bb")
    assert remove_context("a")
    assert current_context() is None


@pytest.mark.parametrize("content", ["{", "- a", "contexts: [x]", "contexts: {a: {}}", "\x01"])
def test_a_damaged_configuration_is_one_clear_error(content):
    Path(config_path()).parent.mkdir(parents=True)
    Path(config_path()).write_text(content)
    with pytest.raises(StateError, match=r"config\.yaml"):
        contexts()
