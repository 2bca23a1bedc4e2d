"""What needs attention first: named when it is so, with what to do, and gone when it is not."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.style import Style

from clusters.admin import Gathered, LogDir, QuorumInfo, QuorumReplica
from clusters.polls import Answer
from clusters.polls.standing import Standing
from tui.attention import troubles
from tui.charts import chart
from tui.prose import TONES, Prose
from tui.store import ENDS, LOG_DIRS, QUORUM, Store


@pytest.fixture
def store(cluster) -> Store:
    made = Store(cluster.status)
    made.view.set_default_min_isr(2)
    made.view.update(cluster.projector.image, cluster.update().events, 0)
    return made


def voter(node: int, end: int, fetched_ms: int) -> QuorumReplica:
    return QuorumReplica(
        id=node,
        directory_id=None,
        log_end_offset=end,
        last_fetch_ms=fetched_ms,
        last_caught_up_ms=fetched_ms,
    )


def quorum(*voters: QuorumReplica, leader: int = 1) -> Answer:
    info = QuorumInfo(
        leader_id=leader,
        leader_epoch=3,
        high_watermark=500,
        voters=list(voters),
        observers=[],
        nodes={},
    )
    return Answer(info, 0)


def words(store: Store, wall_ms: int, **options: int) -> list[str]:
    return [f"{each.sign} {each.words}" for each in troubles(store, wall_ms, **options)]


def test_a_whole_cluster_needs_nothing(store, cluster) -> None:
    assert words(store, cluster.now_ms) == []


def test_a_dead_broker_and_what_it_took_along(store, cluster) -> None:
    cluster.min_isr("signups", 3)
    cluster.kill(2)
    cluster.change("orders", 1, isr=(2,), leader=-1)
    store.view.update(cluster.projector.image, cluster.update().events, 0)
    found = troubles(store, cluster.now_ms + 43_000, deploys=True)
    assert [each.tone for each in found] == ["error"] * 3 + ["warning"] * 3
    said = [f"{each.words} → {each.todo}" for each in found]
    assert said[0] == "1 partition offline: orders-1 → :start-broker 2"
    assert said[1] == "broker 2 fenced for 43 s, 8 replicas behind → :start-broker 2"
    assert said[2].startswith("3 partitions under min ISR, acks=all refused: signups-0,")
    assert said[3].startswith("broker 1 has 1 replica behind")
    assert said[4].startswith("broker 3 has 1 replica behind")
    assert said[5].startswith("5 partitions at min ISR")
    places = ["partitions", "broker", "partitions", "broker", "broker", "partitions"]
    assert [each.place.kind for each in found] == places
    strangers = troubles(store, cluster.now_ms, deploys=False)
    assert "start-broker" not in " ".join(each.todo for each in strangers)


def test_a_broker_that_holds_nothing_any_more_can_be_forgotten(store, cluster) -> None:
    for topic in ("orders", "signups"):
        for index in range(len(cluster.projector.image.topics[topic].partitions)):
            cluster.change(topic, index, replicas=(1, 2), isr=(1, 2), leader=1)
    cluster.kill(3)
    store.view.update(cluster.projector.image, cluster.update().events, 0)

    def advice(**options: bool) -> str:
        [found] = [each for each in troubles(store, 0, **options) if "broker 3" in each.words]
        return found.todo

    assert advice(acts=True, deploys=True) == ":unregister-broker 3 if it is gone for good"
    assert advice(deploys=True) == ":start-broker 3"


def test_leaders_that_are_elsewhere_are_told_once_all_brokers_are_up(store, cluster) -> None:
    cluster.change("orders", 0, leader=2)
    cluster.change("orders", 1, leader=3)
    store.view.update(cluster.projector.image, cluster.update().events, 0)
    assert words(store, 0) == ["≠ 2 partitions not on the preferred leader"]
    cluster.kill(3)
    store.view.update(cluster.projector.image, cluster.update().events, 0)
    assert not [each for each in words(store, 0) if "preferred" in each]


def test_the_quorum_is_named_when_a_voter_is_silent_behind_or_none_leads(store, cluster) -> None:
    now = cluster.now_ms
    here = voter(1, 500, now)
    store.take(QUORUM, quorum(here, voter(2, 500, now - 100), voter(3, 500, now - 100)))
    assert words(store, now) == []
    store.take(QUORUM, quorum(here, voter(2, 100, now - 100), voter(3, 500, now - 100)))
    assert words(store, now) == ["★ voter 2 of the metadata quorum is 400 records behind"]
    store.take(QUORUM, quorum(here, voter(2, 400, now - 60_000), voter(3, 500, now - 100)))
    assert words(store, now) == [
        "★ quorum: 2 of 3 voters answer; one loss more and nothing can be changed"
    ]
    store.take(QUORUM, quorum(here, voter(2, 400, now - 60_000), voter(3, 500, now - 60_000)))
    assert words(store, now) == ["★ quorum: 1 of 3 voters answer; nothing can be changed"]
    store.take(QUORUM, quorum(here, leader=-1))
    assert words(store, now) == ["★ no controller: nothing can be changed"]


def test_no_voter_becomes_silent_because_the_answer_is_old(store, cluster) -> None:
    then = cluster.now_ms
    voters = (voter(1, 500, -1), voter(2, 500, then - 100), voter(3, 500, then - 100))
    store.take(QUORUM, quorum(*voters))
    assert words(store, then + 60_000, now_ms=60_000) == []


def test_a_frozen_controller_counts_as_away_though_the_last_answer_says_it_leads(
    store, cluster
) -> None:
    then = cluster.now_ms
    voters = (voter(1, 500, -1), voter(2, 500, then - 100), voter(3, 500, then - 100))
    store.take(QUORUM, quorum(*voters))
    cluster.kill(1)
    store.view.update(cluster.projector.image, cluster.update().events, 0)
    store.view.set_controller(2)
    said = [each for each in words(store, then) if "quorum" in each]
    assert said == ["★ quorum: 2 of 3 voters answer; one loss more and nothing can be changed"]


def test_not_all_is_well_while_somebody_does_not_answer(store, cluster) -> None:
    store.take(ENDS, Answer({}, 1_000, "no answer within 4 s"))
    store.take(LOG_DIRS, Answer(None, None, "no answer within 4 s"))
    assert words(store, 0, now_ms=13_000) == [
        "? not told for 12 s: offsets, sizes (no answer within 4 s)"
    ]
    store.take(ENDS, Answer({}, 13_000))
    store.take(LOG_DIRS, Answer(Gathered(()), 13_000))
    assert words(store, 0, now_ms=13_000) == []


def test_what_cannot_be_done_is_not_advised(store, cluster) -> None:
    cluster.change("orders", 0, leader=2)
    store.view.update(cluster.projector.image, cluster.update().events, 0)
    assert [each.todo for each in troubles(store, 0, acts=True)] == [":elect-all"]
    assert [each.todo for each in troubles(store, 0)] == [""]


def test_a_plot_of_nothing_has_one_zero() -> None:
    lines = chart(Prose(), [0, 0, 0], 30, 4).content().plain.split("\n")
    assert [line[:7] for line in lines] == ["      │"] * 3 + ["     0┤"]


def test_disks_that_run_full_or_fail(store) -> None:
    good = LogDir(broker=1, path="/a", error=None, total_bytes=1000, usable_bytes=400, replicas=())
    full = replace(good, broker=2, usable_bytes=20)
    broken = replace(good, broker=3, path="/c", error="KAFKA_STORAGE_ERROR", usable_bytes=100)
    store.take(LOG_DIRS, Answer(Gathered((good, full, broken)), 0))
    assert words(store, 0) == [
        "▇ disk of broker 2 is 98 % full, 20 B left",
        "✖ broker 3: KAFKA_STORAGE_ERROR: /c",
        "▇ disk of broker 3 is 90 % full, 100 B left",
    ]


def test_a_plot_has_an_axis_and_fits() -> None:
    lines = chart(Prose(), [0, 50, 100], 30, 4, over_ms=120_000).content().plain.split("\n")
    assert len(lines) == 4
    assert all(len(line) <= 30 for line in lines)
    assert lines[0].startswith("   100┤")
    assert lines[0].endswith("█")
    assert lines[2].startswith("     0┤")
    assert lines[3].endswith("now")
    levels = chart(Prose(), [1_000, 1_050, 1_100], 30, 4, from_zero=False).content().plain
    assert "1100┤" in levels
    assert "990┤" in levels
    assert "█" in levels.split("\n")[-1]
    long = chart(Prose(), range(200), 40, 3, over_ms=400_000).content().plain
    assert "└66 s ago" in long


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(alphabet="ab \n", max_size=6), st.sampled_from(sorted(TONES)))))
def test_any_words_in_any_tones_can_be_drawn(parts) -> None:
    prose = Prose()
    for said, tone in parts:
        prose.append(said, tone)
    content = prose.content()
    assert content.plain == "".join(said for said, _ in parts).rstrip("\n")
    assert "".join(
        text for text, _ in content.render(end="", parse_style=lambda _: Style())
    ) == str(content.plain)


async def test_the_overview_says_it_and_leads_there(cluster, open_dashboard) -> None:
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 36)) as pilot:
        await cluster.tell(replaying=True)
        panel = None
        for _ in range(200):
            await pilot.pause(0.02)
            panel = app.page.texts["attention"]
            if "all well" in str(panel.content):
                break
        assert panel is not None
        assert "all well" in str(panel.content)
        cluster.kill(2)
        await cluster.tell()
        for _ in range(200):
            await pilot.pause(0.02)
            if "broker 2 fenced" in str(panel.content):
                break
        assert panel.has_class("bad")
        await pilot.click("#attention", offset=(5, 1))
        await pilot.pause()
        assert tuple(app.place) == ("broker", "2")
        await pilot.press("1")
        await pilot.press("exclamation_mark")
        await pilot.pause()
        assert tuple(app.place) == ("broker", "2")
        cluster.lose("nobody answers")
        await pilot.press("1")
        await cluster.tell()
        for _ in range(200):
            await pilot.pause(0.02)
            if "as it was" in str(panel.border_title):
                break
        assert "as it was" in str(panel.border_title)
        assert panel.has_class("stale")


def test_a_quorum_without_its_majority_is_the_worst_and_says_whom_to_start(store, cluster) -> None:
    then = cluster.now_ms
    store.take(QUORUM, quorum(*(voter(node, 500, then - 100) for node in (1, 2, 3)), leader=3))
    store.view.set_controller(3)
    cluster.kill(1)
    store.view.update(cluster.projector.image, cluster.update().events, 0)
    # The second died too, and nobody is left who could say so.
    store.view.set_standings({2: Standing("silent", since_ms=0)})
    [found] = [each for each in troubles(store, then) if each.sign == "★"]
    assert (found.tone, found.words, found.todo) == (
        "error",
        "quorum: 1 of 3 voters answer; nothing can be changed",
        "start voter 1 or 2",
    )
