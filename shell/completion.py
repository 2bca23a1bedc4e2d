"""What could come next on a command line, and what is said about the word being typed.

Pure: text before the cursor and names known now give suggestions, so that it is tested without a
terminal and never waits for a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from shell.guides import GUIDES
from shell.names import NO_NAMES, Names, Setting
from shell.pages import subject_kind
from shell.registry import Argument, Command, Kind, Option, Registry
from shell.script import Form, Token, last_statement
from shell.settings import GLOBAL_OPTIONS

__all__ = ["NO_NAMES", "Names", "Suggestion", "inline_help", "split_words", "suggest"]

# What these can be depends on the argument before that says whether a topic or a broker is meant.
_OF_AN_OWNER = frozenset({Kind.TOPIC_CONFIG, Kind.CONFIG_KEY, Kind.CONFIG_OWNER})

# Settings, as keys alone or with values.
_SETTINGS = frozenset({Kind.TOPIC_CONFIG, Kind.BROKER_CONFIG, Kind.CONFIG_KEY})

FILE_KINDS = frozenset({Kind.FILE, Kind.SPEC})

_Rank = Callable[[str, Iterable["Suggestion"]], "list[Suggestion]"]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A word that fits at the cursor, and what it is. `whole` is false when more must follow."""

    text: str
    meta: str = ""
    whole: bool = True


def split_words(text: str) -> tuple[list[str], str]:
    """Return the finished words of the last command on a line, and the started word."""
    words, current, _ = _split(text)
    return words, current.text if current else ""


def _split(text: str) -> tuple[list[str], Token | None, bool]:
    pieces, foreign = last_statement(text)
    words = [token for token in pieces if token.form is Form.WORD]
    current = words.pop() if words and (words[-1].end == len(text) or words[-1].open) else None
    return [token.text for token in words], current, foreign


def start_of_word(text: str) -> int:
    """Return where the word at the end of a line begins."""
    _, current, _ = _split(text)
    return current.start if current else len(text)


def redirects(text: str) -> str | None:
    """Return the started file name when the end of a line follows `>` or `>>`, else None."""
    pieces, _ = last_statement(text)
    signs = [i for i, t in enumerate(pieces) if t.form is Form.OPERATOR and t.text in {">", ">>"}]
    if not signs:
        return None
    rest = pieces[signs[-1] + 1 :]
    if not rest:
        return ""
    return rest[-1].text if rest[-1].end == len(text) else None


def file_word(registry: Registry, text: str, names: Names) -> str | None:
    """Return the started word when a file can stand at the end of a line, else None."""
    words, token, foreign = _split(text)
    place = Place.after(registry, words, names)
    current = token.text if token else ""
    wanted: Argument | Option | None = place.option
    if wanted is None and place.command is not None and not current.startswith("-"):
        wanted = place.argument()
    return current if not foreign and wanted and wanted.kind in FILE_KINDS else None


def suggest(registry: Registry, text: str, names: Names) -> list[Suggestion]:
    """Return what fits at the end of a line of the interactive shell, best first."""
    words, token, foreign = _split(text)
    if foreign or redirects(text) is not None:
        return []
    return suggest_word(registry, words, token.text if token else "", names, fuzzy)


def suggest_word(
    registry: Registry, words: Sequence[str], current: str, names: Names, rank: _Rank
) -> list[Suggestion]:
    """Return what fits for the word `current` after finished words, as `rank` orders it."""
    place = Place.after(registry, words, names)
    condition = _condition(place, words, current, names)
    if condition is not None:
        return condition
    if place.option is not None:
        return rank(current, place.values(place.option, names, current, registry))
    if current.startswith("--") and "=" in current:
        flag, _, value = current.partition("=")
        option = place.options().get(flag)
        found = (
            place.values(option, names, value, registry) if option and not option.is_flag else []
        )
        return [Suggestion(f"{flag}={s.text}", s.meta, s.whole) for s in rank(value, found)]
    if current.startswith("-") and not place.only_arguments:
        return rank(current, place.unused_options())
    return rank(current, place.next_words(registry, names, current))


