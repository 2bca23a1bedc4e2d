"""Commands, feed, polls and dashboard on a secured Apache Kafka, and each way to be kept out.

One file, so that one worker starts one broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clusters.admin import Acl, AdminClient
from clusters.admin.scram_model import salted
from clusters.admin.security import TlsNetwork
from clusters.polls import Poll, Poller, Questions
from clusters.state import Context
from clusters.watch import ClusterFeed, EventKind
from shell.commander import ProcessCommander
from shell.output import Output
from shell.session import Doors, Session
from shell.settings import Settings
from tests.secured.certificates import write_private
from tests.secured.conftest import properties_of, security_of
from tests.secured.secured_kafka import MECHANISMS, PASSWORDS, SESSION_MS
from tui.app import DashboardApp
from tui.doors import Target

# The first test starts the broker, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(300)

WAIT_S = 60.0
OTHER_CLUSTER = "AAAAAAAAAAAAAAAAAAAAAA"

STATE = """
topics:
  {topic}:
    partitions: 2
    replication: 1
    configs: {{retention.ms: 3600000}}
"""


@pytest.mark.parametrize("way", [*MECHANISMS, "certificate"])
def test_every_way_in_serves_every_kind_of_command(logctl, way, tmp_path) -> None:
    topic = f"orders-{way.lower()}"
    file = tmp_path / "state.yaml"
    file.write_text(STATE.format(topic=topic))
    applied = logctl(way, "apply", str(file), "--yes")
    assert applied.code == 0, applied.err
    assert logctl(way, "diff", str(file)).code == 0
    produced = logctl(way, "produce", topic, "--partition", "1", stdin=b"one\ntwo\nthree\n")
    assert produced.code == 0, produced.err
    told = logctl(way, "tail", topic, "--from", "start", "--until", "end")
    assert [each["value"] for each in told.lines] == ["one", "two", "three"]
    member = ["tail", topic, "--group", f"readers-{way}", "--from", "start", "--max", "3"]
    assert len(logctl(way, *member).lines) == 3
    group = logctl(way, "group", "describe", f"readers-{way}")
    assert group.code == 0, group.err
    assert topic in group.out.decode()
    assert logctl(way, "broker", "list").data[0]["state"] == "up"


@pytest.mark.parametrize("way", MECHANISMS)
def test_events_are_read_from_the_secured_controller(logctl, way) -> None:
    told = logctl(way, "watch", "--from-start", "--max", "3")
    assert told.code == 0, told.err
    assert told.lines[0]["kind"] == "ControllerChanged"
    assert all(each["offset"] >= 0 for each in told.lines)


def assert_watch_says(logctl, context: str, *said: str) -> None:
    """Within a few seconds, or as long as a busy machine takes."""
    for seconds in (3, 12, 48):
        told = logctl(context, "watch", "--for", f"{seconds}s")
        if all(each in told.err for each in said):
            return
    raise AssertionError(f"{said} not in {told.err}")


def test_a_controller_that_does_not_let_us_in_makes_the_feed_sample(logctl) -> None:
    said = "sampled: may miss changes (no controller is reachable (localhost:"
    assert_watch_says(logctl, "certificate", said)


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ("wrong PLAIN", 'PLAIN as "operator": Authentication failed: Invalid username or password'),
        ("wrong SCRAM-SHA-256", "invalid credentials with SASL mechanism SCRAM-SHA-256"),
        ("wrong SCRAM-SHA-512", "invalid credentials with SASL mechanism SCRAM-SHA-512"),
        ("mechanism", "does not serve this mechanism; it serves PLAIN (sasl.mechanism)"),
        ("untrusted", "its certificate is not trusted: unable to get local issuer certificate; "),
        ("expired", "its certificate is not trusted: certificate has expired"),
        ("other name", "certificate is not valid for 'localhost'; connect by a name"),
        ("plain to TLS", "it speaks TLS; set security.protocol to SSL or SASL_SSL"),
        ("plain to SASL", "does it want SASL (security.protocol SASL_PLAINTEXT)?"),
        ("TLS without SASL", "does it want SASL (security.protocol SASL_SSL)?"),
        ("TLS to plain", "it does not speak TLS; is that a listener for"),
        ("SASL to plain", "this listener knows no SASL; set security.protocol to PLAINTEXT"),
        (
            "no certificate",
            "it does not accept the client's certificate (ssl.certificate.location)",
        ),
        ("strange certificate", "the client's certificate (ssl.certificate.location)"),
        ("pinned elsewhere", "belongs to the cluster EjRWeJCrze8SNFZ4kKvN7w, but AAAAAAAAAAAAAAAA"),
    ],
)
def test_who_is_kept_out_is_told_why_and_what_to_do(logctl, context, said) -> None:
    start = time.monotonic()
    told = logctl(context, "topic", "list", timeout="60s")
    code = 4 if context.startswith("pinned") else 1
    assert told.code == code
    assert said in told.err
    assert told.out == b""
    assert time.monotonic() - start < 50
    if context.startswith(("wrong", "pinned", "mechanism")):
        watched = logctl(context, "watch", "--for", "20s", timeout="20s")
        assert watched.code == code
        assert said in watched.err
        assert watched.out == b""


def test_files_that_everybody_may_read_are_refused(logctl, contexts, kafka) -> None:
    key = kafka.certificates.monitor.key
    key.chmod(0o644)
    try:
        told = logctl("certificate", "topic", "list")
    finally:
        key.chmod(0o600)
    assert told.code == 1
    assert f"{key} may be read by everybody" in told.err
    assert f"chmod 600 {key}" in told.err


@pytest.fixture(scope="module")
def rights(kafka):
    """Topics `seen` and `hidden`; viewer may read `seen`."""

    async def make() -> None:
        security = security_of(kafka, "operator", "SCRAM-SHA-512")
        async with AdminClient([kafka.place("SASL")], security=security) as admin:
            await admin.create_topic("seen", 1, 1)
            await admin.create_topic("hidden", 1, 1)
            await admin.create_acls(
                [
                    Acl(
                        principal="User:viewer",
                        host="*",
                        operation="read",
                        permission="allow",
                        resource="topic",
                        name="seen",
                        pattern="literal",
                    )
                ]
            )

    asyncio.run(make())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("topic describe hidden", 'User:viewer may not Describe the topic "hidden"'),
        ("topic delete seen --yes", 'User:viewer may not Delete the topic "seen"'),
        ("topic create more", 'User:viewer may not Create the topic "more"'),
        ("config get topic seen", 'User:viewer may not DescribeConfigs the topic "seen"'),
        ("partition elect seen --yes", "User:viewer may not Alter the cluster"),
        ("quorum describe", "User:viewer may not Describe the cluster"),
        ("group describe theirs", 'User:viewer may not Describe the group "theirs"'),
        ("tail hidden --from start --until end", 'Describe the topic "hidden"'),
    ],
)
def test_lacking_rights_name_who_what_and_on_what(logctl, rights, words, said) -> None:
    told = logctl("viewer", *words.split())
    assert told.code == 1
    assert said in told.err
    assert "allowed by: logctl acl add User:viewer --" in told.err


def test_what_may_be_seen_is_shown_and_the_rest_is_named(logctl, rights) -> None:
    assert [each["topic"] for each in logctl("viewer", "topic", "list").data] == ["seen"]
    told = logctl("viewer", "topic", "describe", "seen")
    assert told.code == 10
    assert told.data["partitions"][0]["end_offset"] == 0
    assert "may not DescribeConfigs" in told.err
    assert_watch_says(logctl, "viewer", "sampled: may miss changes", "CLUSTER_AUTHORIZATION_FAILED")


@pytest.mark.parametrize(
    ("words", "kind", "did"),
    [
        ("topic list", "topic", "listed"),
        ("partition list", "topic", "listed"),
        ("group list", "group", "listed"),
        ("query topics", "topic", "looked at"),
    ],
)
def test_an_empty_list_says_that_more_may_be_hidden(logctl, rights, words, kind, did) -> None:
    told = logctl("nobody", *words.split())
    assert (told.code, told.data) == (0, [])
    assert f"Only {kind}s that User:nobody may describe are {did}." in told.err
    assert f"logctl acl add User:nobody --{kind} '*' --operation describe" in told.err
    assert logctl("SCRAM-SHA-512", *words.split()).err == ""


def test_a_condition_says_what_it_could_not_look_at(logctl, rights) -> None:
    told = logctl("nobody", "query", "--assert", "all groups have lag < 1")
    assert "Only groups that User:nobody may describe are looked at." in told.err
    waited = logctl("viewer", "wait", "all partitions have isr >= 1", "--within", "60s")
    assert waited.err.count("Only topics that User:viewer may describe are looked at.") == 1


def test_a_list_that_is_not_empty_tells_people_and_not_scripts(logctl, rights) -> None:
    assert logctl("viewer", "topic", "list").err == ""
    told = logctl("viewer", "topic", "list", "--format", "table")
    assert "Only topics that User:viewer may describe are listed.\n" in told.err
    assert "hidden" not in told.out.decode()
    counted = logctl("viewer", "broker", "list", "--format", "table")
    assert "Only topics that User:viewer may describe are counted." in counted.err


def test_no_secret_is_left_anywhere(saved: Path, kafka) -> None:
    """Neither in the arguments of a process, nor in what it writes, with --debug and in files."""
    line = ["--debug", "--context", "SCRAM-SHA-512", "watch", "--from-start", "--max", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "shell.main", *line],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    out, _ = process.communicate(timeout=120)
    assert b"ControllerChanged" in out, out
    change = ["--debug", "--context", "PLAIN", "--yes", "topic", "create", "traces"]
    done = subprocess.run(
        [sys.executable, "-m", "shell.main", *change], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    kept = [path for path in saved.rglob("*") if path.is_file()]
    assert kept
    everything = [arguments, out, done.stdout, done.stderr, *(each.read_bytes() for each in kept)]
    for secret in PASSWORDS.values():
        assert all(secret.encode() not in each for each in everything)
    assert os.environ["OPERATOR_SECRET"] == PASSWORDS["operator"]


class CountingNetwork(TlsNetwork):
    """Counts the connections that are opened."""

    opened = 0

    async def connect(self, host: str, port: int, factory: Any) -> Any:
        """As of TlsNetwork."""
        self.opened += 1
        return await super().connect(host, port, factory)


def counting(security) -> CountingNetwork:
    return CountingNetwork(security.tls)


async def until(condition: Callable[[], bool], what: str) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.02)
    assert condition(), f"not within {WAIT_S} s: {what}"


async def test_feed_and_polls_outlive_their_sessions_on_one_connection(kafka) -> None:
    security = security_of(kafka, "operator")
    feed_network, admin_network = counting(security), counting(security)
    place = [kafka.place("SASL")]
    modes: list[str] = []
    events: list[tuple[int, str | None]] = []
    async with (
        AdminClient(place, security=security, network=admin_network) as admin,
        ClusterFeed(place, security=security, network=feed_network) as feed,
    ):

        async def read() -> None:
            async for update in feed.updates():
                modes.append(update.status.mode)
                events.extend(
                    (each.offset, each.topic)
                    for each in update.events
                    if each.kind is EventKind.TOPIC_CREATED
                )

        reading = asyncio.create_task(read())
        answers: list[Any] = []
        poller = Poller(
            {"quorum": Questions(admin, lambda _: []).kinds()["quorum"]},
            on_answer=lambda _, answer: answers.append(answer),
        )
        poller.want([Poll("quorum")])
        polling = asyncio.create_task(poller.run())
        await until(lambda: feed.status.mode == "live", "the feed is live")
        names = [f"session-{number}" for number in range(2)]
        opened = feed_network.opened
        for name in names:
            await admin.create_topic(name, 1, 1)
            # Each of these pauses is longer than what is left of a session.
            await asyncio.sleep(SESSION_MS / 1000)
        await until(lambda: [topic for _, topic in events] == names, "each topic, once")
        assert reading.done() is False
        reading.cancel()
        polling.cancel()
        await asyncio.gather(reading, polling, return_exceptions=True)
    assert set(modes[modes.index("live") :]) == {"live"}
    assert feed_network.opened == opened
    assert admin_network.opened == 1
    assert not [answer.problem for answer in answers if answer.problem]


async def test_another_cluster_is_refused_and_never_drawn(kafka) -> None:
    security = security_of(kafka, "operator", "SCRAM-SHA-256")
    place = [kafka.place("SASL")]
    feed = ClusterFeed(place, security=security, cluster_id=OTHER_CLUSTER)

    def admin() -> AdminClient:
        return AdminClient(place, security=security, cluster_id=OTHER_CLUSTER)

    app = DashboardApp(place, feed=feed, name="pinned", admin_of=admin)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: app.store.status.refusal == "wrong cluster", "the refusal")
        await pilot.pause()
        shown = str(app.query_one("#status").render())
        assert "WRONG CLUSTER" in shown
        assert kafka.cluster_id in shown
        assert app.query_one("#status").size.height >= 2
        assert not app.store.is_live()
        assert app.known_names()["topic"] == []
        assert not app.store.view.brokers


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_the_dashboard_is_live_asks_and_acts(kafka, saved, mechanism) -> None:
    security = security_of(kafka, "operator", mechanism)
    place = [kafka.place("SASL")]
    commander = ProcessCommander(["--context", mechanism], deploys=False)
    target = Target(
        name=mechanism,
        bootstrap=place,
        feed=ClusterFeed(place, security=security, cluster_id=kafka.cluster_id),
        admin_of=lambda: AdminClient(place, security=security, cluster_id=kafka.cluster_id),
        commander=commander,
    )
    topic = f"drawn-{mechanism.lower()}"
    app = DashboardApp(
        target.bootstrap, feed=target.feed, admin_of=target.admin_of, commander=commander
    )
    async with app.run_test(size=(120, 40)):
        await until(lambda: app.store.status.mode == "live", "the feed is live")
        await until(lambda: app.store.answer(Poll("quorum")).value is not None, "a poll")
        lines: list[str] = []
        code = await commander.run(
            ["--yes", "topic", "create", topic, "--partitions", "1"], lines.append
        )
        assert code == 0, lines
        await until(lambda: topic in app.known_names()["topic"], "the new topic on the screen")


async def test_the_right_that_the_metadata_log_needs_is_named(kafka) -> None:
    place = [kafka.place("SASL")]
    describe = Acl(
        principal="User:nobody",
        host="*",
        operation="describe",
        permission="allow",
        resource="cluster",
        name="kafka-cluster",
        pattern="literal",
    )
    security = security_of(kafka, "operator", "SCRAM-SHA-512")
    async with AdminClient(place, security=security) as admin:
        await admin.create_acls([describe])
    async with ClusterFeed(place, security=security_of(kafka, "nobody", "SCRAM-SHA-512")) as feed:
        await until(lambda: feed.status.mode == "sampled", "the feed samples")
        assert "needs CLUSTER_ACTION on the cluster" in feed.status.message
        way = "logctl acl add User:nobody --cluster --operation cluster-action"
        assert f"allowed by: {way}" in feed.status.message
        assert feed.status.message.startswith("sampled: may miss changes (localhost:")


async def test_the_feed_goes_on_with_the_password_that_the_context_has_by_then(
    kafka, tmp_path, monkeypatch
) -> None:
    """A password is changed on the cluster while the feed runs, and in its file a while later."""
    transports: list[asyncio.Transport] = []
    connect = TlsNetwork.connect

    async def remembered(self: TlsNetwork, host: str, port: int, factory: Any) -> Any:
        made = await connect(self, host, port, factory)
        transports.append(made[0])
        return made

    monkeypatch.setattr(TlsNetwork, "connect", remembered)
    secret, mechanism = tmp_path / "secret", "SCRAM-SHA-256"
    write_private(secret, b"monitor-before")
    context = Context(
        name="rotated",
        bootstrap=[kafka.place("SASL")],
        properties=properties_of(kafka, "monitor", mechanism),
        secrets={"sasl.password": f"file:{secret}"},
    )
    doors = Doors()
    doors.contexts = lambda: {"rotated": context}  # type: ignore[method-assign]
    output = Output(stdout=io.BytesIO(), stderr=io.StringIO())
    session = Session(Settings(context="rotated"), output, doors)
    async with AdminClient(context.bootstrap, security=security_of(kafka, "operator")) as admin:
        await admin.set_scram([salted("monitor", mechanism, "monitor-before")])
        async with session.feed(from_start=False) as feed:
            created: list[str | None] = []

            async def read() -> None:
                async for update in feed.updates():
                    kind = EventKind.TOPIC_CREATED
                    created.extend(each.topic for each in update.events if each.kind is kind)

            reading = asyncio.create_task(read())
            await until(lambda: feed.status.mode == "live", "the feed is live")
            await admin.set_scram([salted("monitor", mechanism, "monitor-after")])
            for transport in transports:
                transport.abort()
            await until(lambda: feed.status.refusal == "not let in", "the refusal")
            said = feed.status.message
            assert f'{mechanism} as "monitor"' in said
            assert f"sasl.password from {secret}, too" in said
            assert "monitor-before" not in said
            await admin.create_topic("while-kept-out", 1, 1)
            secret.write_text("monitor-after")
            await until(lambda: feed.status.mode == "live", "the feed goes on")
            await until(lambda: created == ["while-kept-out"], "what came meanwhile, once")
            assert not reading.done()
            reading.cancel()
