"""The demo's story: three brokers, real records, a leader killed, the cluster healing.

Each step acts on a real cluster and ends only when its effect was observed, or fails and says what
was waited for. It neither prints nor draws: the shell tells it as lines, the dashboard shows it
beside its panels, both by calling `advance` once a step.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clusters.admin import AdminClient
from clusters.errors import OperationError
from clusters.host_metrics import HostMetrics, Sent
from clusters.throwaway import ThrowAwayCluster
from clusters.watch.events import ClusterEvent, EventKind
from clusters.watch.feed import ClusterFeed

if TYPE_CHECKING:
    from clusters.admin import TopicDetail

TOPICS = (("orders", 6), ("signups", 3), ("host-metrics", 1))
REPLICAS = 3
METRICS = "host-metrics"
HEAL_LIMIT_S = 20.0
MOVE_LIMIT_S = 15.0
PREFERRED_LIMIT_S = 40.0


class StoryFailed(OperationError):
    """A step was not observed; the text says what was waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: a short title, and what the person may look at while and after it happens."""

    name: str
    title: str
    look: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was seen in a step, in words and as facts; `took_ms` counts from the step's begin."""

    step: Step
    text: str
    facts: dict[str, Any]
    took_ms: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            "step": self.step.name,
            "title": self.step.title,
            "observed": self.text,
            "took_ms": self.took_ms,
            **self.facts,
        }


STEPS = (
    Step(
        name="start",
        title="Start three brokers",
        look="Each is broker and controller in one; they elect a controller among themselves.",
    ),
    Step(
        name="topics",
        title="Create orders, signups and host-metrics",
        look="Every partition has three replicas on three brokers, all of them in sync.",
    ),
    Step(
        name="feed",
        title="Feed host-metrics from this machine's counters",
        look="CPU, memory, disk and network of this machine, twice a second; end offsets grow.",
    ),
    Step(
        name="kill",
        title="Kill the broker that leads host-metrics-0 (kill -9)",
        look="Its partitions move to other leaders and every ISR shrinks by one.",
    ),
    Step(
        name="heal",
        title="Start the broker again",
        look="It catches up, the ISRs expand, and the preferred leaders come back.",
    ),
    Step(
        name="check",
        title="Read everything back",
        look="Every acknowledged record must be there, once and in order.",
    ),
    Step(name="stop", title="Stop everything", look="No process and no file is left behind."),
)


