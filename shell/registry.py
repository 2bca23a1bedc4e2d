"""Commands as data: declared once; the command line, the prompt, completion and help follow.

Holds no behaviour of any command and imports nothing heavy: it is loaded for each one-shot command.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shell.exits import ExitCode


class Kind(StrEnum):
    """What a value is: how it is read, and where its completions come from.

    TOPIC_CONFIG and BROKER_CONFIG are read as KEY=VALUE, like PAIR; their keys and values are
    completed. CONFIG_KEY is the key alone, of a topic or a broker; CONFIG_OWNER
    is one of these. QUERY is a condition on the
    cluster's state. PAGE_SUBJECT is what the page of the dashboard is about that `--page` names.
    """

    TEXT = "text"
    FLAG = "flag"
    INTEGER = "integer"
    CHOICE = "choice"
    DURATION = "duration"
    PAIR = "pair"
    POSITION = "position"
    FILE = "file"
    TOPIC = "topic"
    TOPIC_PARTITION = "topic-partition"
    BROKER = "broker"
    GROUP = "group"
    PRINCIPAL = "principal"
    USER = "user"
    TOPIC_CONFIG = "topic-config"
    BROKER_CONFIG = "broker-config"
    CONFIG_KEY = "config-key"
    CONFIG_OWNER = "config-owner"
    QUERY = "query"
    CONTEXT = "context"
    SPEC = "spec"
    COMMAND = "command"
    PAGE_SUBJECT = "page-subject"


# Read as KEY=VALUE.
PAIR_KINDS = frozenset({Kind.PAIR, Kind.TOPIC_CONFIG, Kind.BROKER_CONFIG})
# Completed with what the cluster holds.
LIVE_KINDS = frozenset(
    {
        Kind.TOPIC,
        Kind.TOPIC_PARTITION,
        Kind.BROKER,
        Kind.GROUP,
        Kind.PRINCIPAL,
        Kind.USER,
        Kind.TOPIC_CONFIG,
        Kind.BROKER_CONFIG,
        Kind.CONFIG_KEY,
        Kind.CONFIG_OWNER,
    }
)


@dataclass(frozen=True, slots=True)
class Argument:
    """A value given by its place. `many` takes all that follow, also none unless `required`."""

    name: str
    help: str
    kind: Kind = Kind.TEXT
    required: bool = True
    many: bool = False
    choices: tuple[str, ...] = ()

    @property
    def parameter(self) -> str:
        """The keyword under which `Command.run` receives the value."""
        return self.name.partition("[")[0].lower().replace("-", "_")


@dataclass(frozen=True, slots=True)
class Option:
    """A value given by name; the first flag is the long one that names the parameter."""

    flags: tuple[str, ...]
    help: str
    kind: Kind = Kind.TEXT
    default: Any = None
    many: bool = False
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    # Of an INTEGER, which brokers keep as int32.
    minimum: int | None = None
    maximum: int = 2**31 - 1

    @property
    def parameter(self) -> str:
        """The keyword under which `Command.run` receives the value."""
        name = self.flags[0].lstrip("-").replace("-", "_")
        return f"{name}_" if name in {"from", "for", "assert"} else name

    @property
    def is_flag(self) -> bool:
        """Whether the option stands alone, without a value."""
        return self.kind is Kind.FLAG

    @property
    def is_trial(self) -> bool:
        """Whether, with it, the command only shows what it would change."""
        return self.is_flag and "--dry-run" in self.flags


Result = ExitCode | None
Run = Callable[..., Awaitable[Result] | Result]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before something is destroyed; `typed` is a name the person must type."""

    text: str
    typed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command, named by its words ("topic create").

    `run(session, **values)` gets each argument and option by its parameter name and returns an
    exit code, or None for done. `changes` marks what a read-only session refuses; `destructive`
    what is confirmed first, by the question that `question(session, **values)` returns, or in the
    run, where `asks_itself`: it has to find out first what it is about. `endless` runs until the
    person has seen enough: Ctrl-C ends it well.
    """

    name: str
    summary: str
    run: Run
    details: str = ""
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    examples: tuple[str, ...] = ()
    changes: bool = False
    destructive: bool = False
    question: Callable[..., Question] | None = None
    asks_itself: bool = False
    extra_formats: tuple[str, ...] = ()
    endless: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The name as words."""
        return tuple(self.name.split())

    def is_trial(self, values: Mapping[str, Any]) -> bool:
        """Whether, called like this, it only shows what it would change."""
        return any(option.is_trial and values.get(option.parameter) for option in self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A noun that holds verbs, with its line of help."""

    name: str
    summary: str


@dataclass(slots=True)
class Registry:
    """Every command by name, in the order of declaration."""

    groups: dict[str, Group] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)

    def add_group(self, name: str, summary: str) -> None:
        """Declare a noun before its verbs."""
        self.groups[name] = Group(name=name, summary=summary)

    def add(self, command: Command) -> None:
        """Declare a command; its noun, if it has two words, must be declared before."""
        words = command.words
        assert command.name not in self.commands, f"{command.name} is declared twice"
        assert len(words) <= 2, f"{command.name} has more words than NOUN VERB"
        assert len(words) == 1 or words[0] in self.groups, f"{words[0]} is not declared"
        self.commands[command.name] = command

    def top_level(self) -> list[str]:
        """Return the words a command line can begin with, in the order of declaration."""
        return list(dict.fromkeys(command.words[0] for command in self.commands.values()))

    def verbs(self, noun: str) -> list[str]:
        """Return the second words of a noun."""
        return [
            command.words[1]
            for command in self.commands.values()
            if len(command.words) == 2 and command.words[0] == noun
        ]

    def under(self, noun: str) -> Iterator[Command]:
        """Yield the commands of a noun."""
        return (
            command
            for command in self.commands.values()
            if len(command.words) == 2 and command.words[0] == noun
        )

    def find(self, words: tuple[str, ...]) -> Command | None:
        """Return the command that `words` begin with, longest name first."""
        for count in (2, 1):
            found = self.commands.get(" ".join(words[:count]))
            if found is not None:
                return found
        return None
