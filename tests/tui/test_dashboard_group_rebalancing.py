"""While a group rebalances nobody has its partitions: that is not said as if nobody read them."""

from dataclasses import replace

from clusters.admin import GroupDetail, GroupMember, PartitionLag
from tests.tui.piloting import until

MEMBER = GroupMember(
    member_id="reader-1",
    instance_id=None,
    client_id="reader",
    host="127.0.0.1",
    partitions=(("orders", 0), ("orders", 1)),
)
STABLE = GroupDetail(
    group="mailer",
    state="Stable",
    protocol_type="consumer",
    assignor="range",
    coordinator=2,
    generation=4,
    members=(MEMBER,),
)
# As brokers tell it: members without what they have.
MOVING = replace(
    STABLE, state="PreparingRebalance", members=(replace(MEMBER, partitions=()),), generation=None
)
LAGS = tuple(
    PartitionLag(topic="orders", partition=n, committed=10, start=0, end=20, lag=10, member=None)
    for n in range(3)
)


def drawn(page) -> list[str]:
    table = page.tables["lags"]
    return [table.render_line(line).text for line in range(1, 1 + len(table.shown))]


async def test_who_had_a_partition_stands_there_until_somebody_has_it(
    cluster, open_dashboard
) -> None:
    cluster.polled |= {"lag": LAGS, "group": STABLE}
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 36)) as pilot:
        await cluster.tell(replaying=True)
        app.run_command("group mailer")
        page = app.page
        await until(pilot, lambda: page.tables["lags"].shown, "rows")
        await until(pilot, lambda: "reader" in drawn(page)[0], "the reader")
        assert "nobody" in drawn(page)[2]
        cluster.now_ms += 4_000
        cluster.polled["group"] = MOVING
        await until(pilot, lambda: "was reader, 4 s ago" in drawn(page)[0], "who it was")
        assert "rebalancing" in drawn(page)[2]
        assert "nobody" not in "".join(drawn(page))
        assert "rebalancing" in str(page.texts["members"].content)
        assert "holds nothing" not in str(page.texts["members"].content)
        # Nobody was left when it was over.
        cluster.now_ms += 1_000
        cluster.polled["group"] = replace(STABLE, state="Empty", members=())
        await until(pilot, lambda: "nobody" in drawn(page)[0], "that nobody reads it")
        assert "was reader" not in "".join(drawn(page))


async def test_nothing_is_made_up_of_a_group_that_was_never_seen_to_stand_still(
    cluster, open_dashboard
) -> None:
    cluster.polled |= {"lag": LAGS, "group": MOVING}
    app = open_dashboard(cluster)
    async with app.run_test(size=(80, 24)) as pilot:
        await cluster.tell(replaying=True)
        app.run_command("group mailer")
        page = app.page
        await until(pilot, lambda: page.tables["lags"].shown, "rows")
        await until(
            pilot, lambda: all("rebalancing" in line for line in drawn(page)), "that it moves"
        )
