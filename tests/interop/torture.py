"""Everything at once, at random, to real brokers: `python -m tests.interop.torture --seconds 600`.

Idempotent producers write with acks=all, a group reads and commits, while brokers are killed,
paused, restarted and left without space, replicas move, and leaders change. When all is mended,
what was acknowledged is there once and in order, replicas are the same, and no commit went back.
Whoever is root gets the broker with a volume of its own, too, which is filled. `--seed` repeats the
choice of faults, not their timing. Ends with 1 and says why when anything is wrong; the folder with
logs and data is kept then.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

from broker.groups import OffsetRecord, decode_record
from broker.protocol.batch import decode_records, iter_batches
from clusters.admin import AdminClient
from tests.interop import drivers
from tests.interop.clients import Confluent
from tests.interop.committing import Committer, GroupLedger, OffsetsWatcher, begin_at_zero
from tests.interop.drivers import JAVA
from tests.interop.foreign_loads import JavaLoad
from tests.interop.producing import (
    PARTITIONS,
    ConfluentLoad,
    Ledger,
    LoadKind,
    check,
    figures,
    producing,
)
from tests.interop.real_cluster import STOP_SECONDS, RealCluster, is_bad, until

TOPIC = "ledger"
OFFSETS_TOPIC = "__consumer_offsets"
OFFSETS_PARTITIONS = 3
MEMBERS = 3
SETTINGS = {
    "min.insync.replicas": "2",
    "offsets.topic.num.partitions": str(OFFSETS_PARTITIONS),
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "replica.lag.time.max.ms": "4000",
    "group.min.session.timeout.ms": "1000",
}
DOWN_SECONDS = (0.2, 5.0)
PAUSE_SECONDS = (1.0, 12.0)
FULL_SECONDS = (2.0, 8.0)
BETWEEN_SECONDS = (0.0, 1.5)
# How often two faults are under way at once, of different brokers or of both.
TOGETHER = 0.3
# Longer than a death, its session and an election take.
SILENCE_SECONDS = 12.0
VOLUME_BYTES = 512 << 20
BALLAST_BYTES = 1 << 16
# What is left of a volume that is filled: enough for the quorum's votes and no records, or nothing.
LEFT_BYTES = (2 << 20, 2 << 20, 0)

FOR_WANT_OF_SPACE = ("no space left", "is full", "the metadata quorum failed")

Say = Callable[[str], None]


class Faults:
    """Plays faults one after the other, some at once. Each undoes itself."""

    def __init__(self, cluster: RealCluster, rng: random.Random, say: Say, full: Path | None):
        self.played: Counter[str] = Counter()
        self._cluster, self._rng, self._say, self._full = cluster, rng, say, full
        # Brokers that a fault has its hands on: two of them would end each other's processes.
        self._held: set[int] = set()
        self._kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "kill": self._kill,
            "kill of the controller": self._kill_controller,
            "pause": self._pause,
            "restart": self._restart,
            "move": self._move,
            "election": self._elect,
            "all killed": self._kill_all,
        }
        self._weights = [4, 2, 4, 1, 5, 4, 0.5]
        if full is not None:
            self._kinds["full volume"] = self._fill
            self._weights.append(1.5)

    async def run(self, seconds: float) -> None:
        """Play for so long, and return when all is undone."""
        rng, ends = self._rng, time.monotonic() + seconds
        under_way: set[asyncio.Task[None]] = set()
        while time.monotonic() < ends:
            kind = rng.choices(list(self._kinds), self._weights)[0]
            self.played[kind] += 1
            under_way.add(asyncio.create_task(self._play(kind)))
            await asyncio.sleep(rng.uniform(*BETWEEN_SECONDS))
            if rng.random() >= TOGETHER or len(under_way) > 1:
                await asyncio.gather(*under_way)
                under_way.clear()
        await asyncio.gather(*under_way)

    async def _play(self, kind: str) -> None:
        try:
            await self._kinds[kind]()
        except Exception as error:
            # Said at once: whoever writes is waited for before it is raised to the end.
            self._say(f"{kind} failed: {error!r}"[:2000])
            raise

    @contextlib.contextmanager
    def _hold(self, node: int | None = None) -> Iterator[int | None]:
        """A broker for one fault alone; None when it is another one's already."""
        free = sorted(set(self._cluster.ports) - self._held)
        wanted = node if node is not None else (self._rng.choice(free) if free else None)
        if wanted is None or wanted not in free:
            yield None
            return
        self._held.add(wanted)
        try:
            yield wanted
        finally:
            self._held.discard(wanted)

    # -- processes

    async def _kill(self, node: int | None = None) -> None:
        with self._hold(node) as victim:
            if victim is not None:
                seconds = self._rng.uniform(*DOWN_SECONDS)
                self._say(f"kill {victim} for {seconds:.1f} s")
                await asyncio.to_thread(self._cluster.kill, victim)
                await asyncio.sleep(seconds)
                self._cluster.start(victim)

    async def _kill_controller(self) -> None:
        async def leader(admin: AdminClient) -> int:
            return (await admin.quorum()).leader_id

        found = await self._ask(leader)
        await self._kill(found if found is not None and found in self._cluster.ports else None)

    async def _kill_all(self) -> None:
        if self._held:
            return
        self._say("kill all")
        self._held.update(self._cluster.ports)
        try:
            await asyncio.to_thread(self._cluster.kill, *self._cluster.ports)
            for node in self._cluster.ports:
                self._cluster.start(node)
        finally:
            self._held.clear()

    async def _pause(self) -> None:
        with self._hold() as victim:
            if victim is not None:
                seconds = self._rng.uniform(*PAUSE_SECONDS)
                self._say(f"pause {victim} for {seconds:.1f} s")
                self._cluster.signal(victim, signal.SIGSTOP)
                try:
                    await asyncio.sleep(seconds)
                finally:
                    self._cluster.signal(victim, signal.SIGCONT)

    async def _restart(self) -> None:
        with self._hold() as victim:
            if victim is not None:
                self._say(f"restart {victim}")
                process = self._cluster.processes[victim]
                process.terminate()
                code = await asyncio.to_thread(process.wait, STOP_SECONDS)
                # The signal's own is that of one that had not come up yet.
                assert code in (0, -signal.SIGTERM), f"broker {victim} ended with {code}"
                self._cluster.start(victim)

    async def _fill(self) -> None:
        assert self._full is not None
        with self._hold(max(self._cluster.ports)) as victim:
            if victim is None:
                return
            seconds, left = self._rng.uniform(*FULL_SECONDS), self._rng.choice(LEFT_BYTES)
            self._say(f"fill the volume of {victim} but for {left} bytes for {seconds:.1f} s")
            ballast = self._full / "ballast"
            await asyncio.to_thread(fill, ballast, left)
            try:
                await asyncio.sleep(seconds)
            finally:
                ballast.unlink()
            if (code := self._cluster.processes[victim].poll()) is not None:
                # It cannot vote without a byte of room, and ends: a supervisor starts it again.
                self._say(f"{victim} ended with {code} for want of space")
                self.played["ended for want of space"] += 1
                self._cluster.start(victim)

    # -- the cluster's order

    async def _ask(self, question: Callable[[AdminClient], Awaitable[int]]) -> int | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                return await self._cluster.ask(question)
        return None

    async def _move(self) -> None:
        nodes = sorted(self._cluster.ports)
        targets = {}
        for topic, count in ((TOPIC, PARTITIONS), (OFFSETS_TOPIC, OFFSETS_PARTITIONS)):
            for index in self._rng.sample(range(count), self._rng.randint(1, count)):
                # Fewer replicas and all of them again: copies are made anew, epochs begin.
                chosen = self._rng.sample(nodes, self._rng.choice((2, 3, 3)))
                targets[topic, index] = chosen
        self._say(f"move {' '.join(f'{t}-{i}:{r}' for (t, i), r in targets.items())}")

        async def move(admin: AdminClient) -> int:
            await admin.reassign(targets)
            return 0

        await self._ask(move)

    async def _elect(self) -> None:
        self._say("elect preferred leaders")

        async def elect(admin: AdminClient) -> int:
            return len(await admin.elect_leaders())

        await self._ask(elect)


