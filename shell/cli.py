"""The click command line, derived from the registry.

Parsing only: a parsed command line is an Invocation, a piece of data that the runner executes; so
the prompt, the command line and scripts go the same way. Never runs a command and never writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem

from shell.exits import UsageProblem
from shell.guides import GUIDES
from shell.nearest import did_you_mean
from shell.registry import PAIR_KINDS, Argument, Command, Kind, Option, Registry
from shell.settings import GLOBAL_OPTIONS
from shell.values import parse_duration_ms, parse_pair

PROGRAM = "logctl"

# Gives the completions of a kind for a started word: (text, help) pairs.
Suggest = Callable[[Kind, str, Mapping[str, Any]], Sequence[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command with its values, and the global options given beside it.

    `command` is None when the line has none: then the interactive shell is meant.
    """

    command: Command | None
    values: Mapping[str, Any]
    given: Mapping[str, Any]


class HelpWanted(Exception):
    """The line asked for help or the version; `text` is the answer."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


# What comes to the fingers of those who know other tools.
_OTHER_WORDS = {
    "consume": "tail",
    "dashboard": "dash",
    "lag": "group describe",
    "man": "help --man",
    "read": "tail",
    "top": "dash",
    "version": "--version",
    "write": "produce",
}
_VERBS_NAMED_MAX = 3

_INT32_MAX = 2**31 - 1
_NAME_KINDS = {Kind.TOPIC: "topic", Kind.TOPIC_PARTITION: "topic", Kind.GROUP: "group"}


class _Type(click.ParamType[Any]):
    """A value of one kind."""

    def __init__(self, kind: Kind, choices: tuple[str, ...], suggest: Suggest) -> None:
        self.kind = kind
        self.choices = choices
        self.suggest = suggest
        self.name = kind.value

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if self.kind is Kind.CHOICE and value not in self.choices:
            listed = ", ".join(self.choices)
            self.fail(
                f"'{value}' is not one of {listed}.{did_you_mean(value, self.choices)}", param, ctx
            )
        if not value and self.kind in _NAME_KINDS:
            self.fail(f"the name of a {_NAME_KINDS[self.kind]} is not empty.", param, ctx)
        try:
            if self.kind is Kind.DURATION:
                return parse_duration_ms(value)
            if self.kind in PAIR_KINDS:
                return parse_pair(value)
        except UsageProblem as problem:
            self.fail(problem.message, param, ctx)
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        if self.kind is Kind.CHOICE:
            return [CompletionItem(c) for c in self.choices if c.startswith(incomplete)]
        if self.kind is Kind.FILE:
            return [CompletionItem(incomplete, type="file")]
        found = self.suggest(self.kind, incomplete, _given(ctx))
        items = [CompletionItem(text, help=meta or None) for text, meta in found]
        if self.kind is Kind.SPEC:
            items.append(CompletionItem(incomplete, type="file"))
        return items


class _Words(click.Group):
    """A group whose errors name the nearest word, also on old versions of click."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if self.get_command(ctx, word) is None and not ctx.resilient_parsing:
            if word.startswith("-"):
                self.parse_args(ctx, args)
            known = ", ".join(self.list_commands(ctx))
            suggestion = self._elsewhere(word, ctx) or did_you_mean(word, self.commands)
            suggestion = suggestion or f" There are {known}."
            path = word if ctx.parent is None else f"{self.name} {word}"
            raise click.UsageError(f"No such command '{path}'.{suggestion}", ctx)
        return super().resolve_command(ctx, args)

    def _elsewhere(self, word: str, ctx: click.Context) -> str:
        """The command that is meant by another tool's word, or by a verb without its noun."""
        found = [_OTHER_WORDS[word]] if word in _OTHER_WORDS else []
        for name, group in self.commands.items():
            if isinstance(group, click.Group) and word in group.commands:
                found.append(f"{name} {word}")
        if ctx.parent is not None or not found:
            return ""
        named = " or ".join(repr(each) for each in found[:_VERBS_NAMED_MAX])
        more = ", for example" if len(found) > _VERBS_NAMED_MAX else ""
        return f" Did you mean {named}{more}?"

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        if ctx.parent is None:
            with formatter.section(f"Pages ({PROGRAM} help PAGE)"):
                formatter.write_dl([(guide.name, guide.summary) for guide in GUIDES.values()])
        _format_options(self, ctx, formatter)