def _silent(_: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class _Seen:
    event: ClusterEvent
    at_s: float


class Story:
    """The steps on one throw-away cluster. Call `close` at the end, however it ended.

    `tell` gets short lines while a step goes on: records that arrive, events of the cluster.
    """

    def __init__(
        self,
        cluster: ThrowAwayCluster,
        *,
        show_s: float = 4.0,
        hurry: bool = False,
        tell: Callable[[str], None] = _silent,
    ) -> None:
        self._cluster = cluster
        self._show_s = show_s
        self._hurry = hurry
        self._tell = tell
        self._position = 0
        self._metrics: HostMetrics | None = None
        self._seen: list[_Seen] = []
        self._news = asyncio.Condition()
        self._follower: asyncio.Task[None] | None = None
        self._victim = -1
        self._preferred = -1
        self._acts: dict[str, Callable[[], Awaitable[tuple[str, dict[str, Any]]]]] = {
            "start": self._start,
            "topics": self._topics,
            "feed": self._feed,
            "kill": self._kill,
            "heal": self._heal,
            "check": self._check,
            "stop": self._stop,
        }

    @property
    def steps(self) -> Sequence[Step]:
        """Every step in order."""
        return STEPS

    @property
    def position(self) -> int:
        """Index of the next step; the number of steps at the end."""
        return self._position

    @property
    def bootstrap(self) -> list[str]:
        """Addresses of the brokers, known once the story is prepared."""
        return self._cluster.bootstrap

    async def advance(self) -> Observation:
        """Do the next step and return what was observed.

        Raises StoryFailed, or another LogctlError, when it was not.
        """
        step = STEPS[self._position]
        loop = asyncio.get_running_loop()
        began = loop.time()
        text, facts = await self._acts[step.name]()
        self._position += 1
        took_ms = round((loop.time() - began) * 1000)
        return Observation(step=step, text=text, facts=facts, took_ms=took_ms)

    async def close(self) -> None:
        """End what runs. Raises OperationError when a process could not be ended."""
        if self._metrics is not None:
            await self._metrics.stop()
            self._metrics = None
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._follower
            self._follower = None
        await self._cluster.close()

    # The steps

    async def _start(self) -> tuple[str, dict[str, Any]]:
        took_ms = await self._cluster.up()
        async with self._admin() as admin:
            brokers = await admin.brokers()
            cluster = await admin.cluster()
        up = [broker.id for broker in brokers if broker.state == "up"]
        if len(up) != len(self._cluster.bootstrap):
            raise StoryFailed(f"Only the brokers {up} are up.")
        self._follower = asyncio.create_task(self._follow())
        ids = ", ".join(map(str, up))
        text = f"brokers {ids} are up after {took_ms} ms; the controller is {cluster.controller_id}"
        return text, {"brokers": up, "controller": cluster.controller_id, "up_ms": took_ms}

    async def _topics(self) -> tuple[str, dict[str, Any]]:
        async with self._admin() as admin:
            for name, partitions in TOPICS:
                await admin.create_topic(name, partitions, REPLICAS)
            for name, partitions in TOPICS:
                detail = await self._until_in_sync(admin, name)
                if len(detail.partitions) != partitions:
                    raise StoryFailed(f"{name} has {len(detail.partitions)} partitions.")
        listed = ", ".join(f"{name} ({partitions})" for name, partitions in TOPICS)
        return f"{listed}: every partition has {REPLICAS} replicas in sync", {
            "topics": [{"topic": name, "partitions": count} for name, count in TOPICS]
        }

    async def _feed(self) -> tuple[str, dict[str, Any]]:
        self._metrics = HostMetrics(self._cluster.bootstrap, METRICS)
        await self._metrics.start()
        read = await self._read_live(self._show_s)
        return f"{len(read)} records were written and read back", {
            "records": len(read),
            "last": json.loads(read[-1]),
        }

    async def _kill(self) -> tuple[str, dict[str, Any]]:
        async with self._admin() as admin:
            before = (await admin.topic(METRICS, offsets=False)).partitions[0]
        self._victim, self._preferred = before.leader, before.replicas[0]
        mark, loop = len(self._seen), asyncio.get_running_loop()
        killed_at = loop.time()
        await self._cluster.kill(self._victim)
        moved = await self._until_event(
            mark,
            f"{METRICS}-0 to move to another leader",
            lambda e: _about(e, EventKind.LEADER_MOVED) and _leader(e) not in {self._victim, -1},
            MOVE_LIMIT_S,
        )
        shrunk = await self._until_event(
            mark,
            f"the ISR of {METRICS}-0 to shrink",
            lambda e: _about(e, EventKind.ISR_SHRUNK) and self._victim not in _isr(e),
            MOVE_LIMIT_S,
        )
        written = await self._until_written(killed_at)
        move_ms = round((moved.at_s - killed_at) * 1000)
        shrink_ms = round((shrunk.at_s - killed_at) * 1000)
        write_ms = round((written.at_s - killed_at) * 1000)
        leader, isr = _leader(moved.event), _isr(shrunk.event)
        return (
            f"broker {self._victim} killed; {METRICS}-0 moved to broker {leader} after "
            f"{move_ms} ms, its ISR shrank to {_listed(isr)} after {shrink_ms} ms, and "
            f"the next record was acknowledged after {write_ms} ms"
        ), {
            "killed": self._victim,
            "leader": leader,
            "isr": isr,
            "moved_after_ms": move_ms,
            "shrunk_after_ms": shrink_ms,
            "written_after_ms": write_ms,
        }

    async def _heal(self) -> tuple[str, dict[str, Any]]:
        mark, loop = len(self._seen), asyncio.get_running_loop()
        began = loop.time()
        await self._cluster.start(self._victim)
        expanded = await self._until_event(
            mark,
            f"broker {self._victim} to be back in the ISR of {METRICS}-0",
            lambda e: _about(e, EventKind.ISR_EXPANDED) and self._victim in _isr(e),
            HEAL_LIMIT_S,
        )
        async with self._admin() as admin:
            for name, _ in TOPICS:
                await self._until_in_sync(admin, name)
            if self._hurry:
                await admin.elect_leaders()
        returned = await self._until_event(
            mark,
            f"the preferred leader {self._preferred} of {METRICS}-0 to come back",
            lambda e: _about(e, EventKind.LEADER_MOVED) and _leader(e) == self._preferred,
            PREFERRED_LIMIT_S,
        )
        expand_ms = round((expanded.at_s - began) * 1000)
        return_ms = round((returned.at_s - began) * 1000)
        return (
            f"broker {self._victim} started; the ISR of {METRICS}-0 expanded to "
            f"{_listed(_isr(expanded.event))} after {expand_ms} ms and the preferred leader "
            f"{self._preferred} was back after {return_ms} ms"
        ), {
            "started": self._victim,
            "isr": _isr(expanded.event),
            "expanded_after_ms": expand_ms,
            "leader": self._preferred,
            "returned_after_ms": return_ms,
        }

    async def _check(self) -> tuple[str, dict[str, Any]]:
        assert self._metrics is not None
        await self._metrics.stop()
        sent = sorted(self._metrics.sent, key=lambda each: each.offset)
        found = await self._read_all()
        for record in sent:
            value = found.get(record.offset)
            if value != record.value:
                what = "is gone" if value is None else "is another one"
                raise StoryFailed(f"The acknowledged record at offset {record.offset} {what}.")
        if len({record.value for record in sent}) != len(sent) or len(found) != len(
            set(found.values())
        ):
            raise StoryFailed("A record was written twice.")
        return f"all {len(sent)} acknowledged records are there, once and in order", {
            "acknowledged": len(sent),
            "read": len(found),
        }

    async def _stop(self) -> tuple[str, dict[str, Any]]:
        pids = self._cluster.pids()
        await self.close()
        return f"{len(pids)} brokers stopped; no process is left", {"pids": pids}

    # Waiting and looking

    def _admin(self) -> AdminClient:
        return AdminClient(self._cluster.bootstrap)

    async def _follow(self) -> None:
        async with ClusterFeed(self._cluster.bootstrap) as feed:
            async for update in feed.updates():
                at_s = asyncio.get_running_loop().time()
                async with self._news:
                    self._seen += [_Seen(event, at_s) for event in update.events]
                    self._news.notify_all()

    async def _until_event(
        self, mark: int, what: str, wanted: Callable[[ClusterEvent], bool], limit_s: float
    ) -> _Seen:
        def found() -> _Seen | None:
            return next((seen for seen in self._seen[mark:] if wanted(seen.event)), None)

        try:
            async with asyncio.timeout(limit_s), self._news:
                await self._news.wait_for(lambda: found() is not None or self._follower_ended())
        except TimeoutError:
            pass
        seen = found()
        if seen is None:
            why = " (the feed of cluster events ended)" if self._follower_ended() else ""
            raise StoryFailed(f"Waited {limit_s:g} s for {what}; it was not seen{why}.")
        return seen

    def _follower_ended(self) -> bool:
        return self._follower is None or self._follower.done()

    async def _until_in_sync(self, admin: AdminClient, topic: str) -> TopicDetail:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + HEAL_LIMIT_S
        while True:
            detail = await admin.topic(topic, offsets=False)
            if all(len(each.isr) == REPLICAS and each.leader >= 0 for each in detail.partitions):
                return detail
            if loop.time() >= deadline:
                raise StoryFailed(f"Waited {HEAL_LIMIT_S:g} s for {topic} to be in sync.")
            await asyncio.sleep(0.05)

    async def _until_written(self, after_s: float) -> Sent:
        assert self._metrics is not None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + MOVE_LIMIT_S
        while True:
            # Samples taken after the kill: what was on its way before does not count.
            for record in self._metrics.sent:
                if record.at_s > after_s and record.sent_s > after_s:
                    return record
            if loop.time() >= deadline:
                problem = self._metrics.problem
                raise StoryFailed(
                    f"Waited {MOVE_LIMIT_S:g} s for a record at the new leader"
                    + (f": {problem}" if problem else ".")
                )
            await asyncio.sleep(0.01)

    async def _read_live(self, seconds: float) -> list[bytes]:
        """Read what arrives for a while; at least two records, else StoryFailed."""
        from aiokafka import AIOKafkaConsumer, TopicPartition

        home = TopicPartition(METRICS, 0)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._cluster.bootstrap, group_id=None, enable_auto_commit=False
        )
        await consumer.start()
        values: list[bytes] = []
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            consumer.assign([home])
            consumer.seek(home, 0)
            while loop.time() - began < seconds or len(values) < 2:
                batches = await consumer.getmany(home, timeout_ms=100)
                for record in batches.get(home, ()):
                    values.append(record.value)
                    self._tell(f"{METRICS}-0 @ {record.offset}: {_reading(record.value)}")
                if loop.time() - began > seconds + HEAL_LIMIT_S:
                    raise StoryFailed(f"Only {len(values)} records arrived.")
        finally:
            await consumer.stop()
        return values

    async def _read_all(self) -> dict[int, bytes]:
        from aiokafka import AIOKafkaConsumer, TopicPartition

        home = TopicPartition(METRICS, 0)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._cluster.bootstrap, group_id=None, enable_auto_commit=False
        )
        await consumer.start()
        found: dict[int, bytes] = {}
        try:
            consumer.assign([home])
            end = (await consumer.end_offsets([home]))[home]
            consumer.seek(home, 0)
            async with asyncio.timeout(HEAL_LIMIT_S):
                while await consumer.position(home) < end:
                    batches = await consumer.getmany(home, timeout_ms=100)
                    found |= {r.offset: r.value for r in batches.get(home, ())}
        except TimeoutError:
            raise StoryFailed(f"Only {len(found)} of {end} records could be read.") from None
        finally:
            await consumer.stop()
        return found


def _about(event: ClusterEvent, kind: EventKind) -> bool:
    return event.kind == kind and event.topic == METRICS and event.partition == 0


def _leader(event: ClusterEvent) -> int:
    return -1 if event.after is None else int(event.after)


def _isr(event: ClusterEvent) -> list[int]:
    return [int(broker) for broker in event.after or ()]


def _listed(brokers: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, brokers)) + "]"


def _reading(value: bytes) -> str:
    data = json.loads(value)
    received = data.get("network_received_bytes")
    network = "" if received is None else f", {received / 2**20:.1f} MiB received"
    return f"cpu {data['cpu_percent']:.1f} %, memory {data['memory_percent']:.1f} %{network}"
