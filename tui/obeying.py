"""What was typed after `:`, done: to go somewhere, to act, or a word to the dashboard itself.

Must never do anything when the words are not understood, and says what would be.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from tui.actions import ACTIONS, Action, named_subject, why_impossible
from tui.commands import CommandProblem, NoSuchThing, Said, read_command
from tui.pages.base import Place
from tui.rights import unseen
from tui.saving import SavingProblem

if TYPE_CHECKING:
    from tui.app import DashboardApp


def obey(app: "DashboardApp", text: str) -> None:
    """Raises CommandProblem when the words lead nowhere."""
    try:
        _obey(app, text)
    except NoSuchThing as problem:
        # Or one may not see it.
        raise CommandProblem(f"{problem}{unseen(app.store, problem.kind)}") from None


def _obey(app: "DashboardApp", text: str) -> None:
    actions = app.all_actions()
    word = text.strip().partition(" ")[0]
    if word not in actions and word in {each.name for each in ACTIONS}:
        raise CommandProblem(why_impossible(read_only=app.read_only))
    said = read_command(text, app.known_names(), actions)
    if isinstance(said, Place):
        app.open_place(said)
    elif said.word in actions:
        _start(app, actions[said.word], said.rest)
    else:
        _listen(app, said)


def _start(app: "DashboardApp", action: Action, words: str) -> None:
    """An action and a name, or the action with what is offered where somebody stands."""
    if not words:
        for offer in app.offers():
            if offer.action is action:
                app.start_action(action, offer.subject)
                return
    subject = named_subject(action, words, app.known_names())
    if subject is not None and subject.partition is not None:
        rows = app.store.view.rows_of(subject.name)
        if subject.partition >= len(rows):
            raise CommandProblem(f"{subject.name} has {len(rows)} partitions; there is no {words}.")
        subject = replace(subject, data=rows[subject.partition])
    app.start_action(action, subject)


def _save(app: "DashboardApp", name: str) -> None:
    if not name:
        raise CommandProblem("Save as what? Type :save FILE.csv, .jsonl or .json.")
    try:
        app.save_rows(name)
    except SavingProblem as problem:
        raise CommandProblem(str(problem)) from problem


def _listen(app: "DashboardApp", said: Said) -> None:
    """A word to the dashboard itself."""
    if said.word == "quit":
        app.exit()
    elif said.word == "help":
        app.action_help()
    elif said.word == "picture":
        app.action_picture()
    elif said.word == "mark":
        app.action_mark()
    elif said.word == "save":
        _save(app, said.rest)
    elif said.word == "hold":
        app.action_hold()
    elif said.word == "filter" and (table := app.page.focused_table()) is not None:
        table.set_filter(said.rest)
    elif said.word == "theme":
        if said.rest:
            app.theme = said.rest
        else:
            app.notify(f"Themes: {', '.join(sorted(app.available_themes))}", markup=False)
