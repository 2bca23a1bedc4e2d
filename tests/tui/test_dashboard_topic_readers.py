"""Who reads a topic: those further behind first where there is no room for all."""

from dataclasses import replace

from clusters.admin import Gathered, PartitionLag
from tests.tui.piloting import until
from tui.app import DashboardApp
from tui.pages.base import Place


def lag_of(topic: str, lag: int) -> Gathered:
    """A group that reads one partition."""
    told = PartitionLag(
        topic=topic, partition=0, committed=0, start=0, end=lag, lag=lag, member=None
    )
    return Gathered((told,))


async def readers(cluster_class, lags: dict[str, object]) -> str:
    """What the page of a topic says of those who read it."""
    cluster = cluster_class()
    cluster.create_topic("orders", 3)
    cluster.polled["lags"] = lags
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds())
    async with app.run_test(size=(120, 36)) as pilot:
        await cluster.tell(replaying=True)
        app.open_place(Place("topic", "orders"))
        panel = lambda: app.page.texts["readers"]  # noqa: E731
        await until(pilot, lambda: app.page.is_mounted and panel().size.height, "the page")
        await until(pilot, lambda: "asking" not in str(panel().content), "an answer")
        await until(pilot, lambda: str(panel().content), "what is said of readers")
        assert len(str(panel().content).splitlines()) <= panel().size.height
        return str(panel().content)


async def test_all_are_named_where_there_is_room(cluster_class) -> None:
    lags = {"shipping": lag_of("orders", 7), "billing": lag_of("orders", 0)}
    said = await readers(cluster_class, {**lags, "other": lag_of("payments", 5)})
    assert [line.split()[:3] for line in said.splitlines()] == [
        ["billing", "lag", "0"],
        ["shipping", "lag", "7"],
    ]


async def test_those_further_behind_are_named_where_there_is_none(cluster_class) -> None:
    lags = {f"group{number:02}": lag_of("orders", number) for number in range(40)}
    said = (await readers(cluster_class, lags)).splitlines()
    shown = [int(line.split()[2]) for line in said[:-1]]
    assert shown == list(range(39, 39 - len(shown), -1))
    assert said[-1] == f"and {40 - len(shown)} groups that are less behind"


async def test_a_long_name_leaves_the_lag_in_sight(cluster_class) -> None:
    name = "group-" + "g" * 240
    said = (await readers(cluster_class, {name: lag_of("orders", 7)})).splitlines()
    assert len(said) == 1
    assert said[0].startswith("group-ggg")
    assert "…  lag 7" in said[0]


async def test_what_a_leader_does_not_answer_for_is_not_taken_for_no_lag(cluster_class) -> None:
    [told] = lag_of("orders", 7)
    silent = replace(told, partition=1, committed=9, end=None, lag=None)
    said = await readers(cluster_class, {"billing": Gathered((told, silent))})
    assert said.startswith("billing  lag ≥7")