def fill(ballast: Path, left_bytes: int) -> None:
    """Write until so much is free, or nothing more goes."""
    block = bytes(BALLAST_BYTES)
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while shutil.disk_usage(ballast.parent).free > left_bytes:
            if file.write(block) < len(block):
                return


@contextlib.contextmanager
def volume(folder: Path) -> Iterator[Path | None]:
    """A small volume there, by tmpfs; None for whoever may not mount one."""
    folder.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME_BYTES},mode=755", "torture", str(folder)]
    if os.geteuid() or subprocess.run(words, check=False, capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=False)


async def mend(cluster: RealCluster) -> None:
    """Every partition on all brokers again, and every replica in sync."""
    nodes = sorted(cluster.ports)
    targets = {
        (topic, index): nodes[index % len(nodes) :] + nodes[: index % len(nodes)]
        for topic, count in ((TOPIC, PARTITIONS), (OFFSETS_TOPIC, OFFSETS_PARTITIONS))
        for index in range(count)
    }

    async def move(admin: AdminClient) -> bool:
        await admin.reassign(targets)
        return True

    async def is_done(admin: AdminClient) -> bool:
        return not await admin.reassignments()

    async with asyncio.timeout(120):
        while not await cluster.ask(move):
            await asyncio.sleep(0.2)
        while not await cluster.ask(is_done):
            await asyncio.sleep(0.2)
    await cluster.whole()


