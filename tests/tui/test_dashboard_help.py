"""`?` names every key that does something where one is, and so does the reference in the docs."""

import re
from pathlib import Path

import pytest

from tests.tui.piloting import Clerk, until
from tui.actions import ACTIONS
from tui.app import known_keys_now
from tui.help import help_of
from tui.keys import ALWAYS, Chosen, sign
from tui.pages import PAGES

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


@pytest.mark.parametrize("kind", PAGES)
async def test_help_names_every_key_that_is_active_on_a_page(
    cluster, open_dashboard, kind: str
) -> None:
    app = open_dashboard(cluster, commander=Clerk(), start=f"{kind} {SUBJECTS.get(kind, '')}")
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: bool(app.store.view.topics), "the cluster")
        await until(pilot, lambda: app.page.is_mounted and app.focused is not None, "the page")
        help_screen = help_of(app.page, app.offers(), known_keys_now(), Chosen())
        text = help_screen._text(84).plain
        signs = signs_in(text)
        active = {sign(key) for key in app.screen.active_bindings}
        active |= {sign(key) for offer in app.offers() for key in offer.keys}
        assert active - signs == set()
        assert app.page.HELP
        for binding in vars(type(app.page)).get("BINDINGS", ()):
            line = next(each for each in text.splitlines() if each.endswith(binding.description))
            assert all(sign(key) in line.split() for key in binding.key.split(","))


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
