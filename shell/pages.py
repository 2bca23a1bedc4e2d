"""The pages that the dashboard can begin with, and what each can be told about.

Pure, and known without loading the dashboard; a test compares them with the pages that it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shell.exits import UsageProblem
from shell.registry import Kind


@dataclass(frozen=True, slots=True)
class About:
    """What follows the name of a page: "" for nothing. `kind` is where its names come from."""

    what: str = ""
    kind: Kind = Kind.TEXT
    required: bool = False
    example: str = ""


_FILTER = "a filter"
PAGES: dict[str, About] = {
    "overview": About(),
    "brokers": About(),
    "broker": About("the id of a broker", Kind.BROKER, True, "1"),
    "topics": About(),
    "topic": About("the name of a topic", Kind.TOPIC, True, "orders"),
    "partitions": About(_FILTER, example="under-replicated"),
    "groups": About(),
    "group": About("the name of a group", Kind.GROUP, True, "payments"),
    "events": About(_FILTER, example="LeaderMoved"),
    "quorum": About(),
    "records": About("a topic", Kind.TOPIC_PARTITION, True, "orders:3"),
    "settings": About("a topic, or broker and an id", Kind.CONFIG_OWNER, True, "broker 1"),
    "changes": About(),
    "commands": About(),
    "contexts": About(),
}


def first_page(page: str | None, words: Sequence[str]) -> str:
    """The page to begin with, as it is typed after `:` in the dashboard; "" for the usual one.

    Raises UsageProblem for words that do not fit the page. Whether there is such a topic, broker or
    group only the cluster can tell.
    """
    said = " ".join(words).strip()
    if page is None:
        if said:
            raise UsageProblem(
                f"Which page is about '{said}'? Name it, such as --page topic {said}.",
                hint=f"There are {', '.join(PAGES)}.",
            )
        return ""
    about = PAGES[page]
    if said and not about.what:
        fitting = page.removesuffix("s")
        near = f" Did you mean --page {fitting}?" if page != fitting and fitting in PAGES else ""
        raise UsageProblem(f"The page {page} takes nothing after it; leave out '{said}'.{near}")
    if about.required and not said:
        raise UsageProblem(
            f"The page {page} needs {about.what} after it.",
            hint=f"Such as `logctl dash --page {page} {about.example}`.",
        )
    return f"{page} {said}".strip()


def subject_kind(page: str | None, given: Sequence[str]) -> Kind:
    """What the next word after the name of a page is; `given` are those before it."""
    about = PAGES.get(page or "", About())
    if about.kind is Kind.CONFIG_OWNER:
        return Kind.BROKER if tuple(given) == ("broker",) else _alone(Kind.TOPIC, given)
    return _alone(about.kind, given)


def _alone(kind: Kind, given: Sequence[str]) -> Kind:
    return Kind.TEXT if given else kind