def _condition(
    place: Place, words: Sequence[str], current: str, names: Names
) -> list[Suggestion] | None:
    """What fits within a condition, or None when the cursor is in none."""
    argument = place.argument() if place.command is not None else None
    here = place.option or argument
    if here is None or here.kind is not Kind.QUERY:
        return None
    if place.option is None and current.startswith("-"):
        return None
    from shell.condition_completion import next_words

    before = words[len(words) - place.argument_index :] if place.option is None else ()
    found = next_words(place.command, before, current, names)
    return [Suggestion(text, help_text, whole=False) for text, help_text in found]


@dataclass(slots=True)
class Place:
    """Where in a command line the cursor is."""

    noun: str | None = None
    command: Command | None = None
    argument_index: int = 0
    option: Option | None = None
    only_arguments: bool = False
    used: frozenset[str] = frozenset()
    unknown: str | None = None
    given: tuple[str, ...] = ()
    # The page of the dashboard that was named.
    page: str | None = None

    @classmethod
    def after(cls, registry: Registry, words: Sequence[str], names: Names = NO_NAMES) -> Place:
        """Return the place after finished words; an alias in first place is looked through."""
        place = cls()
        words = words[1:] if words[:1] == ["logctl"] else words
        if words and words[0] in names.aliases and words[0] not in registry.top_level():
            words = [*split_words(names.aliases[words[0]] + " ")[0], *words[1:]]
        for word in words:
            place.take(registry, word)
        return place

    def take(self, registry: Registry, word: str) -> None:
        """Go on by one finished word."""
        if self.option is not None:
            self._note(self.option, word)
            self.option = None
        elif word == "--":
            self.only_arguments = True
        elif word.startswith("-") and not self.only_arguments:
            flag, equals, value = word.partition("=")
            option = self.options().get(flag)
            if option is not None:
                self._note(option, value)
                self.used |= {option.flags[0]}
                self.option = None if equals or option.is_flag else option
        elif self.command is None:
            path = f"{self.noun} {word}" if self.noun else word
            self.command = registry.commands.get(path)
            if self.command is None and self.noun is None and word in registry.groups:
                self.noun = word
            elif self.command is None:
                self.unknown = self.unknown or word
        else:
            self.argument_index += 1
            self.given = (*self.given, word)

    def _note(self, option: Option, value: str) -> None:
        if option.flags[0] == "--page":
            self.page = value

    def options(self) -> dict[str, Option]:
        """Return the options that can be given here, by flag."""
        own = self.command.options if self.command else ()
        return {flag: option for option in (*own, *GLOBAL_OPTIONS) for flag in option.flags}

    def unused_options(self) -> list[Suggestion]:
        """Return the options not given yet, those that may repeat always."""
        own = self.command.options if self.command else ()
        return [
            Suggestion(option.flags[0], option.help)
            for option in (*own, *GLOBAL_OPTIONS)
            if option.many or option.flags[0] not in self.used
        ]

    def next_words(self, registry: Registry, names: Names, current: str) -> list[Suggestion]:
        """Return values of the next argument, or the next word of a command's name."""
        if self.command is not None:
            argument = self.argument()
            if argument is not None and argument.kind in _OF_AN_OWNER:
                names = self._of_owner(names)
            return self.values(argument, names, current, registry) if argument else []
        if self.noun is not None:
            return [Suggestion(c.words[1], c.summary) for c in registry.under(self.noun)]
        aliases = [Suggestion(n, f"alias: {text}") for n, text in names.aliases.items()]
        return [*_first_words(registry), *aliases]

    def values(
        self, place: Argument | Option, names: Names, current: str, registry: Registry
    ) -> list[Suggestion]:
        """Return what an argument or option can be here, with the settings of whose they are."""
        if place.kind in _SETTINGS:
            owned = names.values.get(self.owner() or "", {})
            settings = self._settings(place, names)
            return _pairs(settings, owned, current, pair=place.kind is not Kind.CONFIG_KEY)
        return _values(place, names, current, registry)

    def _settings(self, place: Argument | Option, names: Names) -> Mapping[str, Setting]:
        if place.kind is Kind.TOPIC_CONFIG:
            return names.topic_settings
        if place.kind is Kind.BROKER_CONFIG:
            return names.broker_settings
        return {**names.broker_settings, **names.topic_settings}

    def owner(self) -> str | None:
        """Return whose settings are meant: "topic orders", "broker 1", or None."""
        here = self.option or (self.argument() if self.command is not None else None)
        if self.command is None or here is None or here.kind not in _SETTINGS:
            return None
        if self.command.words[0] == "config" and len(self.given) > 1:
            return " ".join(self.given[:2])
        if self.command.name == "topic alter" and self.given:
            return f"topic {self.given[0]}"
        return None

    def _of_owner(self, names: Names) -> Names:
        """Return the names that fit what was said before to have settings: topic or broker."""
        if "broker" in self.given[:1]:
            return replace(names, topics={}, topic_settings=names.broker_settings)
        if "topic" in self.given[:1]:
            return replace(names, brokers={}, broker_settings={})
        return names

    def argument(self) -> Argument | None:
        """Return the argument that the next word is, or None when there is none left."""
        assert self.command is not None
        arguments = self.command.arguments
        if self.argument_index < len(arguments):
            found = arguments[self.argument_index]
        elif arguments and arguments[-1].many:
            found = arguments[-1]
        else:
            return None
        if found.kind is Kind.PAGE_SUBJECT:
            return replace(found, kind=subject_kind(self.page, self.given))
        return found

    def missing(self) -> list[Argument]:
        """Return the required arguments that have not been given."""
        if self.command is None:
            return []
        return [a for a in self.command.arguments[self.argument_index :] if a.required]


