"""Members of the metadata quorum: one that has stopped asking is never drawn as in step."""

from clusters.admin import QuorumInfo, QuorumReplica
from tui.attention import troubles
from tui.quorum import silent_ms, standing
from tui.store import QUORUM

HOUR_MS = 3_600_000


def quorum_of(start_ms: int, fetched: dict[int, int], *, leader: int = 1) -> QuorumInfo:
    """`fetched`: seconds ago by the leader's clock, of which `start_ms` is now."""
    return QuorumInfo(
        leader_id=leader,
        leader_epoch=3,
        high_watermark=40,
        voters=[
            QuorumReplica(
                id=node,
                directory_id=None,
                log_end_offset=40,
                last_fetch_ms=start_ms - ago * 1000,
                last_caught_up_ms=start_ms - ago * 1000,
            )
            for node, ago in fetched.items()
        ],
        observers=[],
        nodes={},
    )


def test_a_voter_that_holds_all_but_asks_no_more_is_silent() -> None:
    quorum = quorum_of(1_790_000_000_000, {1: 0, 2: 34, 3: 0})
    assert standing(quorum, quorum.voters[0]) == ("in step", False)
    assert standing(quorum, quorum.voters[1]) == ("silent 34 s", True)
    assert standing(quorum, quorum.voters[2]) == ("in step", False)


def test_a_leader_whose_clock_is_an_hour_off_makes_nobody_silent(cluster) -> None:
    for skew_ms in (-HOUR_MS, HOUR_MS):
        quorum = quorum_of(cluster.now_ms + skew_ms, {1: 0, 2: 1, 3: 2})
        assert [silent_ms(quorum, each) for each in quorum.voters] == [None, 1000, 2000]
        assert not any(standing(quorum, each)[1] for each in quorum.voters)


async def test_overview_and_quorum_page_say_who_is_silent(cluster, open_dashboard) -> None:
    told = quorum_of(cluster.now_ms, {1: 0, 2: 34, 3: 0})

    async def quorum() -> QuorumInfo:
        return told

    cluster.quorum = quorum
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 36)) as pilot:
        await cluster.tell(replaying=True)
        panel = ""
        for _ in range(2000):
            cluster.now_ms += 50
            await pilot.pause(0.02)
            if app.store.answer(QUORUM).value is not None:
                app.page.paint()
                panel = str(app.page.texts["quorum"].content)
            if panel:
                break
        assert "voter 2  silent 34 s" in panel
        assert "voter 3  in step" in panel
        found = troubles(app.store, cluster.now_ms)
        assert [each.words for each in found if each.sign == "★"] == [
            "quorum: 2 of 3 voters answer; one loss more and nothing can be changed"
        ]
        await pilot.press("7")
        await pilot.pause()
        app.page.paint()
        table = app.table("quorum")
        drawn = {
            row.node: [str(column.draw(row)) for column in table.columns] for row in table.shown
        }
        assert "silent 34 s" in drawn[2]
        assert "in step" in drawn[3]
        # The log has told of a new controller: what the one before said of itself is no news.
        app.store.view.set_controller(3)
        app.page.paint()
        by_node = {row.node: row for row in table.shown}
        assert by_node[3].role == "leader"
        assert by_node[1].lag is None
