"""`dash --page`: what can be begun with, what is refused before a screen is taken, and completion."""

import io

import pytest

from shell.cli import build, parse
from shell.commands import all_commands
from shell.completion import suggest
from shell.exits import UsageProblem
from shell.names import Names
from shell.output import Output
from shell.pages import PAGES, first_page
from shell.session import Doors, Session
from shell.settings import Settings
from shell.web import dashboard_command
from tui.pages import PAGES as THERE
from tui.pages.base import Place
from tui.starting import start_place


class NoContext(Doors):
    """Nothing is saved."""

    environ = {}

    def contexts(self):
        return {}

    def current_context(self):
        return None


REGISTRY = all_commands()
NAMES = Names(topics={"orders": 3, "signups": 1}, brokers={1: "up", 12: "up"},
              groups={"payments": "Stable"})  # fmt: skip


def test_there_are_the_pages_of_the_dashboard() -> None:
    assert set(PAGES) == set(THERE)


@pytest.mark.parametrize("page", PAGES)
def test_each_page_can_be_begun_with(page: str) -> None:
    about = PAGES[page]
    words = about.example.split() if about.required else []
    assert start_place(first_page(page, words)).kind == page


@pytest.mark.parametrize(
    ("page", "words", "place"),
    [
        (None, [], Place("overview")),
        ("group", ["payments"], Place("group", "payments")),
        ("records", ["orders:3"], Place("records", "orders:3")),
        ("settings", ["broker", "2"], Place("settings", "broker 2")),
        ("settings", ["orders"], Place("settings", "topic orders")),
        ("partitions", ["isr < replicas", "and", "leader = 2"],
         Place("partitions", "isr < replicas and leader = 2")),
        ("events", [], Place("events")),
    ],
)  # fmt: skip
def test_words_lead_to_a_place(page, words, place) -> None:
    assert start_place(first_page(page, words)) == place


@pytest.mark.parametrize(
    ("page", "words", "said"),
    [
        ("topics", ["orders"], "--page topic"),
        ("quorum", ["1"], "takes nothing after it"),
        ("group", [], "needs the name of a group"),
        (None, ["orders"], "--page topic orders"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_opened(page, words, said) -> None:
    with pytest.raises(UsageProblem, match=said):
        first_page(page, words)


def test_an_unknown_page_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageProblem, match=r"(?s)overview, brokers.*Did you mean 'topics'"):
        parse(build(REGISTRY), ["dash", "--page", "topcs"])


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("dash --page gro", ["groups", "group"]),
        ("dash --page=quo", ["--page=quorum"]),
        ("dash --page topic ", ["orders", "signups"]),
        ("dash --page=group ", ["payments"]),
        ("dash --page broker 1", ["1", "12"]),
        ("dash --page settings broker ", ["1", "12"]),
        ("dash --page settings sig", ["signups"]),
        ("dash --page records orders:", ["orders:0", "orders:1", "orders:2"]),
        ("dash --page topics ", []),
        ("dash --page topic orders ", []),
        ("dash ", []),
    ],
)
def test_what_comes_next_is_completed(line, found) -> None:
    assert [each.text for each in suggest(REGISTRY, line, NAMES)] == found


def test_each_page_of_a_browser_begins_there() -> None:
    settings = Settings(bootstrap=("127.0.0.1:1",))
    session = Session(settings, Output(stdout=io.BytesIO(), stderr=io.StringIO()), NoContext())
    assert dashboard_command(session, "settings broker 2").endswith(
        " dash --page=settings -- 'broker 2'"
    )
    assert dashboard_command(session, "topic -x").endswith(" dash --page=topic -- -x")
    assert dashboard_command(session).endswith(" dash")
