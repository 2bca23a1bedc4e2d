"""A cluster that exists only in memory, and a way to run command lines against it."""

from __future__ import annotations

import io
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace

import pytest

from clusters.admin import ConfigEntry, Failure, Gathered, LogDir, PlacedPartition, ReplicaSize
from clusters.admin.errors import UnknownTopic
from clusters.operation_results import Destroyed
from clusters.state import Context
from shell.cli import build
from shell.commands import all_commands
from shell.exits import ExitCode, Failed
from shell.output import Output
from shell.runner import Runner
from shell.session import Doors


@dataclass(frozen=True)
class FakeTopic:
    topic: str
    id: str
    partitions: int
    replication_factor: int
    under_replicated: int = 0
    offline: int = 0
    internal: bool = False

    def to_json(self):
        return asdict(self)


@dataclass(frozen=True)
class FakePartition:
    partition: int
    leader: int
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline: tuple[int, ...]
    start_offset: int
    end_offset: int


@dataclass(frozen=True)
class FakeDetail:
    topic: str
    id: str
    partitions: list[FakePartition]
    config: dict[str, str]
    problems: tuple[str, ...] = ()

    def to_json(self):
        def plain(partition):
            return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(partition).items()}

        return {
            "topic": self.topic,
            "id": self.id,
            "partitions": [plain(partition) for partition in self.partitions],
            "config": self.config,
        }


@dataclass(frozen=True)
class FakeBroker:
    id: int
    host: str
    port: int
    rack: str | None
    state: str
    is_controller: bool
    leaders: int
    replicas: int

    def to_json(self):
        return asdict(self)


@dataclass(frozen=True)
class FakeCluster:
    cluster_id: str = "Zm9yIHRlc3RzIG9ubHkhIQ"
    controller_id: int = 1
    brokers: tuple[FakeBroker, ...] = ()


ORDERS = FakeDetail(
    topic="orders",
    id="AAAAAAAAAAAAAAAAAAAAAQ",
    partitions=[
        FakePartition(0, 1, 4, (1, 2, 3), (1, 2, 3), (), 0, 1500),
        FakePartition(1, 2, 7, (2, 3, 1), (2, 1), (3,), 10, 1400),
        FakePartition(2, -1, 9, (3,), (), (3,), 0, 0),
    ],
    config={"retention.ms": "604800000"},
)


@dataclass
class FakeAdmin:
    """Answers like the admin client; `calls` keeps what it was asked to change."""

    calls: list[tuple] = field(default_factory=list)
    summaries: list[FakeTopic] = field(
        default_factory=lambda: [
            FakeTopic("orders", "AAAAAAAAAAAAAAAAAAAAAQ", 3, 3, under_replicated=2, offline=1),
            FakeTopic("signups", "AAAAAAAAAAAAAAAAAAAAAg", 3, 3),
            FakeTopic("__internal", "AAAAAAAAAAAAAAAAAAAAAw", 1, 1, internal=True),
        ]
    )
    failure: Exception | None = None
    delay_forever: bool = False
    session_ms: int = 0
    source: str | None = None

    async def topics(self):
        if self.failure:
            raise self.failure
        if self.delay_forever:
            import asyncio

            await asyncio.Event().wait()
        return self.summaries

    async def topic(self, name, *, offsets=True):
        if name not in {summary.topic for summary in self.summaries}:
            raise UnknownTopic(name)
        return replace(ORDERS, topic=name)

    async def brokers(self):
        if self.failure:
            raise self.failure
        return [
            FakeBroker(1, "127.0.0.1", 19092, "a", "up", True, 1, 3),
            FakeBroker(2, "127.0.0.1", 19093, "b", "up", False, 1, 2),
            FakeBroker(3, "127.0.0.1", 19094, None, "down", False, 0, 3),
        ]

    async def cluster(self):
        if self.failure:
            raise self.failure
        return FakeCluster()

    async def lacking_rights(self):
        return frozenset()

    async def check_topics(self, api_key, names):
        """Everything is allowed."""

    async def check_cluster(self, api_key):
        """Everything is allowed."""

    async def check_group(self, api_key, name):
        """Everything is allowed."""

    async def partitions(self, topics=None, *, min_isr=False):
        return [
            PlacedPartition(
                topic="orders",
                partition=each.partition,
                leader=each.leader,
                leader_epoch=each.leader_epoch,
                replicas=each.replicas,
                isr=each.isr,
                offline=each.offline,
                internal=False,
                min_isr=2 if min_isr else None,
            )
            for each in ORDERS.partitions
        ]

    async def log_dirs(self, broker_ids=None):
        failure = Failure(where="broker 3", what="log dirs", reason="it is not running")
        wanted = {1, 2, 3} if broker_ids is None else set(broker_ids)
        replica = ReplicaSize(
            topic="orders", partition=0, size_bytes=4096, offset_lag=0, is_future=False
        )
        dirs = [
            LogDir(
                broker=node,
                path="/data",
                error=None,
                total_bytes=2**30,
                usable_bytes=2**29,
                replicas=(replica,),
            )
            for node in sorted(wanted & {1, 2})
        ]
        return Gathered(tuple(dirs), (failure,) if 3 in wanted else ())

    async def configs(self, kind, name, *, documentation=False):
        return [ConfigEntry(name="num.io.threads", value="4", source="static broker")]

    async def create_topic(self, name, *, partitions, replication_factor, configs, validate_only):
        self.summaries.append(FakeTopic(name, "", partitions, replication_factor))
        self.calls.append(("create", name, partitions, replication_factor, configs, validate_only))

    async def delete_topic(self, name):
        if name not in {summary.topic for summary in self.summaries}:
            raise UnknownTopic(name)
        self.calls.append(("delete", name))


