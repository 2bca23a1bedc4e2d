"""The dashboard on three secured nodes of Apache Kafka: a controller that is killed, a throttled
move, a user who may see little.

One file, so that one worker starts one cluster.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from broker.protocol.api_keys import ApiKey
from clusters import state
from clusters.admin import Acl, AdminClient, AdminError
from clusters.admin.throttles import throttles
from clusters.polls import Poll
from clusters.watch import ClusterFeed, EventKind
from tests.real_kafka import require_kafka, until_up
from tests.secured.certificates import Certificates
from tests.secured.conftest import properties_of, security_of
from tests.secured.secured_kafka import SecuredThree, secret_file
from tui.app import DashboardApp
from tui.attention import troubles
from tui.rights import limit_note

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]
WAIT_S = 60.0


@pytest.fixture(scope="module")
def three(certificates: Certificates) -> Iterator[SecuredThree]:
    """The nodes, up."""
    require_kafka()
    with SecuredThree(certificates) as three:
        asyncio.run(until_up(three.places("SASL"), 3, security_of(three, "operator")))
        yield three


async def until(condition: Callable[[], object], what: str) -> None:
    limit = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < limit, f"not within {WAIT_S} s: {what}"
        await asyncio.sleep(0.02)


def dashboard(three: SecuredThree, user: str) -> DashboardApp:
    security, places = security_of(three, user), three.places("SASL")
    return DashboardApp(
        places,
        feed=ClusterFeed(places, security=security, cluster_id=three.cluster_id),
        name=user,
        admin_of=lambda: AdminClient(places, security=security, cluster_id=three.cluster_id),
    )


@pytest.fixture
def logctl(three, tmp_path) -> Callable[..., subprocess.Popen[str]]:
    """`logctl` in a process of its own, as the operator."""
    secret = secret_file(tmp_path, "operator")
    context = state.Context(
        name="operator",
        bootstrap=three.places("SASL"),
        properties=properties_of(three, "operator"),
        secrets={"sasl.password": f"file:{secret}"},
    )
    environ = os.environ | {f"XDG_{each}_HOME": str(tmp_path) for each in ("DATA", "STATE")}
    environ["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", environ["XDG_CONFIG_HOME"])
        state.save_context(context, whole=True)

    def start(*words: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "shell.main", "--context", "operator", "--yes", *words],
            env=environ,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def created(app: DashboardApp) -> list[str]:
    """Topics that the dashboard was told to be new, as often as it was told."""
    kind = EventKind.TOPIC_CREATED
    return [each.topic or "" for each in app.store.view.events if each.kind is kind]


async def test_the_dashboard_goes_on_with_the_next_controller(three) -> None:
    app = dashboard(three, "operator")
    operator, places = security_of(three, "operator"), three.places("SASL")
    async with app.run_test(size=(120, 40)), AdminClient(places, security=operator) as admin:
        await until(lambda: app.store.status.mode == "live", "the feed is live")
        await until(lambda: app.store.controller_id() > 0, "the controller is told")
        await admin.create_topic("before", 3, 3)
        await until(lambda: created(app) == ["before"], "the first topic, told once")
        killed = app.store.controller_id()
        three.kill(killed)
        await until(lambda: app.store.controller_id() not in (-1, killed), "the next controller")
        await until(lambda: app.store.status.mode == "live", "live with the next controller")

        def state() -> str:
            return next(row.state for row in app.store.view.brokers if row.id == killed)

        await until(lambda: state() != "up", "the node that was killed is told to be down")
        left = [each for each in places if each != three.place("SASL", killed)]
        async with AdminClient(left, security=operator) as other:
            await other.create_topic("after", 3, 2)
        await until(lambda: "after" in created(app), "the topic of after the failover")
        three.start(killed)
        await until(lambda: state() == "up", "the node is back")
        poll = Poll("quorum")
        await until(
            lambda: (
                app.store.answer(poll).value is not None
                and app.store.answer(poll).value.leader_id == app.store.controller_id()
                and not app.store.answer(poll).problem
            ),
            "quorum and feed name the same controller",
        )
        assert created(app) == ["before", "after"]
        assert app.store.status.refusal == ""


async def heard(process: subprocess.Popen[str]) -> tuple[int, str]:
    """How a command ended, and all that it said."""
    out, _ = await asyncio.to_thread(process.communicate, timeout=WAIT_S)
    return process.returncode, out


async def test_a_throttled_move_is_followed_and_leaves_nothing_behind(three, logctl) -> None:
    """Interrupted it says what stays; cancelled and done it takes its throttle along."""
    operator, places = security_of(three, "operator"), three.places("SASL")
    app = dashboard(three, "operator")
    async with app.run_test(size=(120, 40)), AdminClient(places, security=operator) as admin:
        await admin.create_topic("heavy", 1, 1)
        process = logctl("produce", "heavy", stdin=subprocess.PIPE)
        process.stdin.write(f"{'x' * 1000}\n" * 3000)
        assert (await heard(process))[0] == 0
        [(_, before)] = [
            (each.partition, each.replicas) for each in await admin.partitions(["heavy"])
        ]
        other = next(node for node in three.ports if node not in before)
        move = ["partition", "move", f"heavy:0={other}", "--wait", "--throttle"]
        process = logctl(*move, "50KB")
        await until(lambda: app.store.view.health().moving, "the move is seen")
        assert app.store.throttles().topics == ("heavy",)
        assert app.store.throttles().rate_words([*before, other]) == "at most 48.8 KiB/s"
        assert app.store.left_throttled() == []
        process.send_signal(signal.SIGINT)
        code, said = await heard(process)
        assert code not in (0, None)
        # It goes on; seen by the dashboard, it may not yet have been answered to the command.
        assert "stays throttled." in said
        assert (await throttles(admin)).replicas.keys() == {"heavy"}
        code, said = await heard(logctl("partition", "move", "--cancel", "heavy"))
        assert (code, "The throttle is removed." in said) == (0, True), said
        await until(lambda: not app.store.throttles().topics, "the dashboard hears of that")
        assert not await throttles(admin)
        code, said = await heard(logctl(*move, "20MB"))
        assert (code, "The throttle is removed." in said) == (0, True), said
        assert not await throttles(admin)
        assert [each.replicas for each in await admin.partitions(["heavy"])] == [(other,)]


async def test_who_may_see_little_is_told_of_the_rest_and_how_to_see_it(three) -> None:
    operator, places = security_of(three, "operator"), three.places("SASL")
    async with AdminClient(places, security=operator) as admin:
        for name in ("seen", "unseen"):
            await admin.create_topic(name, 1, 1)
        rule = {"principal": "User:viewer", "host": "*", "operation": "describe"}
        await admin.create_acls(
            [Acl(**rule, permission="allow", resource="topic", name="seen", pattern="literal")]
        )
        await admin.check_topics(ApiKey.DELETE_TOPICS, ["seen"])
        await admin.check_cluster(ApiKey.ELECT_LEADERS)
    async with AdminClient(places, security=security_of(three, "viewer")) as viewer:
        # What a dry run asks.
        with pytest.raises(AdminError, match="Would be refused: User:viewer may not Delete the to"):
            await viewer.check_topics(ApiKey.DELETE_TOPICS, ["seen"])
        with pytest.raises(AdminError, match="Would be refused: User:viewer may not Alter the clu"):
            await viewer.check_cluster(ApiKey.ELECT_LEADERS)
    app = dashboard(three, "viewer")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: app.store.view.topics, "topics")
        assert [row.name for row in app.store.view.topics] == ["seen"]
        assert app.store.status.mode == "sampled"
        way = "logctl acl add User:viewer --cluster --operation describe"
        assert f"allowed by: {way}" in app.store.status.message

        def denied() -> list[str]:
            found = [each for each in troubles(app.store, 0) if each.todo == way]
            return [each.words for each in found]

        said = "may not describe the cluster: no log, quorum, sizes"
        await until(lambda: denied() == [said], "what is not told")
        await until(lambda: limit_note(app.store, "topic"), "that there may be more topics")
        await pilot.press("3")
        note = "only those that User:viewer may describe"
        await until(lambda: app.page.KIND == "topics", "the topics")
        await until(lambda: app.page.tables["topics"].note == note, "the note")
        app.run_command("topic unseen")
        await until(lambda: len(app._notifications), "an answer")
        [told] = [each.message for each in app._notifications]
        assert told == (
            'There is no topic "unseen". Did you mean "seen"?'
            " Only those that User:viewer may describe are listed."
        )