async def tell_silences(cluster: RealCluster, ledgers: list[Ledger], say: Say) -> None:
    """Say when nobody is told of a partition for long, and what the cluster says of it then."""
    told: dict[int, float] = {}
    while True:
        await asyncio.sleep(1)
        for index in range(PARTITIONS):
            heard = max(ledger.heard[index] for ledger in ledgers)
            if time.monotonic() - heard < SILENCE_SECONDS or told.get(index) == heard:
                continue
            told[index] = heard
            detail = await cluster.topic(TOPIC)
            state = "nobody says of it anything" if detail is None else detail.partitions[index]
            say(f"nothing was acknowledged of {index} for {SILENCE_SECONDS:.0f} s: {state}")


def ends_of(cluster: RealCluster) -> dict[int, int]:
    """The end of each partition."""
    return {
        index: Confluent().offsets(cluster.bootstrap, TOPIC, index, ())[1]
        for index in range(PARTITIONS)
    }


def check_replicas(cluster: RealCluster, ends: dict[int, int]) -> None:
    """All copies of each partition are the same bytes."""
    for index, end in ends.items():
        until(
            partial(cluster.replicas_agree, TOPIC, index, end), f"copies of {TOPIC}-{index} agree"
        )
    for index in range(OFFSETS_PARTITIONS):
        until(partial(copies_agree, cluster, index), f"copies of {OFFSETS_TOPIC}-{index} agree")


def copies_agree(cluster: RealCluster, index: int) -> bool:
    return len({cluster.log_bytes(node, OFFSETS_TOPIC, index) for node in cluster.ports}) == 1


def written_offsets(cluster: RealCluster, group: str) -> dict[int, list[int]]:
    """What was committed, in the order of the log, by partition of the topic."""
    found: dict[int, list[int]] = {}
    node = min(cluster.ports)
    for index in range(OFFSETS_PARTITIONS):
        data = cluster.log_bytes(node, OFFSETS_TOPIC, index)
        for position, _ in iter_batches(data):
            for record in decode_records(data, position):
                read = decode_record(record.key, record.value)
                if isinstance(read, OffsetRecord) and read.group == group and read.value:
                    found.setdefault(read.partition, []).append(read.value.offset)
    return found


def check_commits(cluster: RealCluster, group: GroupLedger, ends: dict[int, int]) -> None:
    """No commit went back, none that was acknowledged is lost, and no record was passed over."""
    written = written_offsets(cluster, group.group)
    group.check_stored({partition: offsets[-1] for partition, offsets in written.items()})
    for partition, offsets in written.items():
        back = [(a, b) for a, b in itertools.pairwise(offsets) if b < a]
        assert not back, f"commits of {TOPIC}-{partition} went back {len(back)} times: {back[:10]}"
        assert offsets[-1] == ends[partition], f"{TOPIC}-{partition}: {offsets[-1]} is not the end"
    group.check_all_seen(ends)
    assert not group.failures, group.failures[:10]