@dataclass
class FakeSpec:
    name: str = "local"
    is_local: bool = True


class FakeDoors(Doors):
    """Doors that open onto the fakes; `answers` are what a person types."""

    def __init__(self):
        self.environ = {}
        self.fake = FakeAdmin()
        self.answers = []
        self.asked = []
        self.saved = {
            "local": Context(
                name="local", bootstrap=["127.0.0.1:19092"], spec_path="clusters/local.yaml"
            )
        }
        self.current = "local"
        self.connected_to = []
        self.destroyed = False

    def ask(self, prompt):
        self.asked.append(prompt)
        return self.answers.pop(0) if self.answers else None

    def contexts(self):
        return self.saved

    def current_context(self):
        return self.saved.get(self.current)

    def use_context(self, name):
        self.current = name

    def save_context(self, context):
        self.saved[context.name] = context

    def remove_context(self, name):
        del self.saved[name]

    @asynccontextmanager
    async def _open(self):
        yield self.fake

    def admin(self, bootstrap, timeout_ms, **more):
        self.connected_to.append((tuple(bootstrap), timeout_ms))
        return self._open()

    def feed(self, bootstrap, *, from_start, **more):
        raise Failed("There is no metadata log in memory.")

    def load_spec(self, path):
        return FakeSpec()

    def operations(self, spec, report):
        doors = self

        class Operations:
            spec = FakeSpec()

            async def destroy(self, **_):
                doors.destroyed = True
                return Destroyed(removed=["/data/local"])

        return Operations()


@dataclass
class Result:
    code: ExitCode
    out: str
    err: str


class Harness:
    """Runs command lines as `logctl` does, with words instead of a process."""

    def __init__(self):
        self.doors = FakeDoors()
        self.registry = all_commands()
        self.out = io.BytesIO()
        self.err = io.StringIO()
        output = Output(stdout=self.out, stderr=self.err)
        self.runner = Runner(build(self.registry), output, self.doors)

    def __call__(self, *words: str) -> Result:
        self.out.seek(0)
        self.out.truncate()
        self.err.seek(0)
        self.err.truncate()
        try:
            invocation = self.runner.parse(words)
            code = self.runner.run_blocking(invocation)
        except Exception as error:
            code = self.runner.explain(error)
        return Result(code, self.out.getvalue().decode(), self.err.getvalue())


@pytest.fixture
def logctl(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Harness()
