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
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from benchmarks.peers import ApacheKafka, Cluster, Logd
from broker.protocol.batch import iter_batches
from broker.protocol.errors import LogctlError
from clusters.admin import AdminClient, TopicDetail

T = TypeVar("T")
Question = Callable[[AdminClient], Awaitable[T]]
# The machine may be busy with other things: these bound a hang, they do not measure anything.
START_SECONDS = 60.0
WAIT_SECONDS = 60.0
STOP_SECONDS = 60.0
ON_KAFKA = os.environ.get("LOGCTL_INTEROP_ENGINE") == "apache-kafka"
Engine: type[Cluster] = ApacheKafka if ON_KAFKA else Logd


def until(check: Callable[[], T], what: str, seconds: float = WAIT_SECONDS) -> T:
    """Ask again and again until the answer is true; fails with the last answer."""
    limit = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < limit, f"not within {seconds} s: {what}; last: {answer!r}"
        time.sleep(0.02)
    return answer


def blocking(waiting: Coroutine[Any, Any, T]) -> T:
    """Run to its end, on a loop of its own in another thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, waiting).result()


async def _answer(addresses: list[str], question: Question[T]) -> T | None:
    """None while it cannot be answered, or not by one of these."""
    try:
        async with AdminClient(addresses, timeout_ms=5_000) as admin:
            answer = await question(admin)
            return answer if admin.source in addresses else None
    except LogctlError:
        return None


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

    async def ask(self, question: Question[T]) -> T | None:
        """One question to the cluster; None while it cannot be answered."""
        return await _answer(self.bootstrap.split(","), question)

    async def everywhere(
        self, question: Question[bool], what: str, seconds: float = WAIT_SECONDS
    ) -> None:
        """Wait until each broker that runs says yes, asked by itself.

        What one broker knows another may hear of later, and clients ask any of them.
        """
        silent = sorted(self.processes)
        try:
            async with asyncio.timeout(seconds):
                while silent:
                    for node, process in self.processes.items():
                        assert process.poll() is None, self.log(node)[-4000:]
                    said = [_answer([self.address(n)], question) for n in silent]
                    found = zip(silent, await asyncio.gather(*said), strict=True)
                    silent = [node for node, yes in found if not yes]
                    if silent:
                        await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not on brokers {silent} within {seconds} s: {what}") from None

    async def whole(self, seconds: float = START_SECONDS) -> None:
        """Every broker knows that all take part and that all replicas are in sync."""
        await self.everywhere(self._is_whole, "the cluster is whole", seconds)

    async def _is_whole(self, admin: AdminClient) -> bool:
        brokers, topics = await asyncio.gather(admin.brokers(), admin.topics())
        up = {broker.id for broker in brokers if broker.state == "up"}
        return up == set(self.ports) and not any(t.under_replicated or t.offline for t in topics)

    async def without(self, node: int) -> None:
        """Every other broker knows that this one takes no part."""

        async def is_without(admin: AdminClient) -> bool:
            return node not in {each.id for each in await admin.brokers() if each.state == "up"}

        await self.everywhere(is_without, f"broker {node} is gone")

    async def heard(self, topic: str, partitions: int) -> None:
        """Every broker knows the topic, its leaders, and that all replicas are in sync."""

        async def knows(admin: AdminClient) -> bool:
            named = {each.topic: each for each in await admin.topics()}
            found = named.get(topic)
            return (
                found is not None
                and found.partitions == partitions
                and not (found.under_replicated or found.offline)
            )

        await self.everywhere(knows, f"{topic} with {partitions} partitions")

    async def forgotten(self, topic: str) -> None:
        """No broker knows the topic any longer."""

        async def is_gone(admin: AdminClient) -> bool:
            return topic not in {each.topic for each in await admin.topics()}

        await self.everywhere(is_gone, f"{topic} is deleted")

    async def make_topic(
        self, topic: str, partitions: int, configs: dict[str, str] | None = None
    ) -> None:
        """Three replicas of each partition; returns when every broker knows the topic."""
        async with asyncio.timeout(WAIT_SECONDS):
            # An attempt that is not answered may have been carried out all the same.
            while await self.topic(topic) is None:
                await self.ask(lambda admin: admin.create_topic(topic, partitions, 3, configs))
        await self.heard(topic, partitions)

    async def topic(self, name: str) -> TopicDetail | None:
        return await self.ask(lambda admin: admin.topic(name, offsets=False))

    def wait_whole(self, seconds: float = START_SECONDS) -> None:
        """Blocking, and all the same usable where a loop runs."""
        blocking(self.whole(seconds))

    def wait_heard(self, topic: str, partitions: int) -> None:
        """Blocking `heard`."""
        blocking(self.heard(topic, partitions))

    async def leader(self, topic: str, partition: int) -> int:
        """Who leads now; waits until somebody does."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                detail = await self.topic(topic)
                leader = -1 if detail is None else detail.partitions[partition].leader
                if leader in self.processes:
                    return leader
                await asyncio.sleep(0.05)

    async def leader_epoch(self, topic: str, partition: int, *, after: int = -1) -> int:
        """The epoch of its leader; waits for one that is larger than `after`."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                detail = await self.topic(topic)
                epoch = -1 if detail is None else detail.partitions[partition].leader_epoch
                if epoch > after:
                    return epoch
                await asyncio.sleep(0.05)

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
