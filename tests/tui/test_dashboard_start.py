"""A dashboard that begins with another page: there at once, and told when there is no such thing."""

from contextlib import asynccontextmanager

import pytest

from broker.protocol.errors import ErrorCode
from clusters.admin import AdminError, GroupSummary
from tests.tui.piloting import until
from tui.pages.base import Place
from tui.starting import start_place


@asynccontextmanager
async def shown(cluster, open_dashboard, start: str):
    app = open_dashboard(cluster, start=start)
    async with app.run_test(size=(120, 40)) as pilot:
        yield app, pilot


def told(app) -> list[str]:
    return [note.message for note in app._notifications]


@pytest.mark.parametrize("start", ["topics", "topic orders", "settings broker 2", "events Leader"])
async def test_it_stands_before_the_cluster_was_heard(cluster, open_dashboard, start) -> None:
    async with shown(cluster, open_dashboard, start) as (app, pilot):
        await until(pilot, lambda: app.page.is_mounted, "the page")
        assert app.place == start_place(start)
        await cluster.tell(replaying=True)
        await until(pilot, lambda: bool(app.store.view.topics), "the cluster")
        await until(pilot, lambda: not any(w.group == "start" for w in app.workers), "the look")
        assert app.place == start_place(start)
        assert not told(app)
        await pilot.press("1")
        await until(pilot, lambda: app.place == Place("overview"), "the overview")


@pytest.mark.parametrize(
    ("start", "listed", "said"),
    [
        ("topic ordes", "topics", 'There is no topic "ordes". Did you mean "orders"?'),
        ("records xyz:3", "topics", 'There is no topic "xyz".'),
        ("settings topic", "topics", 'There is no topic "topic".'),
        ("settings broker 9", "brokers", 'There is no broker "9".'),
        ("broker 77", "brokers", 'There is no broker "77".'),
    ],
)
async def test_what_there_is_not_is_told_with_what_there_is(
    cluster, open_dashboard, start, listed, said
) -> None:
    async with shown(cluster, open_dashboard, start) as (app, pilot):
        await cluster.tell(replaying=True)
        await until(pilot, lambda: bool(told(app)), "it is told")
        assert told(app)[0].startswith(said)
        assert app.place == Place(listed)


async def test_a_group_that_there_is_not(cluster, open_dashboard) -> None:
    cluster.polled["group"] = AdminError(
        "Group paymnets not found.", code=int(ErrorCode.group_id_not_found)
    )
    cluster.polled["lag"] = cluster.polled["lags"] = {}
    cluster.polled["groups"] = [
        GroupSummary(
            group="payments",
            state="Stable",
            protocol_type="consumer",
            group_type="classic",
            coordinator=1,
        )
    ]
    async with shown(cluster, open_dashboard, "group paymnets") as (app, pilot):
        await cluster.tell(replaying=True)
        await until(pilot, lambda: bool(told(app)), "it is told")
        assert told(app)[0] == 'There is no group "paymnets". Did you mean "payments"?'
        assert app.place == Place("groups")
