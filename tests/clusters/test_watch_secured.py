"""Controllers and brokers that want TLS and a password: followed through failover, and missed."""

import asyncio
import contextlib
import ssl
import uuid
from collections.abc import AsyncIterator

import pytest
import trustme

from broker.protocol import metadata_records as rec
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from clusters.admin import AdminClient
from clusters.admin.security import read_security
from clusters.polls import Pulse
from clusters.watch import ClusterEvent, ClusterFeed, EventKind, FeedStatus

WAIT_S = 60.0
PASSWORD = "correct horse"


def context_of(authority: trustme.CA) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(made)
    return made


class Proofs:
    """Who proved itself where, and what was asked by whom before it had."""

    def __init__(self, fake) -> None:
        self.proven: list[str] = []
        for server in [*fake.brokers.values(), *fake.controllers.values()]:
            server.serve(ApiKey.SASL_HANDSHAKE, 0, 1, lambda body, _: Struct(mechanisms=["PLAIN"]))
            server.serve(
                ApiKey.SASL_AUTHENTICATE,
                0,
                2,
                lambda body, _, server=server: self._prove(server, body),
            )

    def _prove(self, server, body: Struct) -> Struct:
        if bytes(body.auth_bytes) != f"\0user\0{PASSWORD}".encode():
            return Struct(error_code=ErrorCode.sasl_authentication_failed, error_message="no")
        self.proven.append(server.address)
        return Struct(error_code=ErrorCode.none, auth_bytes=b"")


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def secured(make_fake_cluster, authority) -> AsyncIterator:
    """Three brokers and controllers; each broker has SASL over TLS as well."""
    fake = make_fake_cluster(3)
    context = context_of(authority)
    for server in [*fake.brokers.values(), *fake.controllers.values()]:
        server.tls = context
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def security(authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return read_security(
        {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(tmp_path / "ca.pem"),
            "sasl.mechanism": "PLAIN",
            "sasl.username": "user",
            "sasl.password": PASSWORD,
        }
    )


class Told:
    """What a feed tells, as it comes."""

    def __init__(self) -> None:
        self.events: list[ClusterEvent] = []
        self.statuses: list[FeedStatus] = []
        self._news = asyncio.Event()

    async def read(self, feed: ClusterFeed) -> None:
        async for update in feed.updates():
            self.events += update.events
            self.statuses.append(update.status)
            self._news.set()

    async def until(self, condition) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def moves(self) -> list[int]:
        return [each.after for each in self.events if each.kind is EventKind.LEADER_MOVED]


@contextlib.asynccontextmanager
async def reading(feed: ClusterFeed) -> AsyncIterator[Told]:
    told = Told()
    async with feed:
        task = asyncio.create_task(told.read(feed))
        try:
            yield told
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def topic() -> list[rec.MetadataRecord]:
    id_ = uuid.UUID(int=7)
    return [
        rec.TopicRecord(name="orders", topic_id=id_),
        rec.PartitionRecord(
            partition_id=0, topic_id=id_, replicas=(1, 2, 3), isr=(1, 2, 3),
            removing_replicas=(), adding_replicas=(), leader=1, leader_epoch=0,
            partition_epoch=0, directories=(),
        ),
    ]  # fmt: skip


def move(leader: int) -> rec.PartitionChangeRecord:
    return rec.PartitionChangeRecord(partition_id=0, topic_id=uuid.UUID(int=7), leader=leader)


async def test_a_feed_goes_on_from_controller_to_controller_each_proven_to(
    secured, security
) -> None:
    proofs = Proofs(secured)
    secured.elect(1)
    secured.append(*topic())
    feed = ClusterFeed(secured.bootstrap, security=security)
    async with reading(feed) as told:
        await told.until(lambda: feed.status.mode == "live")
        assert feed.status.source == secured.controllers[1].address
        for before, leader in ((1, 3), (3, 2)):
            secured.append(move(leader))
            await told.until(lambda leader=leader: told.moves()[-1:] == [leader])
            await secured.controllers[before].stop()
            secured.elect(leader)
            secured.append(move(before))
            await told.until(lambda before=before: told.moves()[-1:] == [before])
            assert feed.status.source == secured.controllers[leader].address
            assert secured.controllers[leader].address in proofs.proven
            await secured.controllers[before].start()
    assert told.moves() == [3, 1, 2, 3]
    changed = [each.after for each in told.events if each.kind is EventKind.CONTROLLER_CHANGED]
    assert changed == [3, 2]
    assert {each.mode for each in told.statuses} <= {"connecting", "live", "slow"}
    assert not any(each.refusal for each in told.statuses)


async def test_a_controller_that_is_not_trusted_is_passed_over(secured, security) -> None:
    Proofs(secured)
    secured.elect(1)
    secured.append(*topic())
    # Its certificate was renewed by somebody whom this client does not trust.
    await secured.controllers[2].stop()
    secured.controllers[2].tls = context_of(trustme.CA())
    await secured.controllers[2].start()
    feed = ClusterFeed(secured.bootstrap, security=security)
    async with reading(feed) as told:
        await told.until(lambda: feed.status.mode == "live")
        await secured.controllers[1].stop()
        secured.elect(2)
        secured.append(move(2))
        # Nobody who may be read leads; nothing of it may be shown as live.
        await told.until(lambda: feed.status.mode != "live")
        assert told.moves() == []
        secured.elect(3)
        secured.append(move(3))
        await told.until(lambda: len(told.moves()) == 2 and feed.status.mode == "live")
        assert feed.status.source == secured.controllers[3].address
    assert told.moves() == [2, 3]


async def test_a_secured_broker_that_hangs_is_missed(secured, security, monkeypatch) -> None:
    monkeypatch.setattr("clusters.polls.pulse.GIVE_UP_MS", 1_500)
    Proofs(secured)
    news = asyncio.Event()
    async with AdminClient(secured.bootstrap, security=security) as admin:
        pulse = Pulse(admin, on_change=news.set)
        pulse.want({1: "a", 2: "b", 3: "c"})
        asking = asyncio.create_task(pulse.run())

        async def until(second: str) -> None:
            wanted = {1: "answers", 2: second, 3: "answers"}
            async with asyncio.timeout(WAIT_S):
                while {id_: each.state for id_, each in pulse.standings.items()} != wanted:
                    news.clear()
                    await news.wait()

        try:
            await until("answers")
            secured.brokers[2].silent = True
            await until("silent")
            secured.brokers[2].silent = False
            await until("answers")
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
