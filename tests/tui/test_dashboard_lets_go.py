"""What closed pages and animations leave behind: no rows of a large cluster, no timers beside each other."""

import asyncio
from typing import Any

import tui.painting
from tui.app import DashboardApp
from tui.pages import Place

WAIT_S = 60.0


async def until(pilot: Any, true: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await pilot.pause(0.02)


async def test_a_closed_page_holds_neither_rows_nor_drawn_lines(cluster_class) -> None:
    cluster = cluster_class()
    cluster.create_topic("orders", 50)
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds())
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: len(app.store.view.partitions) == 50)
        app.open_place(Place("topic", "orders"))
        await until(
            pilot, lambda: app.page.is_mounted and app.table("partitions")._styles_cache._cache
        )
        page, table = app.page, app.table("partitions")
        assert len(table.shown) == 50
        await pilot.press("escape")
        await until(pilot, lambda: not page.is_attached)
        assert app.place.kind == "overview"
        assert table.shown == []
        assert not table._all
        assert not table._styles_cache._cache
        assert not page.texts["facts"]._render_cache.lines


async def test_a_broker_that_goes_down_sweeps_with_one_timer_however_often_is_painted(
    cluster_class, monkeypatch
) -> None:
    cluster, now = cluster_class(), 1_000_000
    cluster.create_topic("orders", 9)
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds(), now_ms=lambda: now)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: len(app.store.view.partitions) == 9)
        started = []
        real = tui.painting.call_after

        def counted(node: Any, seconds: float, callback: Any) -> None:
            if callback == app._sweep:
                started.append(seconds)
            else:
                real(node, seconds, callback)

        monkeypatch.setattr(tui.painting, "call_after", counted)
        cluster.kill(2)
        await cluster.tell()
        await until(pilot, lambda: app.store.view.sweeping(now))
        for _ in range(5):
            app._paint()
        assert len(started) == 1
        app._sweep()
        assert len(started) == 2
        now += 60_000
        app._sweep()
        assert len(started) == 2
