"""Actions of the dashboard: they ask, show, run the command that they show, and never otherwise."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from textual import events
from textual.widgets import Input, Static

from clusters.admin import ConfigEntry, GroupSummary
from tests.tui.piloting import until
from tui.action_screen import ActionScreen, Phase
from tui.actions import ACTIONS, actions_for, offers
from tui.model import ClusterView
from tui.pages.base import Place, Subject
from tui.pages.settings import setting_rows
from tui.words import with_flag


class Clerk:
    """Notes the commands that it is given, and answers as it was told."""

    deploys = True

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.answers: dict[str, tuple[int, list[str]]] = {}
        self.hold = asyncio.Event()
        self.hold.set()
        self.interrupted = False

    def shown(self, words: Sequence[str]) -> str:
        return "logctl " + " ".join(words)

    async def run(self, words: Sequence[str], on_line: Callable[[str], None]) -> int:
        self.ran.append(list(words))
        dry = "--dry-run" in words
        code, lines = self.answers.get("dry" if dry else "real", (0, ["fine"]))
        for line in lines:
            on_line(line)
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            self.interrupted = True
            raise
        return code


@pytest.fixture
def clerk() -> Clerk:
    return Clerk()


@pytest.fixture
async def desk(cluster, open_dashboard, clerk):
    """The dashboard on the page of topics, its cursor on the first one."""
    app = open_dashboard(cluster, commander=clerk)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await pilot.press("3")
        await until(
            pilot, lambda: "topics" in app.page.tables and bool(app.table("topics").shown), "topics"
        )
        await until(pilot, lambda: app.subject() is not None, "a cursor")
        yield app, pilot


async def opened(app, pilot, key: str) -> ActionScreen:
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, ActionScreen), f"the dialog of {key}")
    await until(pilot, lambda: app.screen.is_mounted, "its parts")
    return app.screen


async def reach(pilot, screen: ActionScreen, phase: Phase) -> None:
    await until(pilot, lambda: screen.phase is phase, f"{phase}, not {screen.phase}")


def said(screen: ActionScreen) -> str:
    return str(screen.query_one("#action-said", Static).render())


async def test_deleting_shows_what_goes_and_wants_the_name(desk, clerk) -> None:
    app, pilot = desk
    name = app.subject().name
    clerk.answers["dry"] = (0, ["groups with members: payments"])
    screen = await opened(app, pilot, "D")
    await reach(pilot, screen, Phase.AGREEING)
    assert "payments" in said(screen)
    assert clerk.ran == [["topic", "delete", name, "--dry-run"]]
    await pilot.press("enter")
    assert screen.phase is Phase.AGREEING
    assert len(clerk.ran) == 1
    screen.query_one("#action-typed", Input).value = name
    await pilot.press("enter")
    await reach(pilot, screen, Phase.DONE)
    assert clerk.ran[1:] == [["topic", "delete", name, "--yes"]]
    await pilot.press("enter")
    await until(pilot, lambda: app.screen is not screen, "the dialog is gone")


async def test_escape_changes_nothing(desk, clerk) -> None:
    app, pilot = desk
    screen = await opened(app, pilot, "D")
    await reach(pilot, screen, Phase.AGREEING)
    await pilot.press("escape")
    await until(pilot, lambda: app.screen is not screen, "the dialog is gone")
    assert all("--dry-run" in words for words in clerk.ran)


async def test_the_command_follows_what_is_typed_and_can_be_copied(desk, clerk) -> None:
    app, pilot = desk
    screen = await opened(app, pilot, "C")
    screen.query_one("#field-name", Input).value = "audit"
    screen.query_one("#field-settings", Input).value = "retention.ms=7d cleanup.policy=compact"
    await pilot.pause()
    expected = "topic create audit --config retention.ms=7d --config cleanup.policy=compact"
    assert expected in str(screen.query_one("#action-command", Static).render())
    await pilot.press("ctrl+y")
    assert app.clipboard == "logctl " + expected


async def test_what_was_shown_no_longer_holds_once_a_field_changes(desk, clerk) -> None:
    app, pilot = desk
    screen = await opened(app, pilot, "C")
    screen.query_one("#field-name", Input).value = "audit"
    await pilot.pause()
    await pilot.press("enter")
    await reach(pilot, screen, Phase.AGREEING)
    screen.query_one("#field-partitions", Input).value = "12"
    await reach(pilot, screen, Phase.ASKING)
    await pilot.press("enter")
    await reach(pilot, screen, Phase.AGREEING)
    assert clerk.ran[-1] == ["topic", "create", "audit", "--partitions", "12", "--dry-run"]


async def test_what_is_needed_is_said_before_anything_runs(desk, clerk) -> None:
    app, pilot = desk
    screen = await opened(app, pilot, "C")
    await pilot.press("enter")
    await until(pilot, lambda: "Name is needed" in said(screen), "what is missing")
    assert clerk.ran == []


async def test_what_the_cluster_refuses_can_be_mended(desk, clerk) -> None:
    app, pilot = desk
    clerk.answers["dry"] = (1, ["error: only 3 brokers are registered"])
    screen = await opened(app, pilot, "C")
    screen.query_one("#field-name", Input).value = "audit"
    await pilot.pause()
    await pilot.press("enter")
    await until(pilot, lambda: "only 3 brokers" in said(screen), "the refusal")
    await reach(pilot, screen, Phase.ASKING)
    assert not any("--yes" in words for words in clerk.ran)


async def test_a_failure_is_shown_with_its_exit_code(desk, clerk) -> None:
    app, pilot = desk
    clerk.answers["real"] = (1, ["error: the controller is moving"])
    screen = await opened(app, pilot, "E")
    await reach(pilot, screen, Phase.AGREEING)
    await pilot.press("enter")
    await reach(pilot, screen, Phase.DONE)
    assert "the controller is moving" in said(screen)
    assert "exit code 1" in str(screen.query_one("#action-hint", Static).render())


async def test_escape_interrupts_what_is_under_way(desk, clerk) -> None:
    app, pilot = desk
    screen = await opened(app, pilot, "M")
    screen.query_one("#field-brokers", Input).value = "1 2"
    await pilot.pause()
    await pilot.press("enter")
    await reach(pilot, screen, Phase.AGREEING)
    assert "--wait" not in clerk.ran[-1]
    clerk.hold.clear()
    await pilot.press("enter")
    await reach(pilot, screen, Phase.DOING)
    await until(pilot, lambda: len(clerk.ran) == 2, "the move runs")
    assert clerk.ran[-1][-3:] == ["1,2", "--wait", "--yes"]
    await pilot.press("escape")
    await reach(pilot, screen, Phase.DONE)
    assert clerk.interrupted
    assert "Interrupted" in said(screen)
    hint = str(screen.query_one("#action-hint", Static).content)
    assert hint.startswith("interrupted")
    assert "exit code" not in hint


async def test_a_record_that_looks_like_an_option_is_a_record(desk, clerk) -> None:
    app, pilot = desk
    name = app.subject().name
    screen = await opened(app, pilot, "W")
    screen.query_one("#field-value", Input).value = "--file"
    screen.query_one("#field-key", Input).value = "k"
    await pilot.pause()
    await pilot.press("enter")
    await reach(pilot, screen, Phase.AGREEING)
    assert clerk.ran == [["produce", name, "--key", "k", "--dry-run", "--", "--file"]]
    await pilot.press("enter")
    await reach(pilot, screen, Phase.DONE)
    assert clerk.ran[1:] == [["produce", name, "--key", "k", "--", "--file"]]


async def test_stopping_a_broker_says_what_it_touches(desk, cluster, clerk) -> None:
    app, pilot = desk
    await pilot.press("2")
    await until(
        pilot,
        lambda: app.subject() is not None and app.subject().kind == "broker",
        "a broker under the cursor",
    )
    node = app.subject().name
    screen = await opened(app, pilot, "X")
    await reach(pilot, screen, Phase.AGREEING)
    assert f"Broker {node} holds 9 replicas" in said(screen)
    await pilot.press("enter")
    await reach(pilot, screen, Phase.DONE)
    assert clerk.ran == [["broker", "stop", node, "--dry-run"], ["broker", "stop", node]]


def test_starting_a_broker_says_what_comes_back(cluster) -> None:
    view = ClusterView()
    view.update(cluster.projector.image, (), 0)
    start = next(each for each in ACTIONS if each.name == "start-broker")
    up = start.preview(view, Subject("broker", "2"))
    assert up == ("Broker 2 is up: nothing is to be started.",)
    cluster.kill(2)
    cluster.change("orders", 1, isr=(2,), leader=-1)
    view.update(cluster.projector.image, cluster.update().events, 0)
    assert start.preview(view, Subject("broker", "2")) == [
        "Broker 2 is fenced. It holds 9 replicas; 8 are behind and will catch up.",
        "1 partitions are offline until it is back: orders-1",
    ]


async def test_read_only_offers_nothing(cluster, open_dashboard, clerk) -> None:
    app = open_dashboard(cluster, commander=clerk, read_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await pilot.press("3")
        await until(pilot, lambda: app.subject() is not None, "a cursor")
        assert app.actions() == []
        await pilot.press("D", "C")
        await pilot.pause()
        assert not isinstance(app.screen, ActionScreen)
        assert clerk.ran == []


def test_processes_are_offered_only_where_we_run_them(clerk) -> None:
    subject = Subject("broker", "1")
    names = {each.name for each in actions_for(subject, read_only=False, commander=clerk)}
    assert names == ON_BROKER
    clerk.deploys = False
    names = {each.name for each in actions_for(subject, read_only=False, commander=clerk)}
    assert names == {"unregister-broker"}


@pytest.mark.parametrize("kind", ["topic", "partition", "group", "broker", "cluster"])
def test_no_two_actions_share_a_key_or_a_word(kind) -> None:
    offered = [each for each in ACTIONS if kind in each.kinds]
    assert len({each.key for each in offered}) == len(offered) > 0
    assert len({each.name for each in offered}) == len(offered)


ANYWHERE = {"create-topic", "elect-all", "throttle"}
# What is about a topic or partition has the key of electing all.
HERE = {"create-topic", "throttle"}
ON_PARTITION = {"elect", "elect-unclean", "move", "cancel-move", "produce"}
ON_TOPIC = ON_PARTITION | {"alter-topic", "delete-topic"}
ON_BROKER = {"stop-broker", "start-broker", "restart-broker", "unregister-broker"}


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (Place("overview"), ON_TOPIC | HERE),
        (Place("brokers"), ON_BROKER | ANYWHERE),
        (Place("broker", "2"), ON_TOPIC | ON_BROKER | HERE),
        (Place("topic", "orders"), ON_TOPIC | HERE),
        (Place("partitions"), ON_TOPIC | HERE),
        (Place("group", "billing"), {"reset-offsets", "delete-group", "forget-offsets"} | ANYWHERE),
        (Place("quorum"), ON_BROKER | ANYWHERE),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, Place) else "",
)
async def test_each_page_offers_what_its_rows_and_its_subject_allow(desk, place, expected) -> None:
    app, pilot = desk
    app.open_place(place)
    await until(pilot, lambda: {each.name for each in app.actions()} == expected, "its actions")
    assert len({each.key for each in app.actions()}) == len(app.actions())


def test_a_key_is_about_the_group_on_its_page(clerk) -> None:
    row, group = Subject("partition", "orders", 3), Subject("group", "billing")
    found = offers([row, group, Subject("topic", "orders"), None], read_only=False, commander=clerk)
    by_key = {each.action.key: (each.action.name, str(each.subject)) for each in found}
    assert by_key["D"] == ("delete-group", "billing")
    assert by_key["M"] == ("move", "orders-3")
    assert by_key["A"] == ("alter-topic", "orders")


def shown(app) -> str:
    """The command of the dialog, "" without one."""
    found = app.screen.query("#action-command")
    return str(found.first(Static).content) if found else ""


async def test_an_action_can_be_typed_anywhere_with_the_name_of_what_it_is_about(
    desk, cluster, clerk
) -> None:
    app, pilot = desk
    await pilot.press("6")
    for text, command in (
        ("delete-topic signups", "topic delete signups"),
        ("move orders:3", "partition move orders:3=1,2,3 --wait"),
        ("stop-broker 2", "broker stop 2"),
        ("elect-all", "partition elect"),
    ):
        app.run_command(text)
        await until(pilot, lambda c=command: shown(app) == f"$ logctl {c}", f"the dialog of {text}")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ActionScreen), "closed")
    for text, words in (
        ("delete-topic sgnups", 'Did you mean "signups"'),
        ("delete-topic", "Which topic?"),
        ("move orders:9", "orders has 6 partitions"),
        ("delete-topic orders:1", "takes a topic"),
        ("create-topic x", "takes no name"),
        ("stop-broker", "Which broker?"),
    ):
        app.open_place(Place("contexts"))
        app.run_command(text)
        await pilot.pause()
        assert words in [*app._notifications][-1].message
    assert not [each for each in clerk.ran if "--dry-run" not in each]


def test_offsets_of_a_group_are_reset_by_its_command() -> None:
    group = GroupSummary(
        group="payments",
        state="Empty",
        protocol_type="consumer",
        group_type="classic",
        coordinator=1,
    )
    action = next(each for each in ACTIONS if each.name == "reset-offsets")
    words = action.words(
        Subject("group", "payments", data=group),
        {"to": "-100", "topics": "orders pay:3", "saved": ""},
    )
    assert words == [
        "group", "reset", "payments", "--to", "-100", "--topic", "orders", "--topic", "pay:3",
    ]  # fmt: skip


async def test_lines_that_come_while_a_dialog_is_left_do_no_harm(desk, clerk) -> None:
    app, pilot = desk
    clerk.answers["dry"] = (0, ["would create"])
    screen = await opened(app, pilot, "C")
    app.pop_screen()
    turns = 0
    while screen.is_attached:
        screen._hear("late")
        turns += 1
        await asyncio.sleep(0)
    assert turns > 1, "it was left in one turn"


SETTING = ConfigEntry(name="retention.ms", value="1000", source="DYNAMIC_TOPIC_CONFIG")


@pytest.mark.parametrize("action", ACTIONS, ids=lambda each: each.name)
def test_every_action_is_a_command_that_exists(action) -> None:
    from shell.cli import build, parse
    from shell.commands import all_commands

    kind = sorted(action.kinds)[0]
    row = setting_rows("topic", "orders", [SETTING])[0] if kind == "setting" else None
    subject = Subject(kind, "1", 0 if kind == "partition" else None, row)
    values = {field.name: field.default or "1" for field in action.fields(subject)}
    values |= {"settings": "retention.ms=1d", "headers": "a=b", "unset": "retention.ms"}
    words = action.words(subject, values)
    for flag in (["--dry-run"] if action.dry_run else []) + (["--yes"] if action.yes else []):
        words = with_flag(words, flag)
    parse(build(all_commands()), words)


async def test_enter_and_tab_do_not_overtake_letters_that_came_in_one_piece(desk, clerk) -> None:
    app, pilot = desk
    clerk.answers["dry"] = (0, ["would create"])
    screen = await opened(app, pilot, "C")

    def together(keys: Sequence[str]) -> None:
        """As a slow line delivers what was typed long ago: nothing is handled in between."""
        for key in keys:
            app.post_message(events.Key(key, key if len(key) == 1 else None))

    together([*"audit", "tab", *"12", "enter"])
    await reach(pilot, screen, Phase.AGREEING)
    await pilot.pause()
    assert screen.phase is Phase.AGREEING
    assert clerk.ran == [["topic", "create", "audit", "--partitions", "12", "--dry-run"]]
    together(["escape"])
    await until(pilot, lambda: app.screen is not screen, "the dialog is gone")

    name = app.subject().name
    screen = await opened(app, pilot, "D")
    await reach(pilot, screen, Phase.AGREEING)
    together([*name, "enter"])
    await reach(pilot, screen, Phase.DONE)
    assert clerk.ran[-1] == ["topic", "delete", name, "--yes"]


async def test_progress_stays_in_one_line_and_goes_when_it_is_done(desk, clerk) -> None:
    app, pilot = desk
    clerk.answers["dry"] = (0, ["1 partitions move; 9 MiB to copy."])
    clerk.answers["real"] = (0, ["begun", "\r9 MiB left", "\r4 MiB left"])
    clerk.hold.clear()
    app.run_command("move orders:3")
    await until(pilot, lambda: isinstance(app.screen, ActionScreen), "the dialog")
    screen = app.screen
    await until(pilot, lambda: screen.is_mounted and bool(shown(app)), "its parts")
    clerk.hold.set()
    await pilot.press("enter")
    await reach(pilot, screen, Phase.AGREEING)
    clerk.hold.clear()
    await pilot.press("enter")
    await until(pilot, lambda: "4 MiB left" in said(screen), "how far it is")
    assert said(screen).split("\n") == ["begun", "4 MiB left"]
    screen._hear("1 partitions moved")
    assert said(screen).split("\n") == ["begun", "1 partitions moved"]
    clerk.hold.set()
    await reach(pilot, screen, Phase.DONE)
