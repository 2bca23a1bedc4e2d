"""The dashboard, shell completion and help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from shell.exits import ExitCode, Failed, UsageProblem
from shell.guides import GUIDES, guide_of
from shell.nearest import did_you_mean
from shell.output import JSON, TABLE, Table
from shell.pages import PAGES
from shell.registry import Argument, Command, Kind, Option, Registry
from shell.script import quoted
from shell.session import Session

SHELLS = ("bash", "zsh", "fish")


async def _dash(
    session: Session,
    *,
    subject: Sequence[str],
    page: str | None,
    web: bool,
    host: str | None,
    port: int | None,
) -> ExitCode:
    import gc
    import sys

    from shell.pages import first_page
    from shell.web import DEFAULT_HOST, DEFAULT_PORT, is_served, serve

    start = first_page(page, subject)
    if web:
        return await serve(
            session,
            start=start,
            host=DEFAULT_HOST if host is None else host,
            port=DEFAULT_PORT if port is None else port,
        )
    if host is not None or port is not None:
        raise UsageProblem("--host and --port are for --web, the dashboard in a browser.")
    in_terminal = sys.stdout.isatty() and sys.stdin.isatty()
    if not in_terminal and not is_served(session.doors.environ):
        raise Failed(
            "The dashboard needs a terminal.",
            hint="`logctl watch` prints the same events as lines; `logctl dash --web` serves a "
            "browser.",
        )
    if in_terminal and session.doors.environ.get("TERM", "dumb") in ("dumb", "unknown", ""):
        raise Failed(
            "The dashboard needs a terminal that can place its cursor; TERM says this one cannot.",
            hint="Set TERM to what it is, such as xterm-256color. `logctl watch` prints the same "
            "events as lines anywhere.",
        )
    # Nothing that is loaded now is garbage; the dashboard begins to collect once it is seen.
    gc.disable()
    try:
        from shell.commander import target, target_of
        from tui.app import show_dashboard

        await show_dashboard(target(session), target_of=target_of(session), start=start)
    finally:
        gc.enable()
    return ExitCode.DONE


def _completion(session: Session, *, shell: str) -> None:
    from shell.outer_completion import completion_script

    session.output.text(completion_script(shell))


def _help(session: Session, *, command: Sequence[str], json: bool, man: bool) -> None:
    from shell.cli import HelpWanted, build, parse
    from shell.commands import all_commands

    registry = all_commands()
    words = tuple(command)
    if man:
        if words or json:
            raise UsageProblem("--man is one page about all; it stands alone.")
        from importlib.metadata import version

        from shell.man_page import man_page

        session.output.text(man_page(registry, version("logctl")).rstrip())
        return
    if json:
        session.output.format = JSON
    guide = guide_of(words[0]) if len(words) == 1 else None
    if guide is not None:
        if session.output.format == TABLE:
            session.output.text(guide.text.rstrip())
        else:
            session.output.document(asdict(guide), list)
        return
    _check_command(registry, words)
    if session.output.format != TABLE:
        from shell.command_tree import command_tree

        session.output.document(command_tree(registry, words), list)
        return
    try:
        parse(build(registry), [*words, "--help"])
    except HelpWanted as wanted:
        session.output.text(wanted.text)


def _check_command(registry: Registry, words: tuple[str, ...]) -> None:
    from shell.cli import PROGRAM

    if not words or registry.find(words) is not None:
        return
    known = registry.verbs(words[0])
    if words[0] not in registry.groups:
        near = did_you_mean(words[0], [*registry.top_level(), *GUIDES])
    elif len(words) > 1:
        near = did_you_mean(words[1], known) or f" There are {', '.join(known)}."
    else:
        return
    raise UsageProblem(
        f"There is no command '{' '.join(words)}'.{near}", hint=f"See `{PROGRAM} help`."
    )


def _alias(
    session: Session, *, name: str | None, words: Sequence[str], remove: bool
) -> ExitCode | None:
    from shell import preferences

    if name is None:
        known = preferences.load(session.doors.environ)
        for problem in known.problems:
            session.output.warn(problem)
        session.output.document(
            [{"name": n, "text": text} for n, text in known.aliases.items()],
            lambda: [Table(("ALIAS", "STANDS FOR"), list(known.aliases.items()))],
        )
        return None
    if remove:
        if words:
            raise UsageProblem("With --remove give the alias's name alone.")
        if not preferences.save_alias(name, None):
            raise Failed(f"There is no alias '{name}'.", hint="See `alias`.")
        session.output.say(f"Removed alias {name}.")
        return None
    if not words:
        known = preferences.load(session.doors.environ)
        if name not in known.aliases:
            raise Failed(f"There is no alias '{name}'.", hint="See `alias`.")
        session.output.text(known.aliases[name])
        return None
    _check_alias(name)
    text = words[0] if len(words) == 1 else " ".join(quoted(word) for word in words)
    _check_meaning(name, text, preferences.load(session.doors.environ).aliases)
    preferences.save_alias(name, text)
    session.output.say(f"{name} stands for: {text}")
    return None


def _check_alias(name: str) -> None:
    from shell.commands import all_commands

    registry = all_commands()
    if name in registry.top_level() or name in {"logctl", "exit", "quit"}:
        raise UsageProblem(f"'{name}' is a command; an alias needs a name of its own.")
    if quoted(name) != name or name.startswith("-"):
        raise UsageProblem(f"'{name}' cannot be an alias: use letters, digits, - and _.")


def _check_meaning(name: str, text: str, aliases: Mapping[str, str]) -> None:
    from shell.commands import all_commands
    from shell.script import alias_words

    registry, words = all_commands(), alias_words(text)
    known = {*registry.top_level(), *aliases} - {name}
    if words[0] not in known:
        raise UsageProblem(
            f"'{words[0]}' is no command that {name} could stand for."
            + did_you_mean(words[0], known)
        )
    if words[0] in registry.groups and len(words) > 1 and registry.find(words[:2]) is None:
        raise UsageProblem(
            f"There is no command '{words[0]} {words[1]}'."
            + did_you_mean(words[1], registry.verbs(words[0]))
        )


COMMANDS = (
    Command(
        name="dash",
        summary="Open the full-screen dashboard.",
        details="With --web a browser on this machine shows it; each page is a dashboard of its "
        "own. Nobody is asked for a password, so only loopback addresses are served.\n\n"
        "With --page it begins there: the pages "
        + ", ".join(page for page, about in PAGES.items() if not about.required)
        + " alone, and with what they are about "
        + ", ".join(f"{page} ({about.what})" for page, about in PAGES.items() if about.required)
        + ". After partitions and events a filter may follow.",
        arguments=(
            Argument(
                "SUBJECT",
                "With --page: the topic, broker or group that it is about, or a filter.",
                Kind.PAGE_SUBJECT,
                required=False,
                many=True,
            ),
        ),
        options=(
            Option(
                ("--page",),
                "Begin with this page.",
                kind=Kind.CHOICE,
                choices=tuple(PAGES),
                metavar="PAGE",
            ),
            Option(("--web",), "Serve it to a browser until Ctrl-C.", kind=Kind.FLAG),
            Option(
                ("--host",), "With --web: the loopback address to listen on (default 127.0.0.1)."
            ),
            Option(
                ("--port",),
                "With --web: the port (default 8000; 0 takes a free one).",
                kind=Kind.INTEGER,
                metavar="PORT",
                minimum=0,
            ),
        ),
        examples=(
            "dash",
            "dash --page group payments",
            "dash --page partitions under-replicated",
            "dash --bootstrap 127.0.0.1:19092",
            "dash --web --read-only",
        ),
        run=_dash,
    ),
    Command(
        name="completion",
        summary="Print the completion script of a shell.",
        details="Put a line into your shell's start-up file.\n\n"
        'In ~/.bashrc: eval "$(logctl completion bash)"\n\n'
        'In ~/.zshrc, after compinit: eval "$(logctl completion zsh)"\n\n'
        "In ~/.config/fish/config.fish: logctl completion fish | source\n\n"
        "Or keep the script where the shell looks for it, as in the examples; make the folder "
        "where there is none.",
        arguments=(Argument("SHELL", "Which shell.", kind=Kind.CHOICE, choices=SHELLS),),
        examples=(
            "completion bash > ~/.local/share/bash-completion/completions/logctl",
            "completion zsh > /usr/local/share/zsh/site-functions/_logctl",
            "completion fish > ~/.config/fish/completions/logctl.fish",
        ),
        run=_completion,
    ),
    Command(
        name="help",
        summary="Show help for a command, or a page: start, scripts, files and others.",
        arguments=(
            Argument(
                "COMMAND",
                f"Whose help; without it, all. Or a page: {', '.join(GUIDES)}.",
                Kind.COMMAND,
                required=False,
                many=True,
            ),
        ),
        options=(
            Option(("--json",), "The same as data, for programs; as --format json.", Kind.FLAG),
            Option(("--man",), "All of it as a manual page, for man.", Kind.FLAG),
        ),
        details="As JSON or YAML it is the whole tree of commands with their arguments, options, "
        "choices and examples.",
        examples=(
            "help",
            "help topic create",
            "help start",
            "help --json",
            "help --man > ~/.local/share/man/man1/logctl.1",
        ),
        run=_help,
    ),
    Command(
        name="alias",
        summary="Name the beginning of a command, or list such names.",
        details="An alias is kept in the configuration file. It stands for the first words of a "
        "command; what follows is added. Commands are never hidden by an alias.",
        arguments=(
            Argument("NAME", "The new word; alone it shows what it stands for.", required=False),
            Argument("WORDS", "What it stands for.", required=False, many=True),
        ),
        options=(Option(("--remove",), "Forget the alias.", kind=Kind.FLAG),),
        examples=(
            "alias",
            "alias td 'topic describe'",
            "alias tj -- topic list --format json",
            "alias td --remove",
        ),
        run=_alias,
    ),
)
