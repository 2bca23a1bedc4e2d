"""Every action of the dashboard, each held to the same promises; one that is new has none yet.

Its preview and its command are shown before anything runs, leaving runs nothing, what runs is what
was shown, a failure stays on the screen, and in a read-only context there is no way to it.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from textual.widgets import Input, Static

from clusters.admin import ConfigEntry
from tests.tui.piloting import until
from tui.action_screen import ActionScreen, Phase
from tui.actions import ACTIONS, Action
from tui.help import HelpScreen
from tui.pages.base import Place
from tui.words import with_flag

# Small, for each step is drawn.
SIZE = (80, 24)
DRY = "what the command said that it would do"
REFUSED = "error: not enough replicas on 127.0.0.1:19092"
FAILED = "error: the controller is moving"


@dataclass(frozen=True, slots=True)
class Case:
    """Where an action is offered, what it is told there, and the command that must come of it.

    `preview` is what the dialog says before it is agreed to; `typed` the name that it wants.
    """

    place: Place
    command: str
    answers: dict[str, str] = field(default_factory=dict)
    preview: str = DRY
    typed: str = ""


ORDERS = Place("topic", "orders")
BILLING = Place("group", "billing")
BROKER = Place("broker", "2")
SETTINGS = Place("settings", "topic orders")
RETENTION = ConfigEntry(name="retention.ms", value="604800000", source="topic")
CASES = {
    "create-topic": Case(
        Place("quorum"),
        "topic create audit --partitions 12 --replication 3"
        " --config retention.ms=7d --config cleanup.policy=compact",
        {
            "name": "audit",
            "partitions": "12",
            "replication": "3",
            "settings": "retention.ms=7d cleanup.policy=compact",
        },
    ),
    "alter-topic": Case(
        ORDERS,
        "topic alter orders --partitions 9 --config retention.ms=1d --unset cleanup.policy",
        {"partitions": "9", "settings": "retention.ms=1d", "unset": "cleanup.policy"},
    ),
    "set": Case(SETTINGS, "config set topic orders retention.ms=1d", {"value": "1d"}),
    "unset": Case(SETTINGS, "config unset topic orders retention.ms"),
    "delete-topic": Case(ORDERS, "topic delete orders", typed="orders"),
    "elect": Case(ORDERS, "partition elect orders:0"),
    "elect-all": Case(Place("quorum"), "partition elect"),
    "elect-unclean": Case(ORDERS, "partition elect orders:0 --unclean", typed="orders-0"),
    "move": Case(
        ORDERS,
        "partition move orders:0=3,1 --throttle 10MiB --wait",
        {"brokers": "3 1", "throttle": "10MiB"},
    ),
    "forget-offsets": Case(
        BILLING,
        "group delete-offsets billing orders payments:3",
        {"topics": "orders payments:3"},
    ),
    "throttle": Case(ORDERS, "partition throttle 10MiB", {"rate": "10MiB"}),
    "cancel-move": Case(ORDERS, "partition move --cancel orders:0"),
    "produce": Case(
        ORDERS,
        "produce orders --key k --partition 0 --header 'source=me' --header trace=1 -- 'two words'",
        {"value": "two words", "key": "k", "headers": "source=me trace=1"},
        preview="Appends one record to orders, partition 0.",
    ),
    "reset-offsets": Case(
        BILLING,
        "group reset billing --to -100 --topic orders --to-file before.json",
        {"to": "-100", "topics": "orders", "saved": "before.json"},
    ),
    "delete-group": Case(BILLING, "group delete billing", typed="billing"),
    "stop-broker": Case(BROKER, "broker stop 2", preview="Broker 2 holds 9 replicas and leads 3"),
    "start-broker": Case(
        BROKER, "broker start 2", preview="Broker 2 is up: nothing is to be started"
    ),
    "unregister-broker": Case(
        BROKER, "broker unregister 2", preview="Broker 2 is up and holds 9 replicas: orders-0"
    ),
    "restart-broker": Case(
        BROKER, "broker restart 2", preview="Broker 2 holds 9 replicas and leads 3"
    ),
}


class Clerk:
    """Notes the commands that it is given; the outcome of each kind can be set."""

    deploys = True

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.dry = (0, DRY)
        self.real = (0, "done so")

    def shown(self, words: Sequence[str]) -> str:
        return shlex.join(["logctl", *words])

    async def run(self, words: Sequence[str], on_line: Callable[[str], None]) -> int:
        self.ran.append(list(words))
        if words[0] == "tail":
            return 0
        code, line = self.dry if "--dry-run" in words else self.real
        on_line(line)
        return code


class Person:
    """Opens one action's dialog and answers it."""

    def __init__(self, app, pilot, action: Action, case: Case) -> None:
        self.app, self.pilot, self.action, self.case = app, pilot, action, case

    async def open(self) -> ActionScreen:
        await self.pilot.press(self.action.key)
        return await self.dialog()

    async def dialog(self) -> ActionScreen:
        app = self.app
        await until(
            self.pilot,
            lambda: isinstance(app.screen, ActionScreen) and app.screen.is_mounted,
            f"the dialog of {self.action.name}",
        )
        assert app.screen.action is self.action
        return app.screen

    async def answer(self, screen: ActionScreen) -> None:
        for name, text in self.case.answers.items():
            screen.query_one(f"#field-{name}", Input).value = text
        await self.pilot.pause()
        if any(each.id != "action-typed" for each in screen.query("Input")):
            await self.pilot.press("enter")

    async def reach(self, screen: ActionScreen, phase: Phase) -> None:
        await until(self.pilot, lambda: screen.phase is phase, f"{phase}, not {screen.phase}")

    async def leave(self, screen: ActionScreen, key: str = "escape") -> None:
        await self.pilot.press(key)
        await until(self.pilot, lambda: self.app.screen is not screen, "the dialog is gone")

    async def ready(self) -> ActionScreen:
        """The dialog, answered, with all shown that it has to show before it is agreed to."""
        screen = await self.open()
        await self.answer(screen)
        await self.reach(screen, Phase.AGREEING)
        return screen


