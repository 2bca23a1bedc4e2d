"""What is remembered of the style sheet gives the looks that Textual finds by itself."""

from collections.abc import Iterator

import pytest
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode

from tests.tui.bench import Clerk
from tests.tui.piloting import until
from tui.action_screen import ActionScreen
from tui.app import DashboardApp
from tui.dialog import Palette
from tui.help import HelpScreen
from tui.pages.base import Page, Place
from tui.preferences import DARK, LIGHT

PLACES = (
    Place("partitions"),
    Place("topic", "orders"),
    Place("brokers"),
    Place("overview"),
)
DIALOGS = {"question_mark": HelpScreen, "ctrl+p": Palette, "C": ActionScreen}


@pytest.fixture
async def desk(cluster_class) -> Iterator:
    """The overview of a cluster of two topics."""
    cluster = cluster_class()
    for name in ("orders", "payments"):
        cluster.create_topic(name, 6)
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds(), commander=Clerk())
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: len(app.store.view.partitions) == 12, "all partitions")
        yield app, pilot


def looks_of(node: DOMNode) -> dict[str, dict]:
    """The rules of a node, and of each part of it that has a name."""
    found = {"": dict(node.styles.base._rules)}
    for name, styles in node._component_styles.items():
        found[name] = dict(styles.base._rules)
    return found


def is_put_off(node: DOMNode) -> bool:
    """Whether it gets its looks when it is shown again."""
    return isinstance(node, Page) and node.is_outdated


def differing(app: DashboardApp) -> list[str]:
    """What Textual's own style sheet, with the same texts, gives other looks."""
    plain = Stylesheet(variables=app.get_css_variables())
    plain.source = app.stylesheet.source.copy()
    plain.parse()
    wrong = []
    for screen in app.screen_stack:
        for node in screen.walk_children(with_self=True):
            if put_off := [each for each in node.ancestors_with_self if is_put_off(each)]:
                assert not put_off[0].display
                continue
            ours = looks_of(node)
            plain.apply(node)
            if ours != looks_of(node):
                wrong.append(f"{node} on {screen}")
    return wrong


async def walk(app: DashboardApp, pilot) -> None:
    """Open pages and dialogs, with the looks of all that is there as they should be."""
    for place in PLACES:
        app.open_place(place)
        await until(pilot, lambda: app.page.main_table().has_focus, f"the focus on {place}")
        assert differing(app) == []
    for key, kind in DIALOGS.items():
        await pilot.press(key)
        await until(pilot, lambda kind=kind: isinstance(app.screen, kind), str(kind))
        await pilot.pause()
        await pilot.press("x", "tab")
        await pilot.pause()
        assert differing(app) == []
        app.screen.set_class(True, "failed")
        assert differing(app) == []
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1, "the dialog is gone")
        assert differing(app) == []


async def test_looks_are_those_of_textual_the_first_time_and_later(desk) -> None:
    app, pilot = desk
    assert app.theme == DARK.name
    for _ in range(2):
        await walk(app, pilot)


async def test_looks_follow_the_theme_there_and_back(desk) -> None:
    app, pilot = desk
    await walk(app, pilot)
    colors = []
    for theme in (LIGHT, DARK, LIGHT, DARK, LIGHT):
        before = app.stylesheet._known
        await pilot.press("T")
        await until(pilot, lambda was=before: app.stylesheet._known is not was, theme.name)
        await pilot.pause()
        assert app.theme == theme.name
        assert differing(app) == []
        colors.append(app.query_one("#status").styles.background)
    assert sum(map(is_put_off, app._pages.values())) >= 2
    await walk(app, pilot)
    assert colors[0] == colors[2] == colors[4] != colors[1] == colors[3]


async def test_a_broken_style_sheet_changes_nothing(desk) -> None:
    app, _ = desk
    rules = app.stylesheet.rules
    app.stylesheet.source[("made up", "")] = next(iter(app.stylesheet.source.values()))._replace(
        content="Screen { color: $nosuch"
    )
    with pytest.raises(Exception, match=r".*"):
        app.stylesheet.reparse()
    assert app.stylesheet.rules == rules


async def test_what_dialogs_and_the_other_theme_need_is_read_while_nobody_waits(desk) -> None:
    app, pilot = desk
    await until(pilot, lambda: app.is_screen_installed("palette"), "the palette is made")
    await until(pilot, lambda: not any(w.group == "ready" for w in app.workers), "all is read")
    assert len(app.screen_stack) == 1
    sheet = app.stylesheet
    texts = {*sheet.source}
    pieces = sum(len(each.pieces) for each in sheet._texts.values())
    for key, kind in DIALOGS.items():
        await pilot.press(key)
        await until(pilot, lambda kind=kind: isinstance(app.screen, kind), str(kind))
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1, "the dialog is gone")
    await pilot.press("T")
    await until(pilot, lambda: app.theme == LIGHT.name, "the light theme")
    await pilot.pause()
    assert {*sheet.source} == texts
    assert sum(len(each.pieces) for each in sheet._texts.values()) == pieces


async def test_notes_that_come_and_go_leave_no_looks_behind(cluster_class) -> None:
    cluster = cluster_class()
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds())
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.is_screen_installed("palette"), "the palette is made")
        await until(pilot, lambda: not any(w.group == "ready" for w in app.workers), "all is read")
        kept = []
        for number in range(6):
            app.notify(f"note {number}", timeout=0.05)
            await until(pilot, lambda: app.screen.query("Toast"), "the note")
            assert differing(app) == []
            await until(pilot, lambda: not app.screen.query("Toast"), "the note is gone")
            kept.append(len(app.stylesheet._known.looks))
        assert kept[-1] == kept[1], kept
