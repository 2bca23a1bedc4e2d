"""`python -m broker` as a process: exit codes, messages, signals."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.struct import Struct
from broker.runtime.doors import AsyncioNetwork
from clusters.free_ports import free_ports

ROOT = Path(__file__).parents[3]
WAIT_SECONDS = 60


class Daemon:
    """One broker process; its output is read to the end, and it never outlives the test."""

    def __init__(self, process: asyncio.subprocess.Process, client_port: int) -> None:
        self.process = process
        self.client_port = client_port
        self.lines: list[dict[str, Any]] = []

    async def wait_for(self, message: str) -> dict[str, Any]:
        assert self.process.stderr is not None
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                text = await self.process.stderr.readline()
                assert text, f"ended before {message!r}: {self.lines}"
                line: dict[str, Any] = json.loads(text)
                self.lines.append(line)
                if line["message"] == message:
                    return line

    async def ended(self) -> int:
        async with asyncio.timeout(WAIT_SECONDS):
            out, err = await self.process.communicate()
        assert out == b"", "stdout belongs to nobody"
        self.lines += [json.loads(line) for line in err.splitlines()]
        assert self.process.returncode is not None
        return self.process.returncode


def properties(folder: Path, ports: list[int], **changes: str) -> str:
    client, controller = ports
    values = {
        "node.id": "1",
        "process.roles": "broker,controller",
        "listeners": f"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "log.dirs": str(folder / "data"),
        "cluster.id": "test-cluster",
        **{name.replace("__", "."): value for name, value in changes.items()},
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


@pytest.fixture
async def start(tmp_path: Path) -> Any:
    started: list[asyncio.subprocess.Process] = []

    async def run(ports: list[int] | None = None, **changes: str) -> Daemon:
        ports = ports or free_ports(2)
        file = tmp_path / f"{len(started)}.properties"
        file.write_text(properties(tmp_path, ports, **changes))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "broker",
            "--config",
            str(file),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return Daemon(process, ports[0])

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


Start = Callable[..., Any]


def run_to_end(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "broker", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def test_a_wrong_configuration_is_explained_and_exits_2(tmp_path: Path) -> None:
    file = tmp_path / "broker.properties"
    file.write_text("node.id=1\nprocess.roles=broker\nlistners=PLAINTEXT://h:1\n")
    done = run_to_end("--config", str(file))
    assert done.returncode == 2
    assert f"logd: {file}: line 3: unknown setting listners; did you mean listeners?" in done.stderr
    assert "cluster.id is missing" in done.stderr
    assert "Traceback" not in done.stderr
    missing = run_to_end("--config", str(tmp_path / "absent"))
    assert missing.returncode == 2
    assert missing.stderr == f"logd: {tmp_path}/absent: cannot be read: No such file or directory\n"
    assert run_to_end().returncode == 2


def test_a_good_configuration_can_be_checked_without_starting(tmp_path: Path) -> None:
    file = tmp_path / "broker.properties"
    file.write_text(properties(tmp_path, [1, 2]))
    assert run_to_end("--config", str(file), "--check").returncode == 0
    assert not (tmp_path / "data").exists()


async def test_sigterm_ends_a_broker_with_a_parked_fetch_quickly(start: Start) -> None:
    daemon = await start()
    await daemon.wait_for("unfenced")
    connection = await BrokerConnection.open(AsyncioNetwork(), "127.0.0.1", daemon.client_port)
    answer = await connection.request(ApiKey.METADATA, Struct(topics=[Struct(name="orders")]))
    (topic,) = answer.topics
    fetch = Struct(
        max_wait_ms=60_000,
        min_bytes=1,
        topics=[
            Struct(
                topic_id=topic.topic_id,
                partitions=[Struct(partition=0, fetch_offset=0, partition_max_bytes=1000)],
            )
        ],
    )
    parked = asyncio.create_task(connection.request(ApiKey.FETCH, fetch, timeout_ms=60_000))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    daemon.process.send_signal(signal.SIGTERM)
    assert await daemon.ended() == 0
    assert loop.time() - begin < 30  # the fetch would have a minute
    assert daemon.lines[-1]["message"] == "stopped"
    await asyncio.gather(parked, return_exceptions=True)
    connection.close()


async def test_a_second_signal_does_not_wait_for_consent(start: Start) -> None:
    # Its controller is somewhere else and silent, so a controlled shutdown would have to wait.
    (silent,) = free_ports(1)
    ports = free_ports(2)
    daemon = await start(
        ports, controller__quorum__voters=f"1@127.0.0.1:{ports[1]},2@127.0.0.1:{silent}"
    )
    await daemon.wait_for("started")
    daemon.process.send_signal(signal.SIGINT)
    daemon.process.send_signal(signal.SIGINT)
    assert await daemon.ended() == 0


async def test_a_port_in_use_is_named_and_exits_1(start: Start) -> None:
    ports = free_ports(2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        daemon = await start(ports)
        assert await daemon.ended() == 1
    (line,) = daemon.lines
    assert line["level"] == "critical"
    assert f"PLAINTEXT://127.0.0.1:{ports[0]}" in line["message"]
    assert "in use" in line["message"]
    assert "fields" not in line


async def test_a_folder_in_use_and_a_foreign_folder_exit_1(start: Start) -> None:
    first = await start()
    await first.wait_for("unfenced")
    second = await start()
    assert await second.ended() == 1
    assert "lock" in second.lines[-1]["message"]
    first.process.send_signal(signal.SIGTERM)
    assert await first.ended() == 0
    third = await start(cluster__id="another-cluster")
    assert await third.ended() == 1
    assert "another-cluster" in third.lines[-1]["message"]
    assert all("exception" not in line.get("fields", {}) for line in third.lines)


async def test_kill_9_loses_nothing_and_it_starts_again(start: Start) -> None:
    ports = free_ports(2)
    daemon = await start(ports)
    await daemon.wait_for("unfenced")
    connection = await BrokerConnection.open(AsyncioNetwork(), "127.0.0.1", ports[0])
    await connection.request(ApiKey.METADATA, Struct(topics=[Struct(name="orders")]))
    connection.close()
    daemon.process.kill()
    await daemon.process.wait()
    again = await start(ports)
    await again.wait_for("unfenced")
    connection = await BrokerConnection.open(AsyncioNetwork(), "127.0.0.1", ports[0])
    answer = await connection.request(ApiKey.METADATA, Struct(topics=None))
    assert [topic.name for topic in answer.topics] == ["orders"]
    connection.close()
    again.process.send_signal(signal.SIGTERM)
    assert await again.ended() == 0
