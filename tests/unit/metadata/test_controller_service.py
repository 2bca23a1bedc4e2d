"""The controller's shell on a tiny quorum: commit before reply, fail-over, dead brokers."""

import asyncio
import random
import uuid

import pytest

from broker.metadata.decision import ControllerConfig
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, RequestTimedOut
from broker.protocol.image import same_contents
from broker.protocol.struct import Struct
from broker.runtime.controller import ControllerService
from broker.runtime.doors import SystemClock
from broker.runtime.quorum import CommittedBatch, LeaderAndEpoch, NotQuorumLeader
from tests.own_time import own_s

ME = 1


class TinyQuorum:
    """One log; commits at once, or when told to."""

    def __init__(self):
        self.listeners = []
        self.leader = LeaderAndEpoch(-1, 0)
        self.batches = []
        self.end_offset = 0
        self.committed = 0
        self.hold = False
        self._moved = asyncio.Event()

    def add_listener(self, listener):
        self.listeners.append(listener)

    def lead(self, node, epoch):
        """A node is elected: its LeaderChange is committed, then everybody is told."""
        self.leader = LeaderAndEpoch(node, epoch)
        self.batches.append((self.end_offset, epoch, (), self.end_offset))
        self.end_offset += 1
        self.commit()
        for listener in self.listeners:
            listener.on_leader_change(self.leader)
        self._wake()

    def lose(self):
        """This node is cut off: what is not committed is gone."""
        self.batches = [b for b in self.batches if b[3] < self.committed]
        self.end_offset = self.committed
        self.lead(2, self.leader.epoch + 1)

    def append(self, epoch, records):
        if self.leader != LeaderAndEpoch(ME, epoch):
            raise NotQuorumLeader(self.leader)
        last = self.end_offset + len(records) - 1
        self.batches.append((self.end_offset, epoch, tuple(records), last))
        self.end_offset = last + 1
        if not self.hold:
            asyncio.get_running_loop().call_soon(self.commit)
        return last

    def commit(self):
        for base, epoch, records, last in self.batches:
            if last >= self.committed:
                self.committed = last + 1
                for listener in self.listeners:
                    listener.on_committed(CommittedBatch(base, last, epoch, 0, records))
        self._wake()

    async def wait_committed(self, offset, epoch, timeout_ms):
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while self.committed <= offset:
                    if self.leader != LeaderAndEpoch(ME, epoch):
                        raise NotQuorumLeader(self.leader)
                    await self._moved.wait()
        except TimeoutError:
            raise RequestTimedOut("too slow") from None

    def _wake(self):
        self._moved.set()
        self._moved = asyncio.Event()


class Ports:
    """A network whose ports accept, refuse or are silent."""

    def __init__(self):
        self.alive = set()
        self.silent = set()
        self.asked = []

    async def connect(self, host, port, factory):
        self.asked.append(port)
        if port in self.silent:
            await asyncio.Event().wait()
        if port not in self.alive:
            raise ConnectionRefusedError(port)
        return Transport(), factory()


class Transport:
    def close(self):
        pass


class Stage:
    def __init__(self):
        self.quorum = TinyQuorum()
        self.ports = Ports()
        self.service = ControllerService(
            quorum=self.quorum,
            config=ControllerConfig(cluster_id="c", node_id=ME, session_timeout_ms=60_000),
            clock=SystemClock(),
            rng=random.Random(1),
            network=self.ports,
            static={"log.retention.hours": "1"},
        )
        self.epochs = {}
        self.links = {}

    async def ask(self, api_key, connection=None, **fields):
        return await self.service.handle(api_key, 0, Struct(**fields), connection)

    async def register(self, broker, incarnation=1):
        answer = await self.ask(
            ApiKey.BROKER_REGISTRATION,
            broker_id=broker,
            cluster_id="c",
            incarnation_id=uuid.UUID(int=incarnation),
            listeners=[Struct(name="P", host="h", port=9000 + broker, security_protocol=0)],
        )
        if answer.error_code == ErrorCode.none:
            self.epochs[broker] = answer.broker_epoch
        return answer

    async def beat(self, broker, **fields):
        link = self.links.setdefault(broker, f"link-{broker}")
        body = {
            "broker_id": broker,
            "broker_epoch": self.epochs[broker],
            "current_metadata_offset": self.quorum.committed - 1,
            "want_fence": False,
            "want_shut_down": False,
            **fields,
        }
        return await self.ask(ApiKey.BROKER_HEARTBEAT, link, **body)

    async def brokers(self, *brokers):
        for broker in brokers:
            self.ports.alive.add(9000 + broker)
            await self.register(broker)
            await self.beat(broker)

    async def create(self, name, factor=1, **fields):
        topic = Struct(
            name=name, num_partitions=1, replication_factor=factor, assignments=[], configs=[]
        )
        body = {"topics": [topic], "timeout_ms": 2000, "validate_only": False, **fields}
        return (await self.ask(ApiKey.CREATE_TOPICS, **body)).topics[0]


