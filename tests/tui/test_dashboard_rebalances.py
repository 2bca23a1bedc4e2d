"""A group that rebalances without end looks stable every other time: it is counted."""

from types import SimpleNamespace

from clusters.polls import Answer, Poll
from tests.tui.piloting import until
from tui.rebalances import Rebalances
from tui.store import GROUPS, Store


def seen(*looks: tuple[str, tuple[str, ...] | None]) -> int:
    """How many rebalances are counted in looks that are (state, members)."""
    kept = Rebalances()
    for at_ms, (state, members) in enumerate(looks):
        kept.saw("g", state, at_ms, members)
    return len(kept.since("g", 0))


def test_each_one_that_is_seen_to_begin_counts_once() -> None:
    moving, stable = ("PreparingRebalance", None), ("Stable", None)
    assert seen(stable, moving, moving, ("CompletingRebalance", None), stable) == 1
    assert seen(stable, moving, stable, moving, stable) == 2
    # It was under way when it was first looked at: who knows since when.
    assert seen(moving, stable) == 0


def test_one_between_two_looks_is_known_by_its_members() -> None:
    assert seen(("Stable", ("a", "b")), ("Stable", ("a", "b"))) == 0
    assert seen(("Stable", ("a", "b")), ("Stable", ("a",))) == 1
    assert seen(("Stable", ("a",)), ("PreparingRebalance", ("a",)), ("Stable", ("a", "b"))) == 1


def test_the_list_of_groups_counts_as_well_and_time_passes(cluster) -> None:
    store = Store(cluster.status)
    for second, state in enumerate(("Stable", "PreparingRebalance") * 3):
        row = SimpleNamespace(group="billing", state=state)
        store.take(GROUPS, Answer((row,), second * 1_000))
    assert len(store.rebalances.since("billing", 0)) == 3
    assert len(store.rebalances.since("billing", 4_000)) == 1


async def test_the_page_of_the_group_says_it(cluster, open_dashboard) -> None:
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 36)) as pilot:
        await cluster.tell(replaying=True)
        app.store.take(GROUPS, Answer((), 1))
        await pilot.press("colon", *"group billing", "enter")
        await until(pilot, lambda: app.place.kind == "group", "its page")
        now = app.now_ms()
        for step in range(7):
            member = SimpleNamespace(
                member_id=str(step), instance_id=None, client_id="c", host="h", partitions=()
            )
            detail = SimpleNamespace(
                group="billing",
                state="Stable",
                protocol_type="consumer",
                assignor="range",
                coordinator=1,
                generation=None,
                members=(member,),
            )
            at_ms = now - 120_000 + step * 20_000
            app.store.take(Poll("group", "billing"), Answer(detail, at_ms))
        app.page.paint()
        said = str(app.page.texts["facts"].content)
        assert "↻ rebalanced 6 times in 100 s" in said
