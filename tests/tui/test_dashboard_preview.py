"""What a dialog shows before it acts: warnings stay, and what has changed since is shown anew."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from textual.widgets import Input, Static

from tests.tui.piloting import Clerk, until
from tui.action_screen import LOOKED_MS_MAX, ActionScreen, Phase


class Talker(Clerk):
    """Says what a command would do, and notes those that do it."""

    async def run(self, words: Sequence[str], on_line: Callable[[str], None]) -> int:
        self.ran.append(list(words))
        on_line("as the cluster says" if "--dry-run" in words else "fine")
        return 0


@pytest.fixture
async def desk(cluster, open_dashboard):
    clerk = Talker()
    cluster.min_isr("orders", 2)
    app = open_dashboard(cluster, commander=clerk)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: bool(app.table("brokers").shown), "brokers")
        yield app, pilot, clerk


async def agreeing(app, pilot, command: str) -> ActionScreen:
    app.run_command(command)
    await until(
        pilot,
        lambda: isinstance(app.screen, ActionScreen) and app.screen.phase is Phase.AGREEING,
        f"the question of {command}",
    )
    return app.screen


def said(screen: ActionScreen) -> str:
    return str(screen.query_one("#action-said", Static).render())


@pytest.mark.parametrize(
    ("command", "warning"),
    [
        ("elect-unclean orders:1", "is lost for good"),
        ("delete-topic orders", "all records of 6 partitions x 3. This cannot be undone."),
    ],
)
async def test_a_warning_stays_beside_what_the_cluster_says(desk, command, warning) -> None:
    app, pilot, _ = desk
    screen = await agreeing(app, pilot, command)
    assert warning in said(screen)
    assert "as the cluster says" in said(screen)


async def test_what_would_break_by_now_is_shown_before_anything_is_done(desk, cluster) -> None:
    app, pilot, clerk = desk
    screen = await agreeing(app, pilot, "stop-broker 2")
    assert "No partition would go offline" in said(screen)
    cluster.kill(3)
    await cluster.tell()
    await until(pilot, lambda: app.store.view.health().brokers_up == 2, "the loss")
    await pilot.press("enter")
    await until(pilot, lambda: "◔ 6 partitions would refuse acks=all" in said(screen), "the news")
    await until(pilot, lambda: screen.phase is Phase.AGREEING, "the question")
    assert clerk.ran == [["broker", "stop", "2", "--dry-run"]] * 2
    await pilot.press("enter")
    await until(pilot, lambda: screen.phase is Phase.DONE, "the end")
    assert clerk.ran[2:] == [["broker", "stop", "2"]]


async def test_what_was_shown_long_ago_is_looked_at_again(desk, cluster) -> None:
    app, pilot, clerk = desk
    screen = await agreeing(app, pilot, "delete-topic orders")
    cluster.now_ms += LOOKED_MS_MAX + 1
    screen.query_one("#action-typed", Input).value = "orders"
    await pilot.press("enter")
    await until(pilot, lambda: len(clerk.ran) == 2, "a second look")
    await until(pilot, lambda: screen.phase is Phase.AGREEING, "the question")
    assert all("--dry-run" in words for words in clerk.ran)
    await pilot.press("enter")
    await until(pilot, lambda: screen.phase is Phase.DONE, "the end")
    assert clerk.ran[-1] == ["topic", "delete", "orders", "--yes"]


async def test_a_cluster_that_does_not_answer_is_said_beside_what_it_was(desk, cluster) -> None:
    app, pilot, _ = desk
    cluster.lose("no answer")
    await cluster.tell()
    await until(pilot, lambda: app.store.status.mode == "lost", "the loss")
    screen = await agreeing(app, pilot, "stop-broker 2")
    assert "⚠ The cluster has not been heard for 7 s: this is how it was." in said(screen)


async def test_nothing_is_made_up_of_a_cluster_that_was_never_heard(
    cluster, open_dashboard
) -> None:
    cluster.status = replace(cluster.status, mode="lost", last_contact_ms=0)
    app = open_dashboard(cluster, commander=Talker())
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.store.status.mode == "lost", "that nobody answers")
        for command in ("stop-broker 2", "start-broker 2", "unregister-broker 2"):
            screen = await agreeing(app, pilot, command)
            assert "⚠ The cluster has not been heard yet: nothing is known of it." in said(screen)
            assert "What broker 2 holds is not known" in said(screen)
            assert "No partition would" not in said(screen)
            await pilot.press("escape")
            await until(pilot, lambda: len(app.screen_stack) == 1, "the page")


async def test_the_longest_name_leaves_room_to_type_it_on_the_smallest_screen(
    cluster, open_dashboard
) -> None:
    class Long(Talker):
        async def run(self, words: Sequence[str], on_line: Callable[[str], None]) -> int:
            for partition in range(4):
                on_line(f"would delete {name}-{partition} with its records")
            return await super().run(words, on_line)

    name = "long-" * 49 + "last"
    cluster.create_topic(name, 4)
    app = open_dashboard(cluster, commander=Long())
    async with app.run_test(size=(80, 24)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: bool(app.table("brokers").shown), "brokers")
        screen = await agreeing(app, pilot, f"delete-topic {name}")
        typed = screen.query_one("#action-typed", Input)
        frame = screen.query_one("#action").region
        await until(pilot, lambda: frame.contains_region(typed.region), "the line to type into")
        assert typed.has_focus