@pytest.fixture
async def stage():
    stage = Stage()
    await stage.service.start()
    yield stage
    await stage.service.stop()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1, "stop leaves no task behind"


async def until(condition, what, seconds=60):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
    assert condition(), what


NOBODY_ASKED = {
    ApiKey.BROKER_REGISTRATION: {},
    ApiKey.BROKER_HEARTBEAT: {},
    ApiKey.UNREGISTER_BROKER: {},
    ApiKey.CREATE_TOPICS: {"topics": [Struct(name="t")]},
    ApiKey.DELETE_TOPICS: {"topics": [Struct(name="t", topic_id=uuid.UUID(int=0))]},
    ApiKey.CREATE_PARTITIONS: {"topics": [Struct(name="t")]},
    ApiKey.ALTER_PARTITION: {"topics": []},
    ApiKey.ELECT_LEADERS: {"topic_partitions": None},
    ApiKey.INCREMENTAL_ALTER_CONFIGS: {
        "resources": [Struct(resource_type=2, resource_name="t", configs=[])]
    },
    ApiKey.ALTER_CONFIGS: {"resources": [Struct(resource_type=2, resource_name="t", configs=[])]},
    ApiKey.ALLOCATE_PRODUCER_IDS: {},
}


@pytest.mark.parametrize("api_key", list(NOBODY_ASKED))
async def test_a_node_that_is_not_active_says_so_in_the_shape_of_each_api(stage, api_key):
    stage.quorum.lead(2, 1)
    answer = await stage.ask(api_key, **NOBODY_ASKED[api_key])
    codes = [answer.get("error_code")]
    for rows in (answer.get(name) for name in ("topics", "responses", "results")):
        codes += [row.error_code for row in rows or ()]
    assert ErrorCode.not_controller in codes


async def test_the_first_leader_writes_the_metadata_version_once(stage):
    stage.quorum.lead(ME, 1)
    await until(lambda: stage.service.image.features, "bootstrap is committed")
    assert stage.service.image.features == {"metadata.version": 25}
    stage.quorum.lead(ME, 2)
    await asyncio.sleep(0)
    assert [len(b[2]) for b in stage.quorum.batches] == [0, 1, 0]


async def test_a_reply_waits_for_the_commit(stage):
    stage.quorum.lead(ME, 1)
    await stage.brokers(1)
    stage.quorum.hold = True
    creating = asyncio.ensure_future(stage.create("t"))
    await asyncio.sleep(0.02)
    assert not creating.done()
    assert "t" not in stage.service.image.topics
    again = asyncio.ensure_future(stage.create("t"))
    await asyncio.sleep(0.02)
    assert not again.done(), "an answer that rests on an uncommitted record waits, too"
    stage.quorum.commit()
    assert (await creating).error_code == ErrorCode.none
    assert (await again).error_code == ErrorCode.topic_already_exists
    assert "t" in stage.service.image.topics


async def test_the_nodes_file_gives_defaults(stage):
    stage.quorum.lead(ME, 1)
    await stage.brokers(1)
    row = await stage.create("t")
    configs = {c.name: (c.value, c.config_source) for c in row.configs}
    assert configs["retention.ms"] == ("3600000", 4)


async def test_what_is_not_committed_in_time_times_out(stage):
    stage.quorum.lead(ME, 1)
    await stage.brokers(1)
    stage.quorum.hold = True
    row = await stage.create("t", timeout_ms=20)
    assert row.error_code == ErrorCode.request_timed_out
    stage.quorum.commit()
    assert "t" in stage.service.image.topics, "the outcome was unknown, not undone"


async def test_losing_the_quorum_discards_what_was_not_committed(stage):
    stage.quorum.lead(ME, 1)
    await stage.brokers(1)
    stage.quorum.hold = True
    creating = asyncio.ensure_future(stage.create("t"))
    await asyncio.sleep(0.02)
    stage.quorum.lose()
    assert (await creating).error_code == ErrorCode.not_controller
    assert not stage.service.active
    stage.quorum.hold = False
    stage.quorum.lead(ME, 9)
    assert stage.service.active
    assert (await stage.create("t")).error_code == ErrorCode.none


async def test_the_committed_image_is_the_same_on_leader_and_follower(stage):
    follower = ControllerService(
        quorum=stage.quorum,
        config=ControllerConfig(cluster_id="c", node_id=5),
        clock=SystemClock(),
        rng=random.Random(2),
        network=stage.ports,
    )
    stage.quorum.lead(ME, 1)
    await stage.brokers(1, 2, 3)
    await stage.create("t", 3)
    await stage.create("u", 2)
    assert same_contents(follower.image, stage.service.image)
    assert follower.image.offset == stage.service.image.offset == stage.quorum.committed - 1


