"""What the palette lists of our own: pages, contexts, actions with what they would be done with.

Must offer nothing that the keys would not: where a cluster is read-only, no action stands here.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from textual.app import SystemCommand

if TYPE_CHECKING:
    from tui.app import DashboardApp


# Of Textual's own: keys are told by our help, and one panel alone would hide the first line, which
# tells whether anything that is shown is so now.
WITHOUT = frozenset({"Keys", "Maximize", "Minimize"})
# Pages about one thing.
GO_TO = ("broker", "topic", "group", "records")


def own_commands(app: "DashboardApp", pages: Sequence[tuple[str, str]]) -> Iterator[SystemCommand]:
    """`pages` are (kind, title) of the main pages."""
    for kind, title in pages:
        yield SystemCommand(title, f"Open {title.lower()}", lambda k=kind: app.action_main(k))
    for word in GO_TO:
        # The name is still to be typed.
        yield SystemCommand(
            f"{word.capitalize()} …", f":{word} NAME", lambda w=word: app.type_command(f"{w} ")
        )
    yield SystemCommand("Help", "What this page shows, and every key", app.action_help)
    yield SystemCommand("Contexts", "Go to another cluster", app.action_contexts)
    yield SystemCommand("Changes", "What is otherwise than at a mark", app.action_changes)
    yield SystemCommand("Commands", "What was done from dashboards", app.action_commands)
    yield SystemCommand("Hold", "Hold the screen still, or go on", app.action_hold)
    yield SystemCommand("Settings", "All settings of a topic or broker", app.action_settings)
    yield SystemCommand("Save", "Save the rows that are shown as a file", app.action_save)
    yield SystemCommand("Mark", "Remember how the cluster is now", app.action_mark)
    offered = {offer.action.name: offer for offer in app.offers()}
    for offer in offered.values():
        about = offer.subject if offer.action.about_subject else None
        yield SystemCommand(
            f"{offer.action.title} {about or ''}".strip(),
            f":{offer.action.name}",
            lambda o=offer: app.start_action(o.action, o.subject),
        )
    for name, action in app.all_actions().items():
        if name in offered or "setting" in action.kinds:
            continue
        if "cluster" in action.kinds:
            yield SystemCommand(
                action.title, f":{name}", lambda a=action: app.start_action(a, None)
            )
        else:
            # The name of what it is about is still to be typed.
            yield SystemCommand(
                f"{action.title} …", f":{name} NAME", lambda n=name: app.type_command(f"{n} ")
            )
