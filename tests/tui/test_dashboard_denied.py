"""What this client may not see is told as that: never as empty, gone, caught up, or not there."""

from dataclasses import replace

import pytest

from clusters.admin import AdminError, Failure, Gathered, GroupDetail, GroupSummary
from clusters.admin.denied import Rights
from tests.tui.piloting import until
from tui.rights import RIGHTS

WHO = "User:viewer"
CLUSTER = (
    f"{WHO} may not Describe the cluster (CLUSTER_AUTHORIZATION_FAILED); "
    f"allowed by: logctl acl add {WHO} --cluster --operation describe"
)
CONFIGS = (
    f'The settings of topic "orders": {WHO} may not DescribeConfigs the topic "orders" '
    f"(TOPIC_AUTHORIZATION_FAILED); allowed by: "
    f"logctl acl add {WHO} --topic orders --operation describe-configs"
)
SIZES = [120, 36], [80, 24]


@pytest.fixture
def limited(cluster):
    """A cluster of which only some topics and two groups may be described."""
    cluster.status = replace(
        cluster.status,
        mode="sampled",
        message=f"sampled: may miss changes (the brokers do not tell: {CLUSTER})",
    )
    summaries = tuple(
        GroupSummary(
            group=name, state="Empty", protocol_type="consumer", group_type="", coordinator=1
        )
        for name in ("hidden", "seen")
    )
    detail = GroupDetail(
        group="hidden",
        state="Empty",
        protocol_type="consumer",
        assignor="",
        coordinator=1,
        generation=None,
        members=(),
    )
    failures = tuple(
        Failure(where=f"broker {node}", what="log dirs", reason=CLUSTER) for node in (1, 2, 3)
    )
    cluster.polled |= {
        "rights": Rights(WHO, frozenset({"describe", "alter"})),
        "ends": {("orders", 0): 5},
        "groups": Gathered(summaries),
        "lags": {"hidden": [], "seen": []},
        "group": detail,
        "lag": Gathered(()),
        "log dirs": Gathered((), failures),
        "configs": AdminError(CONFIGS, code=29),
    }
    return cluster


def screen(app) -> str:
    """All that is drawn, line by line."""
    return "\n".join(
        "".join(segment.text for segment in line) for line in app.screen._compositor.render_strips()
    )


async def go(pilot, app, words: str, said: str) -> str:
    await pilot.press("colon", *words, "enter")
    try:
        await until(pilot, lambda: said in screen(app), f"{words}: {said}")
    except AssertionError:
        raise AssertionError(f"{words}: {said}, but:\n{screen(app)}") from None
    return screen(app)


@pytest.mark.parametrize("size", SIZES)
async def test_each_page_says_what_it_may_not_show(limited, open_dashboard, size) -> None:
    app = open_dashboard(limited)
    async with app.run_test(size=tuple(size)) as pilot:
        await limited.tell(replaying=True)
        await until(pilot, lambda: app.store.view.topics, "topics")
        only = f"only those that {WHO} may describe"
        for page in ("topics", "partitions", "groups"):
            await go(pilot, app, page, only)
        await go(pilot, app, "brokers", f"⚠ sizes of 3 not told: {WHO} may not Describe")
        drawn = await go(pilot, app, "broker 1", "⚠ log dirs not told")
        assert f"logctl acl add {WHO} --cluster --operation describe" in drawn
        await go(pilot, app, "topic orders", f'⚠ The settings of topic "orders": {WHO}'[:30])
        drawn = await go(pilot, app, "group hidden", f"of topics {only}")
        assert "of no topic that may be seen" in drawn
        assert "caught up" not in drawn


async def test_one_line_names_the_rule_that_lacks_and_all_that_lacks_for_it(
    limited, open_dashboard
) -> None:
    app = open_dashboard(limited)
    async with app.run_test(size=(120, 36)) as pilot:
        await limited.tell(replaying=True)
        said = (
            "⊘ may not describe the cluster: no log, sizes   "
            f"→ logctl acl add {WHO} --cluster --operation describe"
        )
        await until(pilot, lambda: said in screen(app), "the line")
        only = f"only those that {WHO} may describe"
        await until(pilot, lambda: only in screen(app), "that there may be more partitions")


async def test_a_group_whose_topics_may_not_be_seen_has_not_caught_up(
    limited, open_dashboard
) -> None:
    app = open_dashboard(limited)
    async with app.run_test(size=(160, 40)) as pilot:
        await limited.tell(replaying=True)
        drawn = await go(pilot, app, "groups", "reads no topic that User")
        assert "caught up" not in drawn
        assert "no members" not in drawn


async def test_who_may_see_all_is_told_of_no_limit(limited, open_dashboard) -> None:
    limited.polled["rights"] = Rights(WHO, frozenset())
    app = open_dashboard(limited)
    async with app.run_test(size=(120, 36)) as pilot:
        await limited.tell(replaying=True)
        await go(pilot, app, "topics", "Topics (")
        await until(pilot, lambda: app.store.answers, "answers")
        assert "may describe" not in screen(app)


async def test_what_is_not_listed_may_be_there_all_the_same(limited, open_dashboard) -> None:
    app = open_dashboard(limited)
    async with app.run_test(size=(120, 36)) as pilot:
        await limited.tell(replaying=True)
        await until(pilot, lambda: app.store.answer(RIGHTS).value, "rights")
        await until(pilot, lambda: app.store.view.topics, "topics")
        for words in ("topic secret", "settings secret", "records secret"):
            await pilot.press("colon", *words, "enter")
            await until(pilot, lambda: len(app._notifications), "a word of that")
            [said] = [each.message for each in app._notifications]
            assert said.startswith('There is no topic "secret".')
            assert said.endswith(f"Only those that {WHO} may describe are listed.")
            app.clear_notifications()
