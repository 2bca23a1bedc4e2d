"""What could come next on a command line, and why.

`suggest` is pure: text before the cursor and names known now give suggestions, so that it is
tested without a terminal and never waits for a cluster. The bash, zsh and fish completion asks the
cluster, briefly, because it has no background in which to have asked before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shell.registry import LIVE_KINDS, Argument, Command, Kind, Option, Registry
from shell.session import Doors, Session
from shell.settings import GLOBAL_OPTIONS, resolve

# A person waits for Tab: an answer that takes longer is no use.
_SHELL_TIMEOUT_MS = 1_500


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A word that fits at the cursor, and what it is."""

    text: str
    meta: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names of a cluster as last seen. `topics` gives each topic's number of partitions."""

    topics: Mapping[str, int]
    brokers: Mapping[int, str]
    contexts: Sequence[str] = ()
    specs: Sequence[str] = ()
    stale: bool = False


NO_NAMES = Names(topics={}, brokers={})


def split_words(text: str) -> tuple[list[str], str]:
    """Return the finished words of a line and the started last one (without its quotes)."""
    words: list[str] = []
    current = ""
    started = False
    quote = ""
    for character in text:
        if quote:
            if character == quote:
                quote = ""
            else:
                current += character
        elif character in "'\"":
            quote, started = character, True
        elif character.isspace():
            if current or started:
                words.append(current)
            current, started = "", False
        else:
            current += character
    return words, current


def suggest(registry: Registry, text: str, names: Names) -> list[Suggestion]:
    """Return what fits at the end of `text`, best first."""
    words, current = split_words(text)
    place = _Place.after(registry, words)
    if place.option is not None:
        return _fuzzy(current, _values(place.option, names, current, registry))
    if current.startswith("--") and "=" in current:
        flag, _, value = current.partition("=")
        option = place.options().get(flag)
        found = _values(option, names, value, registry) if option and not option.is_flag else []
        return [Suggestion(f"{flag}={s.text}", s.meta) for s in _fuzzy(value, found)]
    if current.startswith("-") and not place.only_arguments:
        return _fuzzy(current, place.unused_options())
    return _fuzzy(current, place.next_words(registry, names, current))


@dataclass(slots=True)
class _Place:
    """Where in a command line the cursor is."""

    noun: str | None = None
    command: Command | None = None
    argument_index: int = 0
    option: Option | None = None
    only_arguments: bool = False
    used: frozenset[str] = frozenset()

    @classmethod
    def after(cls, registry: Registry, words: Sequence[str]) -> _Place:
        place = cls()
        for word in words:
            place._take(registry, word)
        return place

    def _take(self, registry: Registry, word: str) -> None:
        if self.option is not None:
            self.option = None
        elif word == "--":
            self.only_arguments = True
        elif word.startswith("-") and not self.only_arguments:
            flag, equals, _ = word.partition("=")
            option = self.options().get(flag)
            if option is not None:
                self.used |= {option.flags[0]}
                self.option = None if equals or option.is_flag else option
        elif self.command is None:
            path = f"{self.noun} {word}" if self.noun else word
            self.command = registry.commands.get(path)
            self.noun = word if self.command is None and word in registry.groups else self.noun
        else:
            self.argument_index += 1

    def options(self) -> dict[str, Option]:
        own = self.command.options if self.command else ()
        return {flag: option for option in (*own, *GLOBAL_OPTIONS) for flag in option.flags}

    def unused_options(self) -> list[Suggestion]:
        own = self.command.options if self.command else ()
        return [
            Suggestion(option.flags[0], option.help)
            for option in (*own, *GLOBAL_OPTIONS)
            if option.many or option.flags[0] not in self.used
        ]

    def next_words(self, registry: Registry, names: Names, current: str) -> list[Suggestion]:
        if self.command is not None:
            argument = self._argument()
            return _values(argument, names, current, registry) if argument else []
        if self.noun is not None:
            return [Suggestion(c.words[1], c.summary) for c in registry.under(self.noun)]
        return _first_words(registry)

    def _argument(self) -> Argument | None:
        assert self.command is not None
        arguments = self.command.arguments
        if self.argument_index < len(arguments):
            return arguments[self.argument_index]
        return arguments[-1] if arguments and arguments[-1].many else None


def _first_words(registry: Registry) -> list[Suggestion]:
    return [
        Suggestion(
            word,
            registry.groups[word].summary
            if word in registry.groups
            else registry.commands[word].summary,
        )
        for word in registry.top_level()
    ]