def check_everything(cluster: RealCluster, ledgers: list[Ledger], group: GroupLedger) -> None:
    """Raises AssertionError with what does not hold."""
    failures = [f"{each.producer} {text}" for each in ledgers for text in each.failures]
    assert not failures, f"{len(failures)} failed sends: {failures[:5]}"
    ends = check(ledgers, cluster.bootstrap, TOPIC)
    assert sum(ends.values()) == sum(len(each.acknowledged) for each in ledgers)
    check_replicas(cluster, ends)
    check_commits(cluster, group, ends)


async def torture(
    cluster: RealCluster, faults: Faults, seconds: float, kinds: list[LoadKind], say: Say
) -> None:
    """Load, faults, peace, and the check of all."""
    await cluster.make_topic(TOPIC, PARTITIONS, {"segment.bytes": "4194304"})
    group = GroupLedger("readers", TOPIC)
    await asyncio.to_thread(begin_at_zero, cluster.bootstrap, group)
    watcher = OffsetsWatcher(cluster.ports, group)
    members = [Committer(cluster.bootstrap, group) for _ in range(MEMBERS)]
    async with producing(cluster.bootstrap, TOPIC, kinds) as ledgers:
        telling = asyncio.create_task(tell_silences(cluster, ledgers, say))
        try:
            await faults.run(seconds)
            say("peace")
            await mend(cluster)
        finally:
            telling.cancel()
    written = await asyncio.to_thread(ends_of, cluster)
    async with asyncio.timeout(180):
        while group.committed != written and not group.failures:
            await asyncio.sleep(0.1)
    for each in members:
        await asyncio.to_thread(each.close)
    await watcher.close()
    say(f"{figures(ledgers)}")
    say(
        f"group: {group.commits} commits, {group.refused} void, {group.assignments} assignments, "
        f"{len(group.stale_reads)} stale of {group.reads} reads {group.stale_reads[:12]}"
    )
    say(f"faults: {', '.join(f'{n} {kind}' for kind, n in sorted(faults.played.items()))}")
    await asyncio.to_thread(check_everything, cluster, ledgers, group)


def bad_lines(cluster: RealCluster) -> list[str]:
    """What brokers said of themselves that is wrong; a full volume is no fault of theirs."""
    return [
        f"broker {node}: {line}"
        for node in cluster.ports
        for line in cluster.log(node).splitlines()
        if is_bad(line) and not any(words in line.lower() for words in FOR_WANT_OF_SPACE)
    ]


def main() -> int:
    """Torture one cluster; 0 when everything holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop.torture")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long there are faults")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the choice of them")
    parser.add_argument("--keep", action="store_true", help="keep the folder in any case")
    parser.add_argument("--no-java", action="store_true", help="leave the Java client out")
    arguments = parser.parse_args()
    # Whoever ends it leaves neither brokers nor a volume behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stdout.write(f"{time.strftime('%H:%M:%S')} {time.monotonic() - began:7.1f} {text}\n")
        sys.stdout.flush()

    kinds: list[LoadKind] = [ConfluentLoad]
    if not arguments.no_java and JAVA.missing() is None:
        kinds.append(JavaLoad)
    folder = Path(tempfile.mkdtemp(prefix="logctl-torture-"))
    say(f"seed {arguments.seed}, folder {folder}")
    cluster = RealCluster(folder, SETTINGS)
    with volume(folder / f"data-{max(cluster.ports)}") as full:
        if full is None:
            say("no volume of its own can be mounted here: none is filled")
        faults = Faults(cluster, random.Random(arguments.seed), say, full)
        try:
            RealCluster.__enter__(cluster)
            asyncio.run(torture(cluster, faults, arguments.seconds, kinds, say))
            codes = cluster.end()
            assert not any(codes.values()), f"exit codes {codes}"
            bad = bad_lines(cluster)
            assert not bad, "\n".join(bad[:20])
        except Exception as error:
            say(f"WRONG: {error!r}"[:4000])
            if full is not None:
                shutil.copytree(full, folder / "data-of-the-volume", dirs_exist_ok=True)
            return 1
        finally:
            cluster.end()
            drivers.close_all()
    if not arguments.keep:
        shutil.rmtree(folder, ignore_errors=True)
    say("everything holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