def inline_help(registry: Registry, text: str, names: Names) -> list[tuple[str, str]]:
    """Return (tone, text) pieces that help with the word at the end of a line."""
    words, token, foreign = _split(text)
    if foreign or not text.strip():
        return []
    place = Place.after(registry, words, names)
    current = token.text if token else ""
    about_setting = _about_setting(place, current, names)
    if about_setting:
        return about_setting
    option = place.option
    if option is None and current.startswith("-") and not place.only_arguments:
        option = place.options().get(current.partition("=")[0])
    if option is not None:
        return [("strong", f"{option.flags[0]} "), ("", option.help)]
    if place.unknown is not None:
        return [("bad", f"{place.unknown}: no such command")]
    command = place.command
    if command is None and current:
        path = f"{place.noun} {current}" if place.noun else current
        command = registry.commands.get(path)
        if command is None and place.noun is None and current in registry.groups:
            return [("strong", f"{current} "), ("", registry.groups[current].summary)]
    if command is None:
        summary = registry.groups[place.noun].summary if place.noun else ""
        return [("strong", f"{place.noun} "), ("", summary)] if place.noun else []
    return _about(command, place, current)


def settings_owner(registry: Registry, text: str, names: Names) -> str | None:
    """Return whose settings are being typed at the end of a line: "topic orders", or None."""
    words, _, foreign = _split(text)
    return None if foreign else Place.after(registry, words, names).owner()


def _about_setting(place: Place, current: str, names: Names) -> list[tuple[str, str]]:
    """What is said of the setting being typed; nothing when it is none that is known."""
    here = place.option or (place.argument() if place.command is not None else None)
    if here is None or here.kind not in _SETTINGS:
        return []
    key = current.partition("=")[0]
    if "broker" in place.given[:1] or here.kind is Kind.BROKER_CONFIG:
        setting = names.broker_settings.get(key)
    else:
        setting = names.topic_settings.get(key)
    if setting is None:
        return []
    pieces = [("strong", f"{key} "), ("", f" {setting.documentation}")]
    now = names.values.get(place.owner() or "", {}).get(key)
    if now:
        pieces.append(("value", f"  now {now}"))
    if setting.default:
        pieces.append(("dim", f"  default {setting.default}"))
    return pieces


def _about(command: Command, place: Place, current: str) -> list[tuple[str, str]]:
    pieces = [("strong", f"{command.name} ")]
    given = place.argument_index if place.command else 0
    for index, argument in enumerate(command.arguments):
        shown = f"{argument.name}{'...' if argument.many else ''}"
        tone = "dim" if index < given else ("warn" if argument.required else "dim")
        tone = "strong" if index == given and place.command else tone
        pieces.append((tone, f"{shown} " if argument.required else f"[{shown}] "))
    here = place.argument() if place.command else None
    pieces.append(("", f" {here.help if here else command.summary}"))
    missing = [a.name for a in command.arguments[given:] if a.required]
    if current and place.command:
        missing = missing[1:]
    if missing:
        pieces.append(("warn", f"  needs {', '.join(missing)}"))
    return pieces


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


