"""A preview that is longer than the screen can be read without a mouse, before it is agreed to."""

import pytest

from tests.tui.piloting import until
from tui.action_screen import ActionScreen, Phase

LINES = [f"wide {number:>3}  1,2  2,3" for number in range(60)]


class Clerk:
    """Says many lines, whatever it is asked."""

    deploys = False

    def shown(self, words) -> str:
        return " ".join(["logctl", *words])

    async def run(self, words, on_line) -> int:
        for line in LINES:
            on_line(line)
        return 0


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_pages_of_a_preview_are_looked_at_with_keys(cluster, open_dashboard, size) -> None:
    app = open_dashboard(cluster, commander=Clerk())
    async with app.run_test(size=size) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.view.topics, "topics")
        app.run_command("move orders")
        await until(pilot, lambda: isinstance(app.screen, ActionScreen), "the dialog")
        screen = app.screen
        await pilot.press(*"2,3", "enter")
        await until(pilot, lambda: screen.phase is Phase.AGREEING, "the question")
        hint = screen.query_one("#action-hint")
        await until(pilot, lambda: "PageUp more" in str(hint.render()), "how to look back")

        def drawn() -> str:
            strips = screen._compositor.render_strips()
            return "\n".join("".join(segment.text for segment in line) for line in strips)

        await until(pilot, lambda: "Enter does it" in drawn(), "what agrees")
        assert LINES[0] not in drawn()
        for _ in range(20):
            await pilot.press("pagedown")
        await until(pilot, lambda: LINES[-1] in drawn(), "the end")
        for _ in range(20):
            await pilot.press("pageup")
        await until(pilot, lambda: LINES[0] in drawn(), "the first line")
        for _ in range(20):
            await pilot.press("pagedown")
        await until(pilot, lambda: LINES[-1] in drawn(), "the last line")
        await until(pilot, lambda: "Enter does it" in drawn(), "what agrees, again")
        assert screen.phase is Phase.AGREEING
