"""The `:` line. Pure: text in, a place or a word to the application out."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType

from clusters.nearest import nearest
from tui.pages.base import Place

ALIASES = {
    "o": "overview",
    "b": "brokers",
    "t": "topics",
    "p": "partitions",
    "g": "groups",
    "e": "events",
    "ctx": "contexts",
    "q": "quit",
    "h": "help",
    "r": "records",
    "node": "broker",
    "nodes": "brokers",
}
WITHOUT_NAME = (
    *("overview", "brokers", "topics", "groups", "quorum"),
    *("contexts", "changes", "commands"),
)
WITH_NAME = ("broker", "topic", "group", "context")
ONE_OF = {"brokers": "broker", "topics": "topic", "groups": "group", "contexts": "context"}
WITH_FILTER = ("partitions", "events")
RECORDS = "records"
SETTINGS = "settings"
THEME = "theme"
OTHERS = ("quit", "help", THEME, "picture", "filter", "mark", "hold", "save")
# What can be typed after a word, where it is no name of a thing: kinds of `known`.
WORDS_AFTER = {"events": "event", "partitions": "narrowing", THEME: THEME}


class CommandProblem(Exception):
    """What was typed leads nowhere; the message is for the person."""


class NoSuchThing(CommandProblem):
    """Nothing of that name is known; `kind` says what it would be."""

    def __init__(self, words: str, kind: str) -> None:
        super().__init__(words)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Said:
    """A word to the application itself, and what follows it."""

    word: str
    rest: str


def read_command(
    text: str, known: Mapping[str, Iterable[str]], actions: Iterable[str] = ()
) -> Place | Said:
    """Where a command leads. `known` holds the names of topics, brokers, groups, contexts.

    Raises CommandProblem naming the nearest word. A bare name of a topic or group leads to it.
    """
    word, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    command = ALIASES.get(word, word)
    if command in (RECORDS, SETTINGS):
        return _of_a_topic(command, rest, known)
    if command in WITHOUT_NAME:
        if not rest:
            return Place(command)
        if command not in ONE_OF:
            raise CommandProblem(f":{command} takes no name; leave out {rest}.")
        command = ONE_OF[command]
    if command in WITH_FILTER:
        return Place(command, rest)
    if command == THEME and rest:
        return Said(THEME, known_name(THEME, rest, list(known.get(THEME, ()))))
    if command in OTHERS or command in actions:
        return Said(command, rest)
    if command in WITH_NAME:
        return Place(command, known_name(command, rest, list(known.get(command, ()))))
    for kind in ("topic", "group"):
        if text.strip() in known.get(kind, ()):
            return Place(kind, text.strip())
    words = [*WITHOUT_NAME, *WITH_NAME, *WITH_FILTER, RECORDS, SETTINGS, *OTHERS, *actions]
    near = nearest(word, words)
    meant = f' Did you mean "{near}"?' if near else " Type ? for help."
    raise CommandProblem(f'There is no command "{word}".{meant}')


def _of_a_topic(command: str, rest: str, known: Mapping[str, Iterable[str]]) -> Place:
    """`:records TOPIC`, `:records TOPIC:PARTITION`, `:settings TOPIC`, `:settings broker ID`."""
    kind, _, name = rest.partition(" ")
    if command == SETTINGS and kind == "broker" and name:
        return Place(SETTINGS, f"broker {known_name(kind, name, list(known.get(kind, ())))}")
    topic, colon, partition = rest.partition(":") if command == RECORDS else (rest, "", "")
    topic = known_name("topic", topic, list(known.get("topic", ())))
    return Place(command, f"topic {topic}" if command == SETTINGS else topic + colon + partition)


def known_name(kind: str, name: str, known: list[str]) -> str:
    """The name, when there is such a thing. Raises CommandProblem naming the nearest."""
    if not name:
        raise CommandProblem(f"Which {kind}? Type :{kind} NAME.")
    if name in known or not known:
        return name
    near = nearest(name, known)
    meant = f' Did you mean "{near}"?' if near else ""
    raise NoSuchThing(f'There is no {kind} "{name}".{meant}', kind)


def complete(
    text: str,
    known: Mapping[str, Iterable[str]],
    actions: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> str | None:
    """The command that was begun, whole; None when nothing begins so, or nothing was begun."""
    word, space, rest = text.lstrip().partition(" ")
    if not word or (space and not rest):
        return None
    return next(completions(text, known, actions), None)


def completions(
    text: str,
    known: Mapping[str, Iterable[str]],
    actions: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> Iterator[str]:
    """Every command that begins so, the likeliest first.

    `actions` are words of actions and the kinds of things that each is about. Names are looked at
    only where one can stand, and no further than somebody asks.
    """
    text = text.lstrip()
    word, space, _ = text.partition(" ")
    if not space:
        words = [*WITHOUT_NAME, *WITH_NAME, *WITH_FILTER, RECORDS, SETTINGS, *OTHERS, *actions]
        names = (name for kind in ("topic", "group") for name in known.get(kind, ()))
        yield from _beginning(text, (each for each in chain(words, names) if each != word))
        return
    command = ALIASES.get(word, word)
    command = ONE_OF.get(command, command)
    of_topics = (RECORDS, SETTINGS)
    kinds = {"topic"} if command in of_topics else {command} if command in WITH_NAME else set()
    kinds |= {WORDS_AFTER[command]} if command in WORDS_AFTER else set()
    kinds |= {"topic" if kind == "partition" else kind for kind in actions.get(command, ())}
    names = (name for kind in sorted(kinds) for name in known.get(kind, ()))
    yield from _beginning(text, (f"{word} {name}" for name in names))


def _beginning(text: str, candidates: Iterable[str]) -> Iterator[str]:
    begun = text.casefold()
    return (each for each in candidates if each.casefold().startswith(begun))