_POSITIONS = (
    Suggestion("start", "the oldest record"),
    Suggestion("end", "what comes from now on"),
    Suggestion("-10", "the last ten of each partition"),
    Suggestion("@-10m", "ten minutes ago"),
)


def _values(
    place: Argument | Option, names: Names, current: str, registry: Registry
) -> list[Suggestion]:
    match place.kind:
        case Kind.CHOICE:
            return [Suggestion(choice) for choice in place.choices]
        case Kind.PAIR:
            return [Suggestion(f"{choice}=", whole=False) for choice in place.choices]
        case Kind.TOPIC_PARTITION:
            return _topic_partitions(names, current)
        case Kind.POSITION:
            return list(_POSITIONS)
        case Kind.COMMAND:
            pages = (Suggestion(guide.name, guide.summary) for guide in GUIDES.values())
            return [*_first_words(registry), *pages]
        case _:
            return _names_of(place.kind, names)


def _names_of(kind: Kind, names: Names) -> list[Suggestion]:
    found: dict[Kind, Iterable[tuple[object, str]]] = {
        Kind.BROKER: ((i, text + names.mark) for i, text in sorted(names.brokers.items())),
        Kind.PRINCIPAL: (
            (name, text + names.mark) for name, text in sorted(names.principals.items())
        ),
        Kind.USER: ((name, text + names.mark) for name, text in sorted(names.users.items())),
        Kind.GROUP: ((name, text + names.mark) for name, text in sorted(names.groups.items())),
        Kind.CONTEXT: ((name, "") for name in names.contexts),
        Kind.SPEC: ((name, "bundled cluster file") for name in names.specs),
    }
    if kind is Kind.TOPIC:
        return _topics(names)
    if kind is Kind.CONFIG_OWNER:
        return [*_topics(names), *_names_of(Kind.BROKER, names)]
    return [Suggestion(str(name), meta) for name, meta in found.get(kind, ())]


def _topics(names: Names) -> list[Suggestion]:
    return [
        Suggestion(name, f"{count} partition{'' if count == 1 else 's'}{names.mark}")
        for name, count in sorted(names.topics.items())
    ]


def _topic_partitions(names: Names, current: str) -> list[Suggestion]:
    topic, colon, listed = current.rpartition(":")
    if not colon or topic not in names.topics:
        return _topics(names)
    before, comma, _ = listed.rpartition(",")
    taken = set(before.split(","))
    return [
        Suggestion(f"{topic}:{before}{comma}{i}", f"partition{names.mark}")
        for i in range(names.topics[topic])
        if str(i) not in taken
    ]


def _pairs(
    settings: Mapping[str, Setting], owned: Mapping[str, str | None], current: str, *, pair: bool
) -> list[Suggestion]:
    name, equals, _ = current.partition("=")
    if not equals or not pair:
        return [
            Suggestion(f"{key}=" if pair else key, _told(key, setting, owned), whole=not pair)
            for key, setting in sorted(settings.items())
        ]
    setting = settings.get(name)
    if setting is None:
        return []
    metas: dict[str, str] = {}
    if owned.get(name):
        metas[str(owned[name])] = "as it is now"
    if setting.default:
        metas[setting.default] = ", ".join(filter(None, [metas.get(setting.default), "default"]))
    found = {**metas, **{value: metas.get(value, "") for value in setting.values}}
    return [Suggestion(f"{name}={value}", meta) for value, meta in found.items()]


def _told(key: str, setting: Setting, owned: Mapping[str, str | None]) -> str:
    """A setting's documentation, after its value where that is known."""
    now = f"now {owned[key]}: " if owned.get(key) else ""
    return f"{now}{setting.documentation}"


def prefixed(pattern: str, candidates: Iterable[Suggestion]) -> list[Suggestion]:
    """Keep candidates that begin with the pattern, in their order."""
    return [candidate for candidate in candidates if candidate.text.startswith(pattern)]


def fuzzy(pattern: str, candidates: Iterable[Suggestion]) -> list[Suggestion]:
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
