"""What the palette says of an action is what it does, and nothing in it hides how things stand."""

from textual.widgets import Static

from tests.tui.piloting import Clerk, until
from tui.action_screen import ActionScreen


async def test_the_palette_names_what_each_action_is_about_and_no_more(
    cluster, open_dashboard
) -> None:
    app = open_dashboard(cluster, commander=Clerk())
    async with app.run_test(size=(120, 36)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.subject() is not None, "a cursor on a partition")
        told = {each.title: each for each in app.get_system_commands(app.screen)}
        # On the row of orders-0 a new topic has nothing to do with it, and neither has the whole.
        assert "Create topic" in told
        assert told["Elect all preferred"].help == ":elect-all"
        assert "Delete topic orders" in told
        assert told["Group …"].help == ":group NAME"
        assert told["Delete group …"].help == ":delete-group NAME"
        # Help says every key; one panel alone would be without the line that says "lost".
        assert "Help" in told
        assert not {"Keys", "Maximize", "Minimize"} & set(told)
        told["Elect all preferred"].callback()
        await until(pilot, lambda: isinstance(app.screen, ActionScreen), "its dialog")
        await until(pilot, lambda: app.screen.query("#action-command"), "its command")
        command = app.screen.query_one("#action-command", Static)
        assert str(command.content).endswith("logctl partition elect")
        await pilot.press("escape")
        told["Topic …"].callback()
        await until(pilot, lambda: app._bar.value == "topic ", "the line, for its name")
        await pilot.press("escape")
        told["Help"].callback()
        await until(pilot, lambda: "Help" in type(app.screen).__name__, "the help")