async def test_a_broker_whose_process_died_is_fenced_at_once(stage):
    stage.quorum.lead(ME, 1)
    await stage.brokers(1, 2)
    await stage.create("t", 2)
    leader = stage.service.image.partition("t", 0).leader
    stage.ports.alive.discard(9000 + leader)
    begin = own_s()
    stage.service.connection_lost(stage.links[leader])
    await until(lambda: stage.service.image.partition("t", 0).leader == 3 - leader, "moved")
    assert own_s() - begin < 1
    assert stage.service.image.brokers[leader].fenced


async def test_a_broker_that_reconnects_or_still_listens_is_left_alone(stage):
    stage.quorum.lead(ME, 1)
    await stage.brokers(1, 2, 3)
    stage.service.connection_lost(stage.links[1])
    stage.service.connection_lost(stage.links[2])
    stage.ports.silent.add(9003)
    stage.service.connection_lost(stage.links[3])
    stage.ports.alive.discard(9001)
    stage.links[1] = "another link"
    await stage.beat(1)
    await until(lambda: {9002, 9003} <= set(stage.ports.asked), "they were asked")
    await asyncio.sleep(0.1)
    assert 9001 not in stage.ports.asked
    assert not any(b.fenced for b in stage.service.image.brokers.values())


async def test_a_port_that_closes_a_little_later_is_noticed(stage):
    stage.quorum.lead(ME, 1)
    await stage.brokers(1, 2)
    stage.service.connection_lost(stage.links[1])
    await until(lambda: 9001 in stage.ports.asked, "asked once")
    stage.ports.alive.discard(9001)
    await until(lambda: stage.service.image.brokers[1].fenced, "fenced")


async def test_a_second_loss_is_looked_into_although_the_first_still_is(stage):
    stage.quorum.lead(ME, 1)
    await stage.brokers(1, 2)
    stage.service.connection_lost(stage.links[1])
    await until(lambda: 9001 in stage.ports.asked, "asked once")
    stage.links[1] = "another link"
    await stage.beat(1)
    stage.ports.alive.discard(9001)
    stage.service.connection_lost("another link")
    await until(lambda: stage.service.image.brokers[1].fenced, "fenced")


async def test_other_connections_do_not_matter(stage):
    stage.quorum.lead(ME, 1)
    await stage.brokers(1)
    stage.ports.alive.clear()
    stage.service.connection_lost("somebody's client")
    stage.service.connection_lost(None)
    await asyncio.sleep(0.15)
    assert stage.ports.asked == []


async def test_a_new_active_controller_asks_after_silent_brokers(stage):
    stage.quorum.lead(ME, 1)
    await stage.brokers(1, 2, 3)
    await stage.create("t", 3)
    stage.quorum.lead(2, 2)
    stage.ports.alive.discard(9002)
    stage.quorum.lead(ME, 3)
    await stage.beat(1)
    await until(lambda: stage.service.image.brokers[2].fenced, "the dead one is fenced")
    assert not stage.service.image.brokers[1].fenced
    assert not stage.service.image.brokers[3].fenced
    assert 9001 not in stage.ports.asked


async def test_the_node_that_led_before_is_asked_after_at_once(stage):
    stage.quorum.lead(ME, 1)
    await stage.brokers(2, 3)
    await stage.create("t", 2)
    stage.quorum.lead(2, 2)
    stage.ports.alive.discard(9002)
    begin = own_s()
    stage.quorum.lead(ME, 3)
    await until(lambda: stage.service.image.brokers[2].fenced, "the dead leader is fenced")
    assert own_s() - begin < 0.25, "without the time that brokers have to find the new one"
    assert not stage.service.image.brokers[3].fenced


async def test_after_everything_died_a_broker_registers_again_at_once(stage):
    stage.quorum.lead(ME, 1)
    await stage.brokers(1)
    stage.quorum.lead(2, 2)
    stage.quorum.lead(ME, 3)
    answer = await stage.register(1, incarnation=2)
    assert answer.error_code == ErrorCode.none
    # Once it has been heard, another process under its id is a duplicate again.
    await stage.beat(1)
    again = await stage.register(1, incarnation=3)
    assert again.error_code == ErrorCode.duplicate_broker_registration


async def test_sessions_end_by_the_clock():
    stage = Stage()
    stage.service = ControllerService(
        quorum=stage.quorum,
        config=ControllerConfig(cluster_id="c", node_id=ME, session_timeout_ms=150),
        clock=SystemClock(),
        rng=random.Random(1),
        network=stage.ports,
    )
    stage.quorum.lead(ME, 1)
    await stage.brokers(1)
    assert not stage.service.image.brokers[1].fenced
    await until(lambda: stage.service.image.brokers[1].fenced, "its session is over")
    await stage.service.stop()


async def test_a_snapshot_replaces_the_image(stage):
    stage.quorum.lead(ME, 1)
    await stage.brokers(1)
    from broker.protocol.image import image_records

    records = image_records(stage.service.image)
    stage.service.on_snapshot(100, 7, records)
    assert (stage.service.image.offset, stage.service.image.epoch) == (99, 7)
    assert list(stage.service.image.brokers) == [1]
