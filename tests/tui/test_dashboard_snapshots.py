"""Pictures of the dashboard at three sizes. Refresh with `pytest tests/tui --snapshot-update`."""

import pytest
from textual.pilot import Pilot

SIZES = [(80, 24), (120, 36), (250, 70)]


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("state", ["whole", "hurt", "lost"])
def test_overview(snap_compare, cluster, open_dashboard, size, state) -> None:
    app = open_dashboard(cluster)

    async def play(pilot: Pilot[int]) -> None:
        await cluster.tell(replaying=True)
        if state == "hurt":
            cluster.kill(2)
            cluster.change("signups", 2, isr=(1,), leader=-1)
            await cluster.tell()
        if state == "lost":
            cluster.lose("nobody answers: 127.0.0.1:19092: connection refused")
            await cluster.tell()
        for _ in range(100):
            await pilot.pause(0.02)
            seen = app.table("partitions").shown and app.quorum is not None
            settled = state != "hurt" or app.view.health().offline == 1
            if seen and settled and app.feed_status.mode == cluster.status.mode:
                break
        events = app.table("events")
        for _ in range(100):
            if events.scroll_offset.y == max(0, len(events.shown) + 1 - events.size.height):
                break
            await pilot.pause(0.02)
        await pilot.pause(0.1)

    assert snap_compare(app, terminal_size=size, run_before=play)


def test_help(snap_compare, cluster, open_dashboard) -> None:
    app = open_dashboard(cluster)
    assert snap_compare(app, terminal_size=(100, 34), press=["question_mark"])