class _Verb(click.Command):
    """One command of the registry."""

    def __init__(self, command: Command, params: list[click.Parameter]) -> None:
        super().__init__(
            name=command.words[-1],
            params=params,
            callback=None,
            short_help=command.summary,
            help=command.summary,
            add_help_option=False,
        )
        self.command = command

    def invoke(self, ctx: click.Context) -> Invocation:
        return Invocation(self.command, dict(ctx.params), dict(_given(ctx)))

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(self.command.summary)
            for paragraph in self.command.details.split("\n\n"):
                if paragraph.strip():
                    formatter.write_paragraph()
                    formatter.write_text(" ".join(paragraph.split()))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(argument.name, _argument_help(argument)) for argument in self.command.arguments]
        if rows:
            with formatter.section("Arguments"):
                formatter.write_dl(rows)
        _format_options(self, ctx, formatter)
        if self.command.examples:
            with formatter.section("Examples"):
                for example in self.command.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{PROGRAM} {example}\n")


def _argument_help(argument: Argument) -> str:
    if not argument.choices or argument.kind in PAIR_KINDS:
        return argument.help
    return f"{argument.help} One of {', '.join(argument.choices)}."


def _format_options(
    command: click.Command, ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    own: list[tuple[str, str]] = []
    common: list[tuple[str, str]] = []
    global_names = {option.parameter for option in GLOBAL_OPTIONS}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None and isinstance(param, click.Option):
            (common if param.name in global_names else own).append(record)
    if own:
        with formatter.section("Options"):
            formatter.write_dl(own)
    with formatter.section("Options of every command"):
        formatter.write_dl(common)


def _given(ctx: click.Context) -> dict[str, Any]:
    root = ctx.find_root()
    if root.obj is None:
        root.obj = {}
    found: dict[str, Any] = root.obj
    return found


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    # 0 is a value, and equal to False.
    if value is not None and value is not False and param.name:
        _given(ctx)[param.name] = value


def _show_help(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        raise HelpWanted(ctx.get_help())


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        raise HelpWanted(f"{PROGRAM} {version(PROGRAM)}")


@click.pass_context
def _missing_verb(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        assert isinstance(ctx.command, click.Group)
        verbs = ", ".join(ctx.command.list_commands(ctx))
        raise click.UsageError(f"'{ctx.command.name}' needs a verb: {verbs}.", ctx)


def _no_suggestions(
    kind: Kind, incomplete: str, given: Mapping[str, Any]
) -> Sequence[tuple[str, str]]:
    return ()


def build(registry: Registry, suggest: Suggest = _no_suggestions) -> click.Group:
    """Return the click tree of a registry; `suggest` completes live names."""
    shared = [_option(option, suggest, callback=_remember) for option in GLOBAL_OPTIONS]
    shared.append(
        click.Option(
            ["--help", "-h"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_help,
            help="Show this message.",
        )
    )
    version = click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_version,
        help="Show the version.",
    )
    root = _Words(
        name=PROGRAM,
        params=[*shared, version],
        help="Run, watch and change a replicated event log.\n\nAlone: the interactive shell.",
        add_help_option=False,
        no_args_is_help=False,
        invoke_without_command=True,
        subcommand_metavar="COMMAND ...",
    )
    for command in registry.commands.values():
        parent: click.Group = root
        if len(command.words) == 2:
            parent = _noun(root, registry, command.words[0], shared)
        params = [_argument(argument, suggest) for argument in command.arguments]
        params += [_option(option, suggest) for option in command.options]
        parent.add_command(_Verb(command, [*params, *shared]))
    return root


def _noun(
    root: click.Group, registry: Registry, name: str, shared: Sequence[click.Parameter]
) -> click.Group:
    found = root.commands.get(name)
    if not isinstance(found, click.Group):
        found = _Words(
            name=name,
            params=list(shared),
            help=registry.groups[name].summary,
            add_help_option=False,
            no_args_is_help=False,
            invoke_without_command=True,
            callback=_missing_verb,
            subcommand_metavar="VERB ...",
        )
        root.add_command(found)
    return found


def _argument(argument: Argument, suggest: Suggest) -> click.Parameter:
    return click.Argument(
        [argument.parameter],
        type=_type(argument.kind, argument.choices, suggest),
        required=argument.required,
        nargs=-1 if argument.many else 1,
        metavar=_metavar(argument),
    )


def _metavar(argument: Argument) -> str:
    text = f"{argument.name}..." if argument.many else argument.name
    return text if argument.required else f"[{text}]"


def _option(
    option: Option, suggest: Suggest, callback: Callable[..., Any] | None = None
) -> click.Option:
    declarations = [*option.flags, option.parameter]
    if option.is_flag:
        return click.Option(
            declarations,
            is_flag=True,
            help=option.help,
            callback=callback,
            expose_value=callback is None,
        )
    value_type: click.ParamType[Any] = (
        click.IntRange(min=option.minimum, max=option.maximum)
        if option.kind is Kind.INTEGER
        else _type(option.kind, option.choices, suggest)
    )
    return click.Option(
        declarations,
        type=value_type,
        default=option.default,
        multiple=option.many,
        metavar=option.metavar or _option_metavar(option),
        help=option.help,
        callback=callback,
        expose_value=callback is None,
    )


def _option_metavar(option: Option) -> str:
    if option.choices:
        return "|".join(option.choices)
    if option.kind in PAIR_KINDS:
        return "KEY=VALUE"
    return {
        Kind.DURATION: "TIME",
        Kind.INTEGER: "N",
        Kind.CONFIG_KEY: "KEY",
        Kind.QUERY: "CONDITION",
    }.get(option.kind, option.kind.value.upper())


def _type(kind: Kind, choices: tuple[str, ...], suggest: Suggest) -> click.ParamType[Any]:
    if kind in (Kind.INTEGER, Kind.BROKER):
        return _Number(kind, choices, suggest)
    return _Type(kind, choices, suggest)


class _Number(_Type):
    """A whole number from 0, such as a broker's id."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not value.isdecimal():
            least = " from 0 on" if value.startswith("-") else ""
            self.fail(f"'{value}' is not a whole number{least}.", param, ctx)
        if len(str(value)) > len(str(_INT32_MAX)) or int(value) > _INT32_MAX:
            self.fail(f"{value} is more than {_INT32_MAX}.", param, ctx)
        return int(value)


def parse(tree: click.Group, words: Sequence[str]) -> Invocation:
    """Return what a command line asks for.

    Raises UsageProblem with the nearest valid word, or HelpWanted.
    """
    given: dict[str, Any] = {}
    try:
        with tree.make_context(PROGRAM, list(words), obj=given) as context:
            invocation = tree.invoke(context)
    except click.ClickException as error:
        raise _problem(error) from None
    if invocation is None:
        return Invocation(None, {}, given)
    assert isinstance(invocation, Invocation)
    return invocation


def _problem(error: click.ClickException) -> UsageProblem:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else PROGRAM
    message = error.format_message()
    if isinstance(error, click.NoSuchOption):
        near = did_you_mean(error.option_name, error.possibilities or ())
        message = f"No such option '{error.option_name}'.{near}"
    return UsageProblem(message[:1].upper() + message[1:], hint=f"See `{path} --help`.")
