"""A cluster of real broker processes that a test may stop, kill, pause and read the files of.

Signals only what it started, by process id. Waits are for conditions, never for time to pass.
`LOGCTL_INTEROP_ENGINE=apache-kafka` runs the same tests on Apache Kafka, where Java and its jars are
there: what holds for both is no opinion of ours.
"""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from benchmarks.peers import ApacheKafka, Cluster, Logd
from broker.protocol.batch import iter_batches
from broker.protocol.errors import LogctlError
from clusters.admin import AdminClient, TopicDetail

T = TypeVar("T")
# The machine may be busy with other things: these bound a hang, they do not measure anything.
START_SECONDS = 60.0
WAIT_SECONDS = 60.0
STOP_SECONDS = 30.0
ON_KAFKA = os.environ.get("LOGCTL_INTEROP_ENGINE") == "apache-kafka"
Engine: type[Cluster] = ApacheKafka if ON_KAFKA else Logd


def until(check: Callable[[], T], what: str, seconds: float = WAIT_SECONDS) -> T:
    """Ask again and again until the answer is true; fails with the last answer."""
    limit = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < limit, f"not within {seconds} s: {what}; last: {answer!r}"
        time.sleep(0.02)
    return answer


class RealCluster(Engine):  # type: ignore[valid-type,misc]
    """Use as a context manager; `folder` keeps configurations, logs and data afterwards."""

    def __init__(self, folder: Path, settings: dict[str, str], brokers: int = 3) -> None:
        super().__init__(brokers, folder=folder)
        self.settings = settings

    def properties(self, node: int) -> dict[str, str]:
        properties: dict[str, str] = super().properties(node) | self.settings
        return properties

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.wait_whole()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        codes = self.end()
        if raised[0] is None and not ON_KAFKA:
            assert codes == dict.fromkeys(codes, 0), f"exit codes {codes}"
            self.check_logs()

    # -- processes

    def address(self, node: int) -> str:
        return f"127.0.0.1:{self.ports[node]}"

    def pid(self, node: int) -> int:
        return int(self.processes[node].pid)

    def signal(self, node: int, number: signal.Signals) -> None:
        self.processes[node].send_signal(number)

    def kill(self, *nodes: int) -> None:
        """kill -9, all of them before any is waited for."""
        for node in nodes:
            self.signal(node, signal.SIGKILL)
        for node in nodes:
            self.processes.pop(node).wait(STOP_SECONDS)

    def stop(self, node: int) -> None:
        """A controlled shutdown, as a service manager does it."""
        process = self.processes[node]
        process.terminate()
        code = process.wait(STOP_SECONDS)
        assert code == 0 or ON_KAFKA, self.log(node)[-4000:]
        del self.processes[node]

    def end(self) -> dict[int, int]:
        """End whatever still runs; gives the exit codes."""
        codes = {}
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for node, process in self.processes.items():
            try:
                codes[node] = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[node] = process.wait(STOP_SECONDS)
        self.processes.clear()
        return codes

    # -- logs

    def log(self, node: int) -> str:
        path = self.folder / f"broker-{node}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def check_logs(self) -> None:
        """No broker said that something is wrong with itself."""
        bad = [
            f"broker {node}: {line}"
            for node in self.ports
            for line in self.log(node).splitlines()
            if is_bad(line)
        ]
        assert not bad, "\n".join(bad[:20])

    # -- the cluster's word

    async def ask(self, question: Callable[[AdminClient], Any]) -> Any:
        """One question to the cluster; None while it cannot be answered."""
        try:
            async with AdminClient(self.bootstrap.split(","), timeout_ms=5_000) as admin:
                return await question(admin)
        except LogctlError:
            return None

    async def topic(self, name: str) -> TopicDetail | None:
        found: TopicDetail | None = await self.ask(lambda admin: admin.topic(name))
        return found

    async def is_whole(self) -> bool:
        """Every broker takes part and every partition has all its replicas in sync."""
        brokers = await self.ask(lambda admin: admin.brokers())
        topics = await self.ask(lambda admin: admin.topics())
        if brokers is None or topics is None:
            return False
        up = {broker.id for broker in brokers if broker.state == "up"}
        return up == set(self.ports) and not any(t.under_replicated or t.offline for t in topics)

    async def whole(self, seconds: float = START_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while not await self.is_whole():
                for node, process in self.processes.items():
                    assert process.poll() is None, self.log(node)[-4000:]
                await asyncio.sleep(0.05)

    def wait_whole(self, seconds: float = START_SECONDS) -> None:
        """Blocking, and all the same usable where a loop runs."""
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, self.whole(seconds)).result()

    async def leader(self, topic: str, partition: int) -> int:
        """Who leads now; waits until somebody does."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                detail = await self.topic(topic)
                leader = -1 if detail is None else detail.partitions[partition].leader
                if leader in self.processes:
                    return leader
                await asyncio.sleep(0.05)

    async def leader_epoch(self, topic: str, partition: int) -> int:
        detail = await self.topic(topic)
        assert detail is not None
        return detail.partitions[partition].leader_epoch

    # -- files

    def log_bytes(self, node: int, topic: str, partition: int) -> bytes:
        """All segments of one replica, joined."""
        folder = self.folder / f"data-{node}" / f"{topic}-{partition}"
        return b"".join(path.read_bytes() for path in sorted(folder.glob("*.log")))

    def replicas_agree(self, topic: str, partition: int, end_offset: int) -> bool:
        """Every replica holds the same bytes, whole batches, up to exactly `end_offset`."""
        copies = {node: self.log_bytes(node, topic, partition) for node in self.ports}
        first = copies[min(copies)]
        if any(copy != first for copy in copies.values()):
            return False
        headers = [header for _, header in iter_batches(first)]
        expected = 0
        for header in headers:
            assert header.base_offset == expected, f"{topic}-{partition}: a hole at {expected}"
            expected = header.next_offset
        return expected == end_offset


def is_bad(line: str) -> bool:
    """Whether a log line reports a failure of the broker itself."""
    if "Traceback" in line:
        return True
    try:
        entry = json.loads(line)
    except ValueError:
        return bool(line.strip())
    return entry.get("level") in ("error", "critical")