def _values(
    place: Argument | Option, names: Names, current: str, registry: Registry
) -> list[Suggestion]:
    stale = " (stale)" if names.stale else ""
    match place.kind:
        case Kind.CHOICE:
            return [Suggestion(choice) for choice in place.choices]
        case Kind.TOPIC:
            return [
                Suggestion(topic, f"{count} partitions{stale}")
                for topic, count in sorted(names.topics.items())
            ]
        case Kind.TOPIC_PARTITION:
            return _topic_partitions(names, current, stale)
        case Kind.BROKER:
            return [
                Suggestion(str(i), f"{text}{stale}") for i, text in sorted(names.brokers.items())
            ]
        case Kind.CONTEXT:
            return [Suggestion(name) for name in names.contexts]
        case Kind.SPEC:
            return [Suggestion(name, "bundled cluster file") for name in names.specs]
        case Kind.POSITION:
            return [
                Suggestion("start", "the oldest record"),
                Suggestion("end", "what comes from now on"),
                Suggestion("-10", "the last ten of each partition"),
                Suggestion("@-10m", "ten minutes ago"),
            ]
        case Kind.COMMAND:
            return _first_words(registry)
        case _:
            return []


def _topic_partitions(names: Names, current: str, stale: str) -> list[Suggestion]:
    topic, colon, _ = current.partition(":")
    if colon and topic in names.topics:
        return [Suggestion(f"{topic}:{i}", f"partition{stale}") for i in range(names.topics[topic])]
    return [
        Suggestion(name, f"{count} partitions{stale}")
        for name, count in sorted(names.topics.items())
    ]


def _fuzzy(pattern: str, candidates: Iterable[Suggestion]) -> list[Suggestion]:
    """Keep candidates that hold the pattern's letters in order; the tightest match comes first."""
    ranked = []
    for index, candidate in enumerate(candidates):
        span = _span(pattern.lower(), candidate.text.lower())
        if span is not None:
            first, length = span
            ranked.append(((first != 0, length, first, index), candidate))
    return [candidate for _, candidate in sorted(ranked, key=lambda item: item[0])]


def _span(pattern: str, text: str) -> tuple[int, int] | None:
    """Return (start, length) of the shortest stretch of `text` that holds the pattern in order."""
    best: tuple[int, int] | None = None
    for start in range(len(text) if pattern else 1):
        position = start
        for character in pattern:
            position = text.find(character, position) + 1
            if position == 0:
                break
        else:
            if best is None or position - start < best[1]:
                best = (start, position - start)
    return best


async def fetch_names(session: Session) -> Names:
    """Ask the cluster for its names; raises what the admin client raises."""
    async with session.admin() as admin:
        topics = await admin.topics()
        brokers = await admin.brokers()
    return Names(
        topics={topic.topic: topic.partitions for topic in topics},
        brokers={b.id: f"{b.host}:{b.port} {b.state}" for b in brokers},
    )


def complete_for_shell(registry: Registry, doors: Doors) -> int:
    """Answer the completion script of bash, zsh or fish; silent when no cluster answers."""
    from click.shell_completion import shell_complete

    from shell.cli import PROGRAM, build

    def live(kind: Kind, started: str, given: Mapping[str, Any]) -> list[tuple[str, str]]:
        try:
            found = _values(
                Argument("X", "", kind=kind), _names_now(doors, kind, given), started, registry
            )
        except Exception:  # noqa: BLE001 - no suggestions are better than an error at Tab
            return []
        return [(s.text, s.meta) for s in found if s.text.startswith(started)]

    tree = build(registry, live)
    instruction = doors.environ["_LOGCTL_COMPLETE"]
    return shell_complete(tree, {}, PROGRAM, "_LOGCTL_COMPLETE", instruction)


def _names_now(doors: Doors, kind: Kind, given: Mapping[str, Any]) -> Names:
    import io

    from shell.output import Output

    if kind in LIVE_KINDS:
        settings = resolve({**given, "timeout": _SHELL_TIMEOUT_MS}, doors.environ)
        quiet = Output(stdout=io.BytesIO(), stderr=io.StringIO())
        return asyncio.run(fetch_names(Session(settings, quiet, doors)))
    return Names(
        topics={},
        brokers={},
        contexts=sorted(doors.contexts()),
        specs=sorted(doors.bundled_specs()),
    )


def completion_script(shell: str) -> str:
    """Return the script that makes a shell complete logctl's command lines."""
    from click.shell_completion import get_completion_class

    from shell.cli import PROGRAM, build
    from shell.commands import all_commands

    found = get_completion_class(shell)
    assert found is not None
    return found(build(all_commands()), {}, PROGRAM, "_LOGCTL_COMPLETE").source()
