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
