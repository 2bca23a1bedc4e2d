"""A feed that runs for days: passwords and certificates change, and it goes on with the new ones."""

import asyncio
import contextlib

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, LogctlError
from broker.protocol.struct import Struct
from clusters.admin import AdminClient
from clusters.admin.credentials import Credentials, Renewal
from clusters.admin.security import read_security
from clusters.errors import StateError
from clusters.state import Context
from clusters.watch import ClusterFeed
from shell.session import renewal_words

WAIT_S = 10.0


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("clusters.admin.credentials.READ_EVERY_S", 0.05)


class Cluster:
    """A fake cluster that wants a password by SASL PLAIN, and counts who gave a wrong one."""

    def __init__(self, fake, password: str) -> None:
        self.fake, self.password, self.refused = fake, password, 0
        for server in [*fake.brokers.values(), *fake.controllers.values()]:
            server.serve(ApiKey.SASL_HANDSHAKE, 0, 1, lambda body, _: Struct(mechanisms=["PLAIN"]))
            server.serve(ApiKey.SASL_AUTHENTICATE, 0, 2, self._prove)

    def _prove(self, body: Struct, version: int) -> Struct:
        if bytes(body.auth_bytes) == f"\0user\0{self.password}".encode():
            return Struct(error_code=ErrorCode.none, auth_bytes=b"")
        self.refused += 1
        return Struct(
            error_code=ErrorCode.sasl_authentication_failed, error_message="wrong password"
        )

    def hang_up(self) -> None:
        for server in [*self.fake.brokers.values(), *self.fake.controllers.values()]:
            for transport in list(server._transports):
                transport.abort()


def sasl(password: str):
    return read_security(
        {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.username": "user",
            "sasl.password": password,
        }
    )


class Source:
    """Where the password comes from."""

    def __init__(self, password: str) -> None:
        self.password, self.problem, self.reads = password, "", 0
        self.renewal = Renewal(read=self.read, words="read from the test")

    def read(self):
        self.reads += 1
        if self.problem:
            raise StateError(self.problem)
        return sasl(self.password)


async def until(condition, what: str) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.01)
    assert condition(), f"not within {WAIT_S} s: {what}"


@contextlib.asynccontextmanager
async def reading(feed):
    """The statuses that a feed tells, in order."""
    told = []

    async def read() -> None:
        async for update in feed.updates():
            told.append(update.status)  # noqa: PERF401 - read while they come

    async with feed:
        task = asyncio.ensure_future(read())
        try:
            yield told
        finally:
            task.cancel()


async def test_a_new_password_is_read_again_when_the_old_one_is_refused(fake_cluster):
    cluster, source = Cluster(fake_cluster, "old"), Source("old")
    feed = ClusterFeed(fake_cluster.bootstrap, security=sasl("old"), renewal=source.renewal)
    async with reading(feed) as told:
        await until(lambda: feed.status.mode == "live", "the feed is live")
        assert source.reads == 0, "what is taken is not read again"
        cluster.password = source.password = "new"
        cluster.hang_up()
        await until(lambda: feed.status.mode != "live", "the loss is told")
        await until(lambda: feed.status.mode == "live", "it goes on with the new password")
        assert not any(status.refusal for status in told)
        before = cluster.refused
        cluster.hang_up()
        await until(lambda: feed.status.mode != "live", "the loss is told")
        await until(lambda: feed.status.mode == "live", "again")
        assert cluster.refused == before, "the new password is kept"


async def test_until_there_is_a_new_password_it_says_what_is_wrong_and_asks_seldom(fake_cluster):
    cluster, source = Cluster(fake_cluster, "old"), Source("old")
    feed = ClusterFeed(fake_cluster.bootstrap, security=sasl("old"), renewal=source.renewal)
    async with reading(feed):
        await until(lambda: feed.status.mode == "live", "the feed is live")
        cluster.password = "new"
        cluster.hang_up()
        await until(lambda: feed.status.refusal == "not let in", "it says so")
        message = feed.status.message
        assert 'PLAIN as "user": wrong password' in message
        assert message.endswith("; read from the test")
        reads, refused = source.reads, cluster.refused
        await until(lambda: source.reads >= reads + 4, "the source is looked at")
        assert cluster.refused == refused, "the same password is not given again and again"
        source.password = "new"
        await until(lambda: feed.status.mode == "live", "it goes on with the new password")
        assert cluster.refused == refused
        assert feed.status.refusal == ""


async def test_a_source_that_cannot_be_read_is_named(fake_cluster):
    cluster, source = Cluster(fake_cluster, "old"), Source("old")
    feed = ClusterFeed(fake_cluster.bootstrap, security=sasl("old"), renewal=source.renewal)
    async with reading(feed) as told:
        await until(lambda: feed.status.mode == "live", "the feed is live")
        cluster.password, source.problem = "new", "The secret cannot be read from /gone"
        cluster.hang_up()
        await until(lambda: "from /gone" in feed.status.message, "the reason is told")
        source.password, source.problem = "new", ""
        await until(lambda: feed.status.mode == "live", "it goes on once it can be read")
        assert {status.mode for status in told} <= {"connecting", "live", "lost"}


async def test_polls_get_on_with_the_new_password_too(fake_cluster):
    cluster, source = Cluster(fake_cluster, "old"), Source("old")
    renewal = source.renewal
    async with AdminClient(fake_cluster.bootstrap, security=sasl("old"), renewal=renewal) as admin:
        assert (await admin.cluster()).cluster_id == fake_cluster.cluster_id
        cluster.password = source.password = "new"
        cluster.hang_up()
        with pytest.raises(LogctlError):
            await admin.cluster()
        assert (await admin.cluster()).cluster_id == fake_cluster.cluster_id
        assert cluster.refused == 1


async def test_many_attempts_read_the_source_once():
    source = Source("new")
    old = sasl("old")
    credentials = Credentials(old, source.renewal)
    assert await credentials.current("b:1") is old
    from clusters.admin.errors import AuthenticationRefused

    credentials.failed(old, AuthenticationRefused("b:1", "no"))
    found = await asyncio.gather(*(credentials.current("b:1") for _ in range(20)))
    assert {each.password for each in found} == {"new"}
    assert source.reads == 1
    credentials.failed(old, AuthenticationRefused("b:1", "late"))
    await credentials.current("b:1")
    assert source.reads == 1, "an attempt with the old ones says nothing of the new ones"


def test_what_is_read_again_is_told_without_what_is_secret():
    context = Context(
        name="c",
        bootstrap=["b:1"],
        properties={"security.protocol": "SASL_SSL"},
        secrets={"sasl.password": "file:/secrets/p", "ssl.key.password": "env:KEY"},
    )
    words = renewal_words(context)
    assert "sasl.password from /secrets/p" in words
    assert "ssl.key.password is the variable KEY as of the start" in words
    assert renewal_words(Context(name="c", bootstrap=["b:1"])) == ""
