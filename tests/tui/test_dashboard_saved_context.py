"""The colour of a context is seen before anything is done; what is changed of it is taken up."""

import pytest
from textual.widgets import Input, Static

from clusters import state
from tests.tui.piloting import Clerk, until
from tui import following
from tui.action_screen import ActionScreen, Phase
from tui.badge import GROUNDS, badge
from tui.doors import Target
from tui.pages.base import Place
from tui.saved import SavedContext

SAVED = "contexts:\n  prod: {{bootstrap: ['127.0.0.1:{port}'], color: {color}{more}}}\n"


@pytest.fixture
def save(tmp_path, monkeypatch):
    """Write what is saved of the context."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(following, "LOOK_S", 0.02)
    (tmp_path / "logctl").mkdir()

    def write(port: int = 1, color: str = "red", more: str = "", text: str = "") -> None:
        words = text or SAVED.format(port=port, color=color, more=more)
        (tmp_path / "logctl" / "config.yaml").write_text(words, encoding="utf-8")

    write()
    return write


@pytest.fixture
def shown(cluster, cluster_class, open_dashboard, save):
    """A dashboard of the saved context; each time that it is found anew its feed is another."""
    feeds = [cluster]
    clerk = Clerk()

    def target() -> Target:
        context = state.contexts()["prod"]
        return Target(name="prod", bootstrap=context.bootstrap, read_only=context.read_only,
                      color=context.color, feed=feeds[-1], commander=clerk, saved=context,
                      again=again)  # fmt: skip

    def again() -> Target:
        feed = cluster_class()
        feed.create_topic("moved", 1)
        feed.queue.put_nowait(feed.update(replaying=True))
        feeds.append(feed)
        return target()

    first = target()
    app = open_dashboard(cluster, commander=clerk, color=first.color, saved=SavedContext(first))
    app.cluster_name = "prod"
    return app


def told(app) -> list[str]:
    return [note.message for note in app._notifications]


def drawn(app, name: str) -> Static:
    return app.screen.query_one(name, Static)


def ground_of(widget: Static, word: str) -> str:
    for segment in widget.render_line(0):
        if word in segment.text:
            return segment.style.bgcolor.name
    raise AssertionError(f"{word} is not in {widget.render_line(0).text}")


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_a_dashboard_and_its_dialogs_wear_the_colour_of_the_context(
    cluster, shown, size
) -> None:
    async with shown.run_test(size=size) as pilot:
        await cluster.tell(replaying=True)
        await pilot.press("3")
        await until(pilot, lambda: shown.subject() is not None, "a topic")
        assert drawn(shown, "#status").render_line(0).text.startswith(" prod ")
        assert ground_of(drawn(shown, "#status"), "prod") == "#b3261e"
        await pilot.press("D")
        await until(pilot, lambda: isinstance(shown.screen, ActionScreen), "the dialog")
        await until(pilot, lambda: shown.screen.query("#action-title"), "its title")
        title = drawn(shown, "#action-title")
        await until(pilot, lambda: title.size.width > 0, "its place")
        assert title.render_line(0).text.startswith(" prod  Delete topic orders")
        assert ground_of(title, "prod") == "#b3261e"
        screen = shown.screen
        await until(pilot, lambda: screen.phase is Phase.AGREEING and screen._seen_s, "a question")
        hint = drawn(shown, "#action-hint")
        await until(pilot, lambda: "does it" in hint.render_line(0).text, "what agrees")
        assert hint.render_line(0).text.startswith(" prod  Enter does it")
        assert ground_of(hint, "prod") == "#b3261e"


async def test_what_agrees_is_seen_on_the_smallest_screen(cluster, shown) -> None:
    async with shown.run_test(size=(80, 24)) as pilot:
        await cluster.tell(replaying=True)
        await pilot.press("3")
        await until(pilot, lambda: shown.subject() is not None, "a topic")
        await pilot.press("C")
        await until(pilot, lambda: isinstance(shown.focused, Input), "the dialog")
        screen = shown.screen
        await pilot.press(*"new", "tab", "tab", "tab", *"a=1 b=2 c=3 d=4 e=5", "enter")
        await until(pilot, lambda: screen.phase is Phase.AGREEING and screen._seen_s, "a question")
        hint = drawn(shown, "#action-hint")
        await until(pilot, lambda: 0 < hint.region.bottom <= 24, "what agrees to it")


async def test_a_colour_is_a_word_where_none_is_shown(cluster, shown, monkeypatch) -> None:
    monkeypatch.setattr(shown, "no_color", True)
    async with shown.run_test(size=(80, 24)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: "live" in str(drawn(shown, "#status").content), "the cluster")
        assert str(drawn(shown, "#status").content).startswith(" prod [red]  ● live")


def test_every_colour_that_can_be_chosen_has_a_ground_and_others_do_no_harm() -> None:
    from shell.repl import CONTEXT_COLORS

    assert set(GROUNDS) == CONTEXT_COLORS
    assert str(badge("c", "pink", no_color=True)) == " c "


async def test_changed_addresses_are_followed_and_said(cluster, shown, save) -> None:
    async with shown.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await pilot.press("3")
        await until(pilot, lambda: shown.subject() is not None, "a topic")
        save(port=2, color="green", more=", read_only: true")
        await until(pilot, lambda: shown.known_names()["topic"] == ["moved"], "the other feed")
        assert shown.bootstrap == ["127.0.0.1:2"]
        assert shown.place == Place("topics")
        (said,) = told(shown)
        assert "prod was changed (addresses, whether it may be changed, colour)" in said
        await until(pilot, lambda: shown.focused is not None, "the page")
        assert ground_of(drawn(shown, "#status"), "prod") == "#1b7f4b"
        assert "(read-only)" in str(drawn(shown, "#status").content)
        assert shown.actions() == []
        # Again and again.
        save(port=3, color="green")
        await until(pilot, lambda: shown.bootstrap == ["127.0.0.1:3"], "the next addresses")
        assert not shown.read_only


async def test_nothing_changes_under_a_question(cluster, shown, save) -> None:
    async with shown.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await pilot.press("3")
        await until(pilot, lambda: shown.subject() is not None, "a topic")
        await pilot.press("D")
        await until(pilot, lambda: isinstance(shown.screen, ActionScreen), "the dialog")
        save(port=2)
        for _ in range(10):
            await pilot.pause(0.02)
        assert shown.bootstrap == ["127.0.0.1:19092"]
        await pilot.press("escape")
        await until(pilot, lambda: shown.bootstrap == ["127.0.0.1:2"], "the change")


async def test_a_file_that_says_the_same_or_nothing_changes_nothing(cluster, shown, save) -> None:
    async with shown.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: "orders" in shown.known_names()["topic"], "the cluster")
        save(more="}\n  other: {bootstrap: ['127.0.0.1:9']")
        save(text="contexts: [broken")
        await until(pilot, lambda: len(told(shown)) == 1, "what is wrong")
        save(text="contexts: {}\n")
        await until(pilot, lambda: len(told(shown)) == 2, "that it is gone")
        said = told(shown)
        assert all(each.endswith("(what it was is still shown)") for each in said)
        assert said[1].startswith("The context prod is not saved any more")
        save(color="blue")
        await until(pilot, lambda: shown.color == "blue", "what is right again")
        await until(pilot, lambda: shown.known_names()["topic"] == ["moved"], "what is there now")
