"""The dashboard on three secured nodes of Apache Kafka: a controller that is killed.

One file, so that one worker starts one cluster.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from clusters.admin import AdminClient
from clusters.polls import Poll
from clusters.watch import ClusterFeed, EventKind
from tests.real_kafka import require_kafka, until_up
from tests.secured.certificates import Certificates
from tests.secured.conftest import security_of
from tests.secured.secured_kafka import SecuredThree
from tui.app import DashboardApp

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
