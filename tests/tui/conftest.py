"""A cluster in memory for the dashboard: metadata records in, feed updates out."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from broker.protocol import metadata_records as rec
from clusters.admin import QuorumInfo, QuorumReplica
from clusters.polls import PollKind
from clusters.watch import ClusterEvent, Entry, FeedStatus, FeedUpdate, Projector
from tests.tui.bench import MANY, Bench, Clerk, Story
from tui.app import DashboardApp
from tui.pressing import Presses

START_MS = 1_790_000_000_000


class FakeCluster:
    """Projects records with the real projector, so that events are the real ones."""

    def __init__(self, *, brokers: int = 3) -> None:
        self.projector = Projector()
        self.offset = 0
        self.now_ms = START_MS
        self.topic_ids: dict[str, uuid.UUID] = {}
        self.queue: asyncio.Queue[FeedUpdate] = asyncio.Queue()
        self.status = FeedStatus(
            mode="live",
            source="127.0.0.1:19192",
            message="",
            last_contact_ms=START_MS,
            controller_id=1,
            controller_epoch=3,
        )
        self.events: list[ClusterEvent] = []
        # Answers of polls by kind: a value, a function of the subject, or an error to raise.
        self.polled: dict[str, Any] = {}
        for broker in range(1, brokers + 1):
            self.apply(
                rec.RegisterBrokerRecord(
                    broker_id=broker,
                    incarnation_id=uuid.UUID(int=broker),
                    broker_epoch=self.offset,
                    end_points=(
                        rec.BrokerEndpoint(
                            name="PLAINTEXT",
                            host="127.0.0.1",
                            port=19091 + broker,
                            security_protocol=0,
                        ),
                    ),
                    features=(),
                    rack="abc"[(broker - 1) % 3],
                )
            )
            self.apply(rec.UnfenceBrokerRecord(id=broker, epoch=self._epoch(broker)))

    def _epoch(self, broker: int) -> int:
        return self.projector.image.brokers[broker].epoch

    def apply(self, *records: rec.MetadataRecord) -> list[ClusterEvent]:
        entries = []
        for record in records:
            entries.append(Entry(self.offset, 3, self.now_ms, record))
            self.offset += 1
        events = self.projector.apply_batch(entries)
        self.events += events
        self.now_ms += 1
        return events

    def create_topic(self, name: str, partitions: int, brokers: int = 3) -> None:
        topic_id = self.topic_ids[name] = uuid.uuid5(uuid.NAMESPACE_DNS, name)
        records: list[rec.MetadataRecord] = [rec.TopicRecord(name=name, topic_id=topic_id)]
        for index in range(partitions):
            replicas = tuple((index + i) % brokers + 1 for i in range(min(3, brokers)))
            records.append(
                rec.PartitionRecord(
                    partition_id=index,
                    topic_id=topic_id,
                    replicas=replicas,
                    isr=replicas,
                    removing_replicas=(),
                    adding_replicas=(),
                    leader=replicas[0],
                    leader_epoch=0,
                    partition_epoch=0,
                    directories=(),
                )
            )
        self.apply(*records)

    def change(self, topic: str, partition: int, **fields: object) -> None:
        self.apply(
            rec.PartitionChangeRecord(
                partition_id=partition, topic_id=self.topic_ids[topic], **fields
            )
        )

    def min_isr(self, topic: str, number: int) -> None:
        """Set min.insync.replicas of a topic."""
        self.apply(
            rec.ConfigRecord(
                resource_type=2,
                resource_name=topic,
                name="min.insync.replicas",
                value=str(number),
            )
        )

    def kill(self, broker: int) -> None:
        """What a controller writes when a broker is gone."""
        self.apply(rec.FenceBrokerRecord(id=broker, epoch=self._epoch(broker)))
        for name, topic in self.projector.image.topics.items():
            for index, state in enumerate(topic.partitions):
                if broker in state.isr:
                    isr = tuple(b for b in state.isr if b != broker)
                    fields: dict[str, object] = {"isr": isr}
                    if state.leader == broker:
                        fields["leader"] = isr[0] if isr else -1
                    self.change(name, index, **fields)

    def update(self, *, replaying: bool = False) -> FeedUpdate:
        events, self.events = tuple(self.events), []
        return FeedUpdate(
            image=self.projector.image, events=events, status=self.status, replaying=replaying
        )

    # -- the feed's side

    async def tell(self, *, replaying: bool = False) -> None:
        await self.queue.put(self.update(replaying=replaying))

    def lose(self, message: str, seconds: int = 7) -> None:
        self.status = replace(
            self.status,
            mode="lost",
            source="",
            message=message,
            last_contact_ms=self.now_ms - seconds * 1000,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    async def updates(self) -> AsyncIterator[FeedUpdate]:
        while True:
            yield await self.queue.get()

    def kinds(self) -> dict[str, PollKind]:
        """What is polled: the quorum stands still, offsets and groups are what a test says."""

        async def quorum(_: str) -> QuorumInfo:
            return await self.quorum()

        def told(name: str) -> PollKind:
            async def ask(subject: str) -> Any:
                value = self.polled.get(name)
                if isinstance(value, Exception):
                    raise value
                return value(subject) if callable(value) else value

            return PollKind(ask, 50)

        return {"quorum": PollKind(quorum, 1_000)} | {name: told(name) for name in self.polled}

    async def quorum(self) -> QuorumInfo:
        return QuorumInfo(
            leader_id=1,
            leader_epoch=3,
            high_watermark=40,
            voters=[
                QuorumReplica(
                    id=n,
                    directory_id=None,
                    log_end_offset=40,
                    last_fetch_ms=-1,
                    last_caught_up_ms=-1,
                )
                for n in (1, 2, 3)
            ],
            observers=[],
            nodes={},
        )


@pytest.fixture(scope="session")
def cluster_class() -> type[FakeCluster]:
    """The class itself, for tests that make many clusters."""
    return FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    """Three brokers, two topics, everything whole."""
    made = FakeCluster()
    made.create_topic("orders", 6)
    made.create_topic("signups", 3)
    return made


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where what is kept across runs goes; nothing of a test into that of a person."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


@pytest.fixture
def open_dashboard() -> Callable[..., DashboardApp]:
    """Make the application on a fake cluster, with clocks that stand still."""

    def make(cluster: FakeCluster, *, fingers: bool = False, **options: Any) -> DashboardApp:
        app = DashboardApp(
            ["127.0.0.1:19092"],
            feed=cluster,
            kinds=cluster.kinds(),
            name="orders-cluster",
            now_ms=lambda: cluster.now_ms - START_MS + 60_000,
            wall_ms=lambda: cluster.now_ms,
            **options,
        )
        if not fingers:
            # A pilot presses faster than a key that is held repeats itself.
            app.presses = Presses(repeat_s=0)
        return app

    return make


@pytest.fixture
async def bench(cluster, open_dashboard, monkeypatch, tmp_path):
    """A dashboard of a cluster with many topics, with a clerk and a story, that is up."""
    monkeypatch.chdir(tmp_path)
    for number in range(MANY):
        cluster.create_topic(f"t-{number:03}", 1)
    clerk, quorum, asked = Clerk(), cluster.quorum, []

    async def counted():
        asked.append(cluster.now_ms)
        return await quorum()

    cluster.quorum = counted
    app = open_dashboard(cluster, commander=clerk, guide=Story())
    async with app.run_test(size=(120, 40)) as pilot:
        made = Bench(app, pilot, cluster, clerk, asked)
        monkeypatch.setattr(app._driver, "write", made.written.append)
        await cluster.tell(replaying=True)
        await made.until(lambda: len(app.store.view.topics) == MANY + 2, "the cluster")
        yield made
