"""Every page at three sizes, in both themes, with a clock that stands still.

What a page says is kept as text, so that a difference can be read; both themes must say the same.
Two pictures are kept as SVG for what text cannot tell. Refresh: `pytest tests/tui --snapshot-update`.
"""

from dataclasses import replace

import pytest
from textual.pilot import Pilot

from clusters.admin import (
    ConfigEntry,
    Gathered,
    GroupDetail,
    GroupMember,
    GroupSummary,
    LogDir,
    PartitionLag,
    ReplicaSize,
)
from tui.app import DashboardApp
from tui.pages import Place

SIZES = [(80, 24), (120, 36), (250, 70)]
PLACES = [
    Place("overview"),
    Place("brokers"),
    Place("broker", "2"),
    Place("topics"),
    Place("topic", "orders"),
    Place("partitions"),
    Place("groups"),
    Place("group", "billing"),
    Place("events"),
    Place("quorum"),
]


def answers(cluster) -> None:
    """What polls tell, the same each time."""
    keys = [
        (n, i) for n, t in cluster.projector.image.topics.items() for i in range(len(t.partitions))
    ]
    lag = Gathered(
        tuple(
            PartitionLag(
                topic="orders",
                partition=i,
                committed=100 * i,
                start=0,
                end=100 * i + 7 * i,
                lag=7 * i,
                member="m-1" if i < 3 else None,
            )
            for i in range(6)
        )
    )
    member = GroupMember(
        member_id="m-1",
        instance_id=None,
        client_id="biller",
        host="10.0.0.7",
        partitions=(("orders", 0), ("orders", 1), ("orders", 2)),
    )
    replica = {"offset_lag": 0, "is_future": False}
    cluster.polled.update(
        {
            "ends": dict.fromkeys(keys, 1_000),
            "ranges": lambda topic: {key: (10, 1_000) for key in keys if key[0] == topic},
            "groups": Gathered(
                (
                    GroupSummary(
                        group="billing",
                        state="Stable",
                        protocol_type="consumer",
                        group_type="classic",
                        coordinator=2,
                    ),
                )
            ),
            "group": GroupDetail(
                group="billing",
                state="Stable",
                protocol_type="consumer",
                assignor="range",
                coordinator=2,
                generation=4,
                members=(member,),
            ),
            "lag": lag,
            "lags": {"billing": lag},
            "configs": [
                ConfigEntry(name="retention.ms", value="604800000", source="dynamic topic")
            ],
            "broker configs": [
                ConfigEntry(name="min.insync.replicas", value="2", source="static broker")
            ],
            "log dirs": Gathered(
                tuple(
                    LogDir(
                        broker=broker,
                        path="/var/lib/logd",
                        error=None,
                        total_bytes=10 << 30,
                        usable_bytes=4 << 30,
                        replicas=tuple(
                            ReplicaSize(topic=t, partition=p, size_bytes=4_096, **replica)
                            for t, p in keys
                        ),
                    )
                    for broker in (1, 2, 3)
                )
            ),
        }
    )


def screen_text(app: DashboardApp) -> str:
    """The screen as a person without colours reads it."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(s.text for s in strip).rstrip() for strip in lines)


async def settled(pilot: Pilot[int], app: DashboardApp) -> str:
    """The screen once it says the same three times running, with every answer in."""
    before, same = "", 0
    for _ in range(250):
        await pilot.pause(0.02)
        wanted = [*app.page.wants()]
        answered = all(app.store.answer(poll).at_ms is not None for poll in wanted)
        now = screen_text(app)
        same = same + 1 if now == before and answered and app.store.view.partitions else 0
        before = now
        if same >= 4:
            return now
    raise AssertionError(f"the screen does not come to rest:\n{before}")


async def hurt(cluster) -> None:
    """A broker dies, a partition has no leader."""
    await cluster.tell(replaying=True)
    cluster.kill(2)
    cluster.change("signups", 2, isr=(1,), leader=-1)
    await cluster.tell()


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.kind)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_pages(snapshot, cluster, open_dashboard, place, size) -> None:
    answers(cluster)
    app = open_dashboard(cluster)
    async with app.run_test(size=size) as pilot:
        await hurt(cluster)
        app.open_place(place)
        dark = await settled(pilot, app)
        assert dark == snapshot
        if size != SIZES[1]:
            return
        await pilot.press("T")
        assert app.theme == "logctl-light"
        assert await settled(pilot, app) == dark


@pytest.mark.parametrize("theme", ["logctl-dark", "logctl-light"])
def test_picture(snap_compare, cluster, open_dashboard, theme) -> None:
    answers(cluster)
    app = open_dashboard(cluster)

    async def play(pilot: Pilot[int]) -> None:
        app.theme = theme
        await hurt(cluster)
        await settled(pilot, app)

    assert snap_compare(app, terminal_size=(120, 36), run_before=play)


async def test_lost_and_sampled_are_said_on_every_page(cluster, open_dashboard) -> None:
    answers(cluster)
    app = open_dashboard(cluster)
    async with app.run_test(size=(100, 30)) as pilot:
        await cluster.tell(replaying=True)
        await settled(pilot, app)
        for mode, words in (("sampled", "sampled, may miss changes"), ("lost", "LOST for 7 s")):
            cluster.lose("nobody answers")
            cluster.status = replace(cluster.status, mode=mode)
            for place in PLACES:
                app.open_place(place)
                await cluster.tell()
                assert words in await settled(pilot, app), place
                table = app.page.main_table()
                assert table is not None
                assert table.has_class("stale") is (mode == "lost" and place.kind != "events")
