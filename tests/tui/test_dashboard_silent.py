"""Brokers that do not answer, before the controller calls them down: seen, named, no event."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest

from broker.protocol import metadata_records as rec
from broker.protocol.errors import ConnectionFailed
from clusters.polls.standing import Standing
from tests.tui.piloting import until
from tui.attention import troubles
from tui.drawing import seconds
from tui.store import Store
from tui.table import LiveTable

NOW_MS = 60_000


@pytest.fixture
def store(cluster) -> Store:
    made = Store(cluster.status)
    made.view.update(cluster.projector.image, (), 0)
    return made


def words(store: Store) -> list[str]:
    return [each.words for each in troubles(store, 0, now_ms=NOW_MS)]


def silent(since_ms: int, reason: str = "no answer") -> Standing:
    return Standing("silent", since_ms, 1, reason)


def test_one_that_does_not_answer_is_named_with_the_partitions_it_leads(store) -> None:
    store.view.set_standings({1: Standing("answers"), 2: silent(NOW_MS - 1_400)})
    risk = "3 partitions it leads at risk: orders-1, orders-4, signups-1"
    assert words(store) == [f"broker 2 has not answered for 1.4 s, still counts as up; {risk}"]
    found = troubles(store, 0, now_ms=NOW_MS)[0]
    assert (found.tone, found.sign) == ("error", "?")
    assert (found.place.kind, found.place.subject) == ("broker", "2")
    assert store.view.health().silent == 1
    # It is asked for nothing that holds for all.
    assert store.default_broker() == 1
    assert store.partitions_of("signups") == [("signups", 0), ("signups", 2)]
    assert len(store.partitions_of("")) == 6


def test_why_it_does_not_answer_and_what_nobody_else_holds_is_said(store, cluster) -> None:
    cluster.change("orders", 1, isr=(2,))
    store.view.update(cluster.projector.image, (), 0)
    store.view.set_standings({2: silent(NOW_MS - 12_000, "connection refused")})
    said = words(store)[0]
    assert said.startswith("broker 2 has not answered for 12 s (connection refused), still")
    assert said.endswith(", 1 with no other replica in sync")


def test_once_it_is_called_down_that_alone_is_told(store, cluster) -> None:
    store.view.set_standings({2: silent(NOW_MS - 9_000)})
    cluster.kill(2)
    store.view.update(cluster.projector.image, (), 0)
    said = words(store)
    assert any(each.startswith("broker 2 fenced") for each in said)
    assert not any("not answer" in each for each in said)
    assert store.view.silent_brokers() == []
    assert 2 not in store.called_up()


def test_slow_and_never_reached_are_told_as_such(store) -> None:
    apart = Standing("unreachable", 5, None, "no answer within 6000 ms")
    store.view.set_standings({1: Standing("slow", None, 2_300), 3: apart})
    said = troubles(store, 0, now_ms=NOW_MS)
    assert [each.words for each in said] == [
        "broker 1 is slow: its answers take 2.3 s",
        "broker 3 is not reachable from here (no answer within 6000 ms); it counts as up",
    ]
    assert {each.tone for each in said} == {"warning"}
    store.view.set_standings({2: apart, 3: apart})
    assert words(store) == ["2 brokers are not reachable from here: 2, 3"]


def test_many_are_told_in_one_line(cluster_class) -> None:
    cluster = cluster_class(brokers=5)
    cluster.create_topic("orders", 5, brokers=5)
    store = Store(cluster.status)
    store.view.update(cluster.projector.image, (), 0)
    store.view.set_standings(dict.fromkeys((1, 2, 3, 4), silent(NOW_MS - 2_000)))
    (said,) = words(store)
    assert said.startswith("4 brokers do not answer, still count as up: 1, 2, 3 …; ")
    assert "; 4 partitions they lead at risk: orders-0, orders-1, orders-2 …, 2 with" in said
    store.view.set_standings(dict.fromkeys((1, 2), Standing("slow", None, 1_000)))
    assert words(store) == ["2 brokers are slow to answer: 1, 2"]


def test_who_is_asked_is_who_counts_as_up_and_nobody_of_a_cluster_that_refuses(
    store, cluster
) -> None:
    assert set(store.called_up()) == {1, 2, 3}
    before = store.called_up()[2]
    cluster.kill(2)
    store.view.update(cluster.projector.image, (), 0)
    assert set(store.called_up()) == {1, 3}
    again = cluster.projector.image.brokers[2]
    cluster.apply(
        rec.RegisterBrokerRecord(
            broker_id=2,
            incarnation_id=uuid.UUID(int=22),
            broker_epoch=cluster.offset,
            end_points=(
                rec.BrokerEndpoint(
                    name="PLAINTEXT",
                    host="127.0.0.1",
                    port=again.endpoints[0].port,
                    security_protocol=0,
                ),
            ),
            features=(),
            rack=None,
        ),
    )
    cluster.apply(rec.UnfenceBrokerRecord(id=2, epoch=cluster.projector.image.brokers[2].epoch))
    store.view.update(cluster.projector.image, (), 0)
    assert store.called_up()[2] != before
    store.status = replace(store.status, mode="lost", refusal="not let in")
    assert store.called_up() == {}


def test_short_times_are_told_to_a_tenth() -> None:
    assert [seconds(ms) for ms in (0, 1_449, 9_999, 10_000, 130_000)] == [
        "0.0 s",
        "1.4 s",
        "10.0 s",
        "10 s",
        "2 min",
    ]


class Brokers:
    """Ways to brokers that answer or are gone, as a test says."""

    def __init__(self) -> None:
        self.gone: set[int] = set()
        self.died = {id_: asyncio.Event() for id_ in (1, 2, 3)}

    def kill(self, id_: int) -> None:
        self.gone.add(id_)
        self.died[id_].set()

    def start(self, id_: int) -> None:
        self.gone.discard(id_)
        self.died[id_] = asyncio.Event()

    async def addresses(self) -> dict[int, str]:
        return {id_: f"127.0.0.1:{19_091 + id_}" for id_ in (1, 2, 3)}

    async def connect(self, address: str, timeout_ms: int) -> "Wire":
        wire = Wire(self, int(address[-1]) - 1, address)
        await wire.ask_for_life(timeout_ms)
        return wire


class Wire:
    """A connection to one of them."""

    def __init__(self, brokers: Brokers, id_: int, address: str) -> None:
        self.brokers, self.id, self.address = brokers, id_, address

    async def ask_for_life(self, timeout_ms: int) -> None:
        if self.id in self.brokers.gone:
            raise ConnectionFailed(self.address, "connection refused", refused=True)

    async def wait_closed(self) -> None:
        await self.brokers.died[self.id].wait()

    def close(self) -> None:
        pass


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_a_silent_broker_is_on_the_screen_at_once_and_in_no_event(
    cluster, open_dashboard, size
) -> None:
    brokers = Brokers()
    app = open_dashboard(cluster, ways=brokers)
    async with app.run_test(size=size) as pilot:
        await cluster.tell()

        async def until(condition: Callable[[], bool], what: str) -> None:
            for _ in range(1500):
                if condition():
                    return
                await pilot.pause(0.02)
            raise AssertionError(what)

        view = app.store.view

        def states() -> list[str]:
            return [each.state for _, each in sorted(view.standings.items())]

        await until(lambda: states() == ["answers"] * 3, "all answer")
        events = len(view.events)
        brokers.kill(2)
        await until(lambda: view.silent_brokers() == [2], "it is missed")
        await until(lambda: "? silent" in drawn(app.table("brokers")), "drawn in the table")
        attention = app.page.texts["attention"]
        await until(lambda: "broker 2 has not answered" in str(attention.content), "named")
        assert "3 partitions it leads at risk" in str(attention.content)
        assert "all well" not in str(attention.content)
        assert "? 1 silent" in str(app._status.content)
        assert len(view.events) == events
        assert "?" in drawn(app.table("partitions"))
        await pilot.press("exclamation_mark")
        await until(lambda: app.place.kind == "broker" and app.page.is_mounted, "its page")
        facts = app.page.texts["facts"]
        await until(lambda: "has not answered" in str(facts.content), "told on its page")
        brokers.start(2)
        await until(lambda: not view.silent_brokers(), "it is back")
        await until(lambda: "not answer" not in str(facts.content), "told no more")
        # A screen that is held shows the moment that is held.
        await pilot.press("space")
        await until(lambda: app.hold.is_on, "held")
        brokers.kill(3)
        await until(lambda: app._pulse.standings[3].state == "silent", "missed in silence")
        await pilot.pause(0.2)
        assert view.silent_brokers() == []
        await pilot.press("space")
        await until(lambda: view.silent_brokers() == [3], "told once it goes on")


def drawn(table: LiveTable) -> str:
    return "\n".join(table.render_line(y).text for y in range(table.size.height))


@pytest.mark.parametrize("start", ["topic orders", "partitions", "broker 1", "overview"])
async def test_partitions_show_at_once_which_broker_does_not_answer(
    cluster, open_dashboard, start
) -> None:
    """Not only with the next answer about their offsets, which is late just then."""
    cluster.polled["ranges"] = {("orders", index): (0, 100) for index in range(6)}
    app = open_dashboard(cluster, start=start)
    async with app.run_test(size=(120, 30)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.page.is_mounted and app.store.view.topics, "the page")
        table = app.page.tables["partitions"]
        await until(pilot, lambda: "orders-1" in drawn(table), "its partitions")

        def seen() -> str:
            strips = app.screen._compositor.render_strips()
            lines = ["".join(segment.text for segment in line) for line in strips]
            return next(line for line in lines if "● orders-1 " in line)

        await until(pilot, lambda: "◆" in seen(), "who leads")
        assert "?" not in seen()
        cluster.polled.clear()
        app.store.view.set_standings({2: silent(NOW_MS - 1_400)})
        app._schedule()
        await until(pilot, lambda: "● ? ●" in seen(), "who does not answer")
