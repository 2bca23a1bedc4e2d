"""All settings of a topic or broker: where each comes from, what holds without it, setting it."""

from dataclasses import replace
from typing import Any

import pytest

from broker.protocol import metadata_records as rec
from clusters.admin import ConfigEntry
from clusters.polls import PollKind, Questions
from tests.tui.piloting import Clerk, until
from tui.action_screen import ActionScreen, Phase
from tui.commands import CommandProblem, completions, read_command
from tui.pages import Place

SIZE = (120, 36)
WEEK, DAY = "604800000", "86400000"
ENTRIES = [
    ConfigEntry(
        name="retention.ms",
        value=WEEK,
        source="topic",
        type="long",
        documentation="How long records are kept.",
        synonyms=[
            ("retention.ms", WEEK, "topic"),
            ("log.retention.ms", DAY, "static broker"),
            ("log.retention.hours", "168", "default"),
        ],
    ),
    ConfigEntry(name="cleanup.policy", value="delete", source="default", type="list"),
    ConfigEntry(name="ssl.key", value=None, source="topic", type="password", is_sensitive=True),
]


@pytest.fixture
async def opened(cluster: Any, open_dashboard: Any):
    cluster.polled["settings"] = ENTRIES
    clerk = Clerk()
    app = open_dashboard(cluster, commander=clerk)
    async with app.run_test(size=SIZE) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.view.topics, "the cluster")
        app.run_command("settings orders")
        await until(pilot, lambda: len(app.table("settings").shown) == 3, "the settings")
        yield app, pilot, clerk


async def test_a_change_is_asked_for_as_soon_as_it_is_in_the_log(
    cluster: Any, open_dashboard: Any, monkeypatch: Any
) -> None:
    kinds, values = cluster.kinds, {"retention.ms": "1000"}

    def entries(_: str) -> list[ConfigEntry]:
        return [ConfigEntry(name=n, value=v, source="topic") for n, v in values.items()]

    def seldom() -> dict[str, PollKind]:
        return {name: replace(kind, every_ms=3_600_000) for name, kind in kinds().items()}

    monkeypatch.setattr(cluster, "kinds", seldom)
    cluster.polled["settings"] = entries
    app = open_dashboard(cluster)
    async with app.run_test(size=SIZE) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.view.topics, "the cluster")
        app.run_command("settings orders")
        await until(pilot, lambda: len(app.table("settings").shown) == 1, "the settings")
        values["retention.ms"] = "2000"
        cluster.apply(
            rec.ConfigRecord(
                resource_type=2, resource_name="orders", name="retention.ms", value="2000"
            )
        )
        await cluster.tell()
        await until(pilot, lambda: "2000" in app.table("settings").shown[0].said, "the new value")


def facts(app: Any) -> list[str]:
    return str(app.page.texts["facts"].content).splitlines()


async def test_what_somebody_set_comes_first_and_is_explained(opened: Any) -> None:
    app, pilot, _ = opened
    rows = app.table("settings").shown
    assert [(row.name, row.default) for row in rows] == [
        ("retention.ms", "168"),
        ("ssl.key", None),
        ("cleanup.policy", "delete"),
    ]
    assert facts(app) == [
        "604800000 (7 d)  long",
        "topic 604800000   then static broker 86400000   then default 168",
        "How long records are kept.",
        "logctl config get topic orders retention.ms --documentation",
    ]
    await pilot.press("j")
    await until(pilot, lambda: facts(app)[0] == "(hidden)  password", "the next one")
    assert "topic (hidden)" in facts(app)[1]
    await pilot.press("o")
    assert [row.name for row in app.table("settings").shown] == ["retention.ms", "ssl.key"]


async def test_a_setting_is_set_and_let_go_from_its_row(opened: Any) -> None:
    app, pilot, clerk = opened
    for key, words in {
        "A": ["config", "set", "topic", "orders", f"retention.ms={WEEK}"],
        "D": ["config", "unset", "topic", "orders", "retention.ms"],
    }.items():
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, ActionScreen), "the dialog")
        screen = app.screen
        if key == "A":
            await pilot.press("enter")  # the value is that of now
        await until(pilot, lambda s=screen: s.phase is Phase.AGREEING, "what would be so")
        assert clerk.ran[-1] == [*words, "--dry-run"]
        await pilot.press("enter")
        await until(pilot, lambda s=screen: s.phase is Phase.DONE, "the end")
        assert clerk.ran[-1] == words
        await pilot.press("enter")
        await until(pilot, lambda: len(app.screen_stack) == 1, "the page")


async def test_what_is_secret_is_in_no_command(opened: Any) -> None:
    app, pilot, _ = opened
    app.table("settings").move_to_key("ssl.key")
    await until(pilot, lambda: app.subject().name == "ssl.key", "the secret")
    offered = {offer.action.name for offer in app.offers()}
    assert not {"set", "unset"} & offered
    assert "alter-topic" in offered, "the topic is still there"


async def test_settings_of_a_broker(opened: Any) -> None:
    app, pilot, _ = opened
    app.run_command("settings broker 2")
    await until(pilot, lambda: len(app.table("settings").shown) == 3, "the settings")
    assert facts(app)[-1] == "logctl config get broker 2 retention.ms --documentation"
    assert "restart-broker" in {offer.action.name for offer in app.offers()}
    await pilot.press("enter")
    assert app.place == Place("broker", "2")


def test_a_topic_that_begins_with_a_hyphen_stays_a_name() -> None:
    from tui.actions import ACTIONS
    from tui.pages.base import Subject
    from tui.pages.settings import setting_rows

    (row, *_) = setting_rows("topic", "-odd", ENTRIES)
    by_name = {each.name: each for each in ACTIONS}
    subject = Subject("setting", row.name, data=row)
    words = by_name["set"].words(subject, {"value": "1d"})
    assert words == ["config", "set", "topic", "--", "-odd", "retention.ms=1d"]


def test_what_can_be_said() -> None:
    known = {"topic": ["broker", "orders"], "broker": ["1", "2"]}
    assert read_command("settings orders", known) == Place("settings", "topic orders")
    assert read_command("settings broker", known) == Place("settings", "topic broker")
    assert read_command("settings broker 2", known) == Place("settings", "broker 2")
    for words in ("settings", "settings ordres", "settings broker 9"):
        with pytest.raises(CommandProblem):
            read_command(words, known)
    assert "settings orders" in completions("settings ord", known)


async def test_they_are_asked_for_with_what_they_are_for() -> None:
    asked = []

    class Admin:
        def __getattr__(self, name: str) -> Any:
            async def ask(*words: Any, **options: Any) -> list[ConfigEntry]:
                asked.append((name, *words, options))
                return ENTRIES

            return ask

    kind = Questions(Admin(), lambda _: []).kinds()["settings"]
    assert await kind.ask("topic a b") == ENTRIES
    await kind.ask("broker 2")
    assert asked == [
        ("configs", "topic", "a b", {"documentation": True}),
        ("configs", "broker", "2", {"documentation": True}),
    ]