def said(screen: ActionScreen) -> str:
    return str(screen.query_one("#action-said", Static).content)


def command(screen: ActionScreen) -> str:
    return str(screen.query_one("#action-command", Static).content)


async def stand(app, pilot, place: Place, name: str) -> None:
    """Go where an action is offered."""
    app.open_place(place)
    await until(
        pilot,
        lambda: app.page.is_mounted and name in {each.name for each in app.actions()},
        f"{name} is offered",
    )


def test_no_action_is_without_its_case() -> None:
    missing = {each.name for each in ACTIONS} - CASES.keys()
    assert not missing, f"nothing holds these actions to their promises: {sorted(missing)}"
    gone = CASES.keys() - {each.name for each in ACTIONS}
    assert not gone, f"there are no such actions any more: {sorted(gone)}"


@pytest.mark.parametrize("action", ACTIONS, ids=lambda each: each.name)
async def test_an_action_keeps_its_promises(cluster, open_dashboard, action: Action) -> None:
    clerk, case = Clerk(), CASES[action.name]
    cluster.polled["settings"] = [RETENTION]
    words = shlex.split(case.command)
    app = open_dashboard(cluster, commander=clerk)
    async with app.run_test(size=SIZE) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: bool(app.store.view.topics), "the cluster")
        await stand(app, pilot, case.place, action.name)
        person = Person(app, pilot, action, case)
        await shown_and_left(person, clerk, words)
        await refused_by_the_cluster(person, clerk)
        await agreed_to(person, clerk, words)
        await failed(person, clerk)
        await found_by_name(person, clerk)


async def shown_and_left(person: Person, clerk: Clerk, words: list[str]) -> None:
    """Preview and command are shown, and Escape runs nothing."""
    screen = await person.ready()
    assert command(screen) == "$ " + shlex.join(["logctl", *words])
    assert person.case.preview in said(screen)
    dry = with_flag([word for word in words if word != "--wait"], "--dry-run")
    assert clerk.ran == ([dry] if person.action.dry_run else [])
    await person.pilot.press("ctrl+y")
    assert person.app.clipboard == shlex.join(["logctl", *words])
    await person.leave(screen)
    assert all("--dry-run" in each for each in clerk.ran)


async def refused_by_the_cluster(person: Person, clerk: Clerk) -> None:
    """What is not possible is said before it is tried, and nothing closes."""
    if not person.action.dry_run:
        return
    clerk.dry = (1, REFUSED)
    screen = await person.open()
    await person.answer(screen)
    await until(person.pilot, lambda: REFUSED in said(screen), "the refusal")
    wanted = Phase.ASKING if person.case.answers else Phase.DONE
    await person.reach(screen, wanted)
    assert person.app.screen is screen
    await person.leave(screen)
    assert all("--dry-run" in each for each in clerk.ran)
    clerk.dry = (0, DRY)


