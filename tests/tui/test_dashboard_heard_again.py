"""A cluster that is heard again: asked anew at once, never called well before, ages that go on."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.tui import piloting
from tui.store import ENDS, FRESH_MS


@pytest.fixture
async def shown(cluster, open_dashboard):
    cluster.polled["ends"] = {("orders", 0): 5}
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 36)) as pilot:
        await cluster.tell(replaying=True)

        async def until(condition: Callable[[], bool], what: str) -> None:
            await piloting.until(pilot, condition, what)

        await until(lambda: app.store.answer(ENDS).at_ms is not None, "offsets")
        await until(lambda: "all well" in attention(app), "a healthy cluster")
        yield app, until


def attention(app) -> str:
    return str(app.page.texts["attention"].content)


async def lose(app, cluster, until) -> None:
    cluster.polled["ends"] = OSError("connection refused")
    cluster.now_ms += 100
    await until(lambda: bool(app.store.answer(ENDS).problem), "an answer that fails")
    cluster.lose("nobody answers")
    await cluster.tell()
    await until(lambda: "nobody answers" in attention(app), "the loss")


async def test_it_is_not_called_well_before_it_was_asked(shown, cluster) -> None:
    app, until = shown
    await lose(app, cluster, until)
    cluster.status = replace(cluster.status, mode="live", message="")
    await cluster.tell()
    await until(lambda: "not told" in attention(app), "what is not known")
    assert "all well" not in attention(app)


@pytest.mark.parametrize("mode", ["lost", "connecting"])
async def test_what_failed_is_asked_at_once_when_it_is_heard_again(shown, cluster, mode) -> None:
    app, until = shown
    await lose(app, cluster, until)
    # A quorum that has no leader for a while is looked for: that is no less of a loss.
    cluster.status = replace(cluster.status, mode=mode)
    await cluster.tell()
    await until(lambda: app.store.status.mode == mode, "how it stands")
    # The clock stands still: by its plan nothing would be asked any more.
    cluster.polled["ends"] = {("orders", 0): 6}
    cluster.status = replace(cluster.status, mode="live", message="")
    await cluster.tell()
    await until(lambda: not app.store.answer(ENDS).problem, "an answer")
    await until(lambda: "all well" in attention(app), "a healthy cluster")


async def test_the_age_of_what_is_not_told_grows_while_nothing_comes(shown, cluster) -> None:
    app, until = shown
    cluster.polled["ends"] = OSError("frozen")
    cluster.now_ms += 100
    await until(lambda: "not told" in attention(app), "what is not known")
    cluster.now_ms += 7_000
    await until(lambda: "not told for 7 s" in attention(app), "its age")
    cluster.now_ms += 7_000
    await until(lambda: "not told for 14 s" in attention(app), "its age later")
    assert app.page.is_ageing()
    assert FRESH_MS < 14_000
