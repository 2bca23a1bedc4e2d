"""A cluster whose log cannot be read: its controller is who the quorum says, nobody else."""

from dataclasses import replace

from clusters.admin import QuorumInfo, QuorumReplica
from tests.tui.piloting import until
from tui.store import QUORUM


def voter(node: int) -> QuorumReplica:
    return QuorumReplica(
        id=node, directory_id=None, log_end_offset=9, last_fetch_ms=-1, last_caught_up_ms=-1
    )


async def test_the_controller_of_a_sampled_cluster_is_told_by_the_quorum(
    cluster, open_dashboard
) -> None:
    quorum = QuorumInfo(
        leader_id=103,
        leader_epoch=4,
        high_watermark=9,
        voters=[voter(101), voter(103)],
        observers=[],
        nodes={},
    )
    cluster.polled["quorum"] = quorum
    cluster.status = replace(
        cluster.status, mode="sampled", source="127.0.0.1:19092", controller_id=-1
    )
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 36)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.answer(QUORUM).value is not None, "the quorum")
        await until(pilot, lambda: app.store.view.controller_id == 103, "the controller")
        await pilot.press("7")

        def facts() -> str:
            return str(app.page.texts["facts"].render())

        await until(pilot, lambda: "controller 103" in facts(), "the page of the quorum")
        assert "the log is not read: what there is comes from the broker 127.0.0.1:19092" in facts()
        assert "read up to" not in facts()


async def test_that_it_is_sampled_is_said_once_and_again_after_it_was_live(
    cluster, open_dashboard
) -> None:
    live, why = cluster.status, "sampled: may miss changes (no controller is reachable)"
    cluster.status = replace(live, mode="connecting", source="")
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 36)) as pilot:

        async def come(mode: str, source: str, message: str = "") -> list[str]:
            """What was said in notes until now, the newest last."""
            cluster.status = replace(cluster.status, mode=mode, source=source, message=message)
            await cluster.tell(replaying=True)
            await until(pilot, lambda: app.store.status == cluster.status, f"{mode} {source}")
            return [note.message for note in app._notifications]

        # The first line says so; nothing became otherwise.
        assert await come("sampled", "127.0.0.1:19092", why) == []
        for port in (19093, 19094, 19092):
            assert await come("connecting", "", "asking the other brokers") == []
            assert await come("sampled", f"127.0.0.1:{port}", why) == []
        # A log that is looked into in vain is not followed.
        assert await come("connecting", live.source, "reading the metadata log") == []
        assert await come("sampled", "127.0.0.1:19093", why) == []
        first = [f"now following {live.source}: at last"]
        assert await come("live", live.source, "at last") == first
        assert await come("slow", live.source, "late") == first
        second = [*first, "now following 127.0.0.1:19193: moved"]
        assert await come("live", "127.0.0.1:19193", "moved") == second
        third = [*second, why]
        assert await come("sampled", "127.0.0.1:19092", why) == third
        assert await come("connecting", "", "asking the other brokers") == third
        assert await come("sampled", "127.0.0.1:19094", why) == third
