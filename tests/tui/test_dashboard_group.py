"""The page of one group: what its lag counts, what it cannot count, and that its lines fit."""

from dataclasses import replace

import pytest

from broker.protocol.errors import ErrorCode
from clusters.admin import GroupDetail, PartitionLag
from clusters.admin.errors import AdminError

UNREAD = "2 partitions without a commit, not counted"


def lags(uncommitted: tuple[int, ...]) -> tuple[PartitionLag, ...]:
    return tuple(
        PartitionLag(
            topic="orders",
            partition=index,
            committed=None if index in uncommitted else 10,
            start=0,
            end=1_000,
            lag=None if index in uncommitted else 990,
            member=None,
        )
        for index in range(6)
    )


@pytest.mark.parametrize("width", [60, 80])
async def test_lag_of_partitions_without_a_commit_is_said_to_be_missing(
    cluster, open_dashboard, width
) -> None:
    answers = {"lag": lags((1, 4))}
    cluster.polled.update(
        {
            "lag": lambda _: answers["lag"],
            "group": GroupDetail(
                group="mailer",
                state="Stable",
                protocol_type="consumer",
                assignor="range",
                coordinator=2,
                generation=None,
                members=(),
            ),
        }
    )
    app = open_dashboard(cluster)
    async with app.run_test(size=(width, 30)) as pilot:
        await cluster.tell()
        app.run_command("group mailer")
        facts = app.page.texts["facts"]

        async def until(words: str, there: bool = True) -> None:
            for _ in range(1500):
                cluster.now_ms += 50
                await pilot.pause(0.02)
                drawn = (facts.render_line(y).text for y in range(facts.size.height))
                if (words in "\n".join(drawn)) is there:
                    return
            raise AssertionError(f"{words}: {facts.content}")

        await until(UNREAD)
        assert "lag 3960 " in str(facts.content)
        # A leader that does not answer: what it has is not counted, and that is said.
        answers["lag"] = (*lags(())[:5], replace(lags(())[5], start=None, end=None, lag=None))
        await until("lag ≥4950 ")
        await until("1 partitions whose leader does not answer, not counted")
        answers["lag"] = lags((1, 4))
        await until(UNREAD)
        assert "lag 3960" in str(facts.content)
        answers["lag"] = lags(())
        await until(UNREAD, there=False)
        assert "lag 5940" in str(facts.content)
        if width >= 80:
            # Its trend takes what is left of the line, and no more.
            await until("█")
            last = str(facts.content).splitlines()[-1]
            assert len(last) <= width - 4


async def test_a_group_that_is_deleted_leaves_nothing_of_it_on_its_page(
    cluster, open_dashboard
) -> None:
    detail = GroupDetail(
        group="mailer",
        state="Empty",
        protocol_type="consumer",
        assignor="range",
        coordinator=2,
        generation=None,
        members=(),
    )
    cluster.polled.update({"lag": lags(()), "group": detail})
    app = open_dashboard(cluster)
    async with app.run_test(size=(100, 30)) as pilot:
        await cluster.tell()
        app.run_command("group mailer")
        page = app.page

        async def until(words: str, rows: int) -> str:
            for _ in range(1500):
                cluster.now_ms += 50
                await pilot.pause(0.02)
                said = str(page.texts["facts"].content)
                if words in said and len(page.tables["lags"].shown) == rows:
                    return said
            raise AssertionError(f"{words}: {page.texts['facts'].content}")

        await until("Empty", 6)
        # Brokers word it as they like.
        gone = AdminError("Group mailer not found.", code=int(ErrorCode.group_id_not_found))
        cluster.polled.update({"lag": gone, "group": gone})
        said = await until("There is no group mailer. It was there", 0)
        assert "Empty" not in said
        assert str(page.texts["members"].content) == ""
        # Made again under the same name, it is there again.
        cluster.polled.update({"lag": lags(()), "group": detail})
        await until("Empty", 6)
