"""Another cluster, keys of one's own, and what is swept when a broker goes down."""

import pytest
from textual.widgets import Static

from clusters import state
from tests.tui.piloting import until
from tui.action_screen import ActionScreen
from tui.doors import Target, TargetProblem


class Clerk:
    deploys = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.ran: list[list[str]] = []

    def shown(self, words) -> str:
        return f"logctl --context {self.name} {' '.join(words)}"

    async def run(self, words, on_line) -> int:
        self.ran.append(list(words))
        return 0


@pytest.fixture
def other(cluster):
    made = type(cluster)(brokers=2)
    made.create_topic("elsewhere", 1, brokers=2)
    return made


@pytest.fixture(autouse=True)
def own_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "logctl"
    folder.mkdir()
    return folder / "config.yaml"


def status(app) -> str:
    return str(app.query_one("#status", Static).render())


@pytest.mark.parametrize("read_only", [False, True])
async def test_another_context_brings_its_own_rights_and_commands(
    cluster, open_dashboard, other, own_configuration, read_only
) -> None:
    own_configuration.write_text(
        "contexts:\n  there: {bootstrap: ['127.0.0.1:2']}\n", encoding="utf-8"
    )
    here, there = Clerk("here"), Clerk("there")

    def target_of(name: str) -> Target:
        assert name == "there"
        return Target(
            name=name, bootstrap=["127.0.0.1:2"], read_only=read_only, feed=other, commander=there
        )

    app = open_dashboard(cluster, commander=here, target_of=target_of)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: "orders" in app.known_names()["topic"], "the first cluster")
        await other.tell(replaying=True)
        app.run_command("context there")
        await until(pilot, lambda: app.known_names()["topic"] == ["elsewhere"], "the other one")
        assert "there" in status(app)
        assert ("read-only" in status(app)) is read_only
        await pilot.press("3")
        await until(pilot, lambda: app.subject() is not None, "a topic under the cursor")
        assert bool(app.actions()) is not read_only
        await pilot.press("E")
        if read_only:
            said = [note.message for note in app._notifications]
            assert said == ["This context is read-only: nothing can be changed here."]
            app.run_command("delete-topic elsewhere")
            await until(pilot, lambda: len(app._notifications) == 2, "the same again")
            await pilot.pause()
            assert not isinstance(app.screen, ActionScreen)
        else:
            await until(pilot, lambda: bool(there.ran), "its preview")
            assert there.ran[0][:3] == ["partition", "elect", "elsewhere"]
        assert here.ran == []


async def test_a_context_that_cannot_be_shown_leaves_the_cluster_that_is(
    cluster, open_dashboard
) -> None:
    def target_of(name: str) -> Target:
        raise TargetProblem("it wants SASL")

    app = open_dashboard(cluster, target_of=target_of)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: "orders" in app.known_names()["topic"], "the cluster")
        app._switch_context("secured")
        await pilot.pause()
        assert "orders-cluster" in status(app)
        assert any("it wants SASL" in note.message for note in app._notifications)


async def test_contexts_say_which_is_shown_and_what_may_be_done(
    cluster, open_dashboard, own_configuration
) -> None:
    own_configuration.write_text(
        "contexts:\n  orders-cluster: {bootstrap: ['127.0.0.1:1']}\n"
        "  production: {bootstrap: ['127.0.0.1:2'], read_only: true}\ncurrent: production\n",
        encoding="utf-8",
    )
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        app.run_command("ctx")
        table = app.table("contexts")
        await until(pilot, lambda: len(table.shown) == 2, "both")
        drawn = [table.render_line(line).text.split() for line in (1, 2)]
        assert drawn == [
            ["▶", "orders-cluster", "allowed", "127.0.0.1:1"],
            ["●", "production", "read-only", "127.0.0.1:2"],
        ]


async def test_a_cluster_that_never_answered_shows_no_numbers(cluster, open_dashboard) -> None:
    cluster.lose("nobody answers: 127.0.0.1:1")
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.7)
        assert "LOST" in status(app)
        assert "nobody answers: 127.0.0.1:1" in status(app)
        assert "brokers" not in status(app)
        attention = str(app.query_one("#attention", Static).render())
        assert "nothing is known of this cluster yet" in attention


async def test_the_nearest_context_is_named(cluster, open_dashboard, own_configuration) -> None:
    own_configuration.write_text(
        "contexts:\n  production: {bootstrap: ['127.0.0.1:1']}\n", encoding="utf-8"
    )
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        app._switch_context("prodution")
        await pilot.pause()
        said = [note.message for note in app._notifications]
        assert any('Did you mean "production"?' in each for each in said), said


async def test_keys_of_ones_own(cluster, open_dashboard, own_configuration) -> None:
    own_configuration.write_text(
        "dashboard:\n  keys: {page.topics: t, records.pause: p, nonsense: x}\n", encoding="utf-8"
    )
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        said = [note.message for note in app._notifications]
        assert any("dashboard.keys.nonsense is unknown" in each for each in said), said
        assert not any("records.pause" in each for each in said), said
        await pilot.press("3")
        await pilot.pause()
        assert app.place.kind == "overview"
        await pilot.press("t")
        await until(pilot, lambda: app.place.kind == "topics", "the page of topics")


async def test_a_broker_that_goes_down_sweeps_over_what_it_touches(cluster, open_dashboard) -> None:
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await pilot.press("4")
        await until(
            pilot,
            lambda: "partitions" in app.page.tables and len(app.table("partitions").shown) == 9,
            "nine partitions",
        )
        table = app.table("partitions")
        before = [strip_styles(table, y) for y in range(1, 10)]
        cluster.kill(2)
        await cluster.tell()
        await until(
            pilot,
            lambda: [strip_styles(table, y) for y in range(1, 10)] != before,
            "rows are drawn otherwise",
        )
        assert app.store.view.broker_flashes


def strip_styles(table, y: int) -> list[str]:
    return [str(segment.style) for segment in table.render_line(y)]


def test_contexts_are_read_from_the_configuration(own_configuration) -> None:
    own_configuration.write_text(
        "contexts:\n  production: {bootstrap: ['127.0.0.1:1'], read_only: true}\n",
        encoding="utf-8",
    )
    assert state.contexts()["production"].read_only