async def agree(person: Person, screen: ActionScreen, clerk: Clerk) -> None:
    """Enter, with the name where it is asked for; Enter alone does nothing then."""
    asked = [each for each in screen.query("#action-typed").results(Input) if each.display]
    assert len(asked) == bool(person.case.typed)
    if person.case.typed:
        (typed,) = asked
        before = len(clerk.ran)
        for wrong in ("", person.case.typed[:-1]):
            typed.value = wrong
            await person.pilot.press("enter")
            assert screen.phase is Phase.AGREEING
        assert len(clerk.ran) == before
        assert f"type {person.case.typed}" in [*person.app._notifications][-1].message
        typed.value = person.case.typed
    await person.pilot.press("enter")
    await person.reach(screen, Phase.DONE)


async def agreed_to(person: Person, clerk: Clerk, words: list[str]) -> None:
    """What runs is what was shown, once, and what it said stays until it is closed."""
    screen = await person.ready()
    shown = shlex.split(command(screen).removeprefix("$ logctl "))
    assert shown == words
    before = len(clerk.ran)
    await agree(person, screen, clerk)
    assert clerk.ran[before:] == [[*shown, *(["--yes"] if person.action.yes else [])]]
    assert "done so" in said(screen)
    assert command(screen) == "$ " + shlex.join(["logctl", *words])
    await person.leave(screen, "enter")


async def failed(person: Person, clerk: Clerk) -> None:
    """The command's own words and its exit code are shown; nothing closes silently."""
    clerk.real = (4, FAILED)
    screen = await person.ready()
    await agree(person, screen, clerk)
    assert person.app.screen is screen
    assert FAILED in said(screen)
    assert "failed (exit code 4)" in str(screen.query_one("#action-hint", Static).content)
    assert screen.has_class("failed")
    await person.leave(screen)
    clerk.real = (0, "done so")


async def say(app, pilot, words: str) -> None:
    """Give words to the line that `:` opens."""
    await pilot.press("colon")
    app.query_one("#bar", Input).value = words
    await pilot.press("enter")


async def found_by_name(person: Person, clerk: Clerk) -> None:
    """The line for words, the palette and the help all know it, and mean the same."""
    app, name = person.app, person.action.name
    screen = await person.open()
    by_key = command(screen)
    await person.leave(screen)
    await say(app, person.pilot, name)
    screen = await person.dialog()
    assert command(screen) == by_key
    await person.leave(screen)
    offered = {each.help: each for each in app.get_system_commands(app.screen)}
    offered[f":{name}"].callback()
    screen = await person.dialog()
    assert command(screen) == by_key
    await person.leave(screen)
    await person.pilot.press("question_mark")
    await until(person.pilot, lambda: isinstance(app.screen, HelpScreen), "the help")
    help_text = str(app.screen.query_one(Static).content)
    assert any(
        line.strip().startswith(f"{person.action.key}  ") and f" {person.action.title}" in line
        for line in help_text.splitlines()
    )


async def test_a_read_only_context_has_no_way_to_any_action(cluster, open_dashboard) -> None:
    clerk = Clerk()
    app = open_dashboard(cluster, commander=clerk, read_only=True)
    async with app.run_test(size=SIZE) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: bool(app.store.view.topics), "the cluster")
        for place in {case.place: None for case in CASES.values()}:
            app.open_place(place)
            await until(pilot, lambda: app.page.is_mounted and app.page.is_attached, str(place))
            here = [each for each in ACTIONS if CASES[each.name].place == place]
            words = {f":{each.name}" for each in ACTIONS}
            told = [each.help for each in app.get_system_commands(app.screen)]
            assert not [each for each in told if words & set(each.split())]
            for action in here:
                await pilot.press(action.key)
                assert not isinstance(app.screen, ActionScreen), action.name
                app.run_command(action.name)
                await pilot.pause()
                last = [*app._notifications][-1].message
                assert last == "This context is read-only: nothing can be changed here."
                assert not isinstance(app.screen, ActionScreen), action.name
            await pilot.press("question_mark")
            await until(pilot, lambda: isinstance(app.screen, HelpScreen), "the help")
            lines = str(app.screen.query_one(Static).content).splitlines()
            starts = [tuple(f"  {a.key} {a.title}".split()) for a in here]
            assert not [x for x in lines if any((*x.split(),)[: len(y)] == y for y in starts)]
            await pilot.press("escape")
        assert clerk.ran == []
