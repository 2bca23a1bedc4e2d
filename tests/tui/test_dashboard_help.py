"""`?` names every key that does something where one is, and so does the reference in the docs."""

import re
from pathlib import Path

from tests.tui.piloting import Clerk, until
from tui.actions import ACTIONS
from tui.app import known_keys_now
from tui.help import help_of
from tui.keys import ALWAYS, Chosen, sign
from tui.pages import PAGES, Place

DOCS = Path(__file__).parent.parent.parent / "docs"
SUBJECTS = {
    "broker": "1",
    "topic": "orders",
    "group": "payments",
    "records": "orders",
    "settings": "topic orders",
}


def signs_in(text: str) -> set[str]:
    words = text.replace("\xa0", " ").split()
    return {*words, *(word.rstrip(";,.") for word in words)}


async def test_help_names_every_key_that_is_active_on_a_page(cluster, open_dashboard) -> None:
    app = open_dashboard(cluster, commander=Clerk())
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: bool(app.store.view.topics), "the cluster")
        for kind in PAGES:
            app.open_place(Place(kind, SUBJECTS.get(kind, "")))
            table = app.page.main_table()
            await until(pilot, lambda table=table: table.has_focus, f"the page {kind}")
            text = help_of(app.page, app.offers(), known_keys_now(), Chosen())._text(84).plain
            active = {sign(key) for key in app.screen.active_bindings}
            active |= {sign(key) for offer in app.offers() for key in offer.keys}
            assert active - signs_in(text) == set(), kind
            assert app.page.HELP, kind
            for binding in vars(type(app.page)).get("BINDINGS", ()):
                ends = [each for each in text.splitlines() if each.endswith(binding.description)]
                assert all(sign(key) in ends[0].split() for key in binding.key.split(",")), kind


def test_the_reference_names_every_key_and_id() -> None:
    text = (DOCS / "reference" / "dashboard.md").read_text(encoding="utf-8")
    coded = set(re.findall(r"`(?:` )?(.+?)(?: `)?`", text))
    for each in known_keys_now():
        assert each.id in coded
        assert {sign(key) for key in each.keys or ALWAYS.get(each.id, ())} <= coded
    for action in ACTIONS:
        assert f":{action.name}" in coded
    for kind in PAGES:
        assert f":{kind}" in coded


def test_the_story_in_the_docs_names_every_page_and_its_keys() -> None:
    text = (DOCS / "dashboard.md").read_text(encoding="utf-8")
    for page in PAGES.values():
        assert page.KIND in text
        for binding in vars(page).get("BINDINGS", ()):
            assert all(f"`{sign(key)}`" in text for key in binding.key.split(","))
    for action in ACTIONS:
        assert f"`{sign(action.key)}`" in text


async def test_a_long_name_takes_one_line_for_each_action_on_it(cluster, open_dashboard) -> None:
    topic = "long-" + "o" * 244
    cluster.create_topic(topic, 2)
    app = open_dashboard(cluster, commander=Clerk(), start=f"topic {topic}")
    async with app.run_test(size=(80, 24)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.page.is_mounted and app.page.subject(), "the topic")
        text = help_of(app.page, app.offers(), known_keys_now(), Chosen())._text(76).plain
        named = [line for line in text.splitlines() if "ooo" in line]
        assert len(named) > 4
        assert all("…" in line for line in named)
        assert any(line.endswith("…-0") for line in named)
