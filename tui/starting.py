"""The page that somebody wants to begin with, instead of the overview.

What it is about may not be there: that is told once the cluster was heard, with what there is. Must
never keep the first picture waiting for that.
"""

import asyncio
import contextlib
from typing import TYPE_CHECKING

from broker.protocol.errors import ErrorCode
from clusters.polls import Poll
from tui.commands import CommandProblem, known_name, read_command
from tui.pages.base import Place
from tui.rights import unseen
from tui.store import GROUPS

if TYPE_CHECKING:
    from tui.app import DashboardApp

LOOK_S = 0.1
ANSWER_S = 5
TOLD_S = 10
# What is shown instead of what there is not.
LISTS = {
    "broker": "brokers",
    "topic": "topics",
    "records": "topics",
    "settings": "topics",
    "group": "groups",
}


def start_place(text: str) -> Place:
    """The place of words as they are typed after `:`, whatever names there are; "" is the overview.

    Raises CommandProblem.
    """
    if not text:
        return Place("overview")
    said = read_command(text, {})
    if not isinstance(said, Place) or said.kind == "context":
        raise CommandProblem(f"{text} is no page.")
    return said


async def arrive(app: "DashboardApp", place: Place) -> None:
    """Once it is known what there is: stay, or say that there is no such thing and show what is."""
    listed = "brokers" if place.subject.startswith("broker ") else LISTS.get(place.kind)
    while listed is not None:
        await asyncio.sleep(LOOK_S)
        if app.place != place:
            return  # somebody went on
        is_there = _is_there(app, place)
        if is_there is not None:
            break
    if listed is None or is_there:
        return
    app.open_place(Place(listed))
    said = await _problem(app, place)
    app.notify(said, severity="warning", markup=False, timeout=TOLD_S)


def _is_there(app: "DashboardApp", place: Place) -> bool | None:
    """None while it cannot be told yet."""
    if place.kind == "group":
        answer = app.store.answer(Poll("group", place.subject))
        # What else there may be to say of it is told on its page.
        known = answer.value is not None or answer.code is not None
        return answer.code != ErrorCode.group_id_not_found if known else None
    view = app.store.view
    if not view.brokers or view.is_behind:
        return None
    kind, name = _named(place)
    return name in app.known_names()[kind]


def _named(place: Place) -> tuple[str, str]:
    """The kind and name of what a page is about."""
    if place.kind == "settings":
        kind, _, name = place.subject.partition(" ")
        return kind, name
    return ("topic", place.subject.partition(":")[0]) if place.kind == "records" else place


async def _problem(app: "DashboardApp", place: Place) -> str:
    """That there is no such thing, and what is called nearly so."""
    kind, name = _named(place)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            while kind == "group" and app.store.answer(GROUPS).value is None:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
    try:
        known_name(kind, name, app.known_names()[kind])
    except CommandProblem as problem:
        return f"{problem}{unseen(app.store, kind)}"
    return f'There is no {kind} "{name}".{unseen(app.store, kind)}'
