"""The manual page, in roff, from the registry and the pages of help: `logctl help --man`.

Must never say what `--help` does not: it is the same words in another form. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shell.guides import EXIT_CODES, GUIDES
from shell.registry import Argument, Command, Option, Registry
from shell.settings import GLOBAL_OPTIONS


def man_page(registry: Registry, version: str) -> str:
    """Return the page logctl(1); `version` stands in its last line."""
    lines = [
        f'.TH LOGCTL 1 "" "logctl {_text(version)}" "Replicated event logs"',
        ".SH NAME",
        _text("logctl - run, watch and change a replicated event log"),
        ".SH SYNOPSIS",
        ".B logctl",
        _text("[OPTIONS] COMMAND ..."),
        ".br",
        ".B logctl",
        ".SH DESCRIPTION",
        _text(
            "logctl deploys logd, brokers of the Kafka protocol, and administers and watches its "
            "clusters and those of Apache Kafka. Alone it is an interactive shell."
        ),
        *_verbatim(GUIDES["start"].text),
        ".SH COMMANDS",
    ]
    for command in registry.commands.values():
        lines += _command(command)
    lines += [".SH OPTIONS OF EVERY COMMAND", *_entries(GLOBAL_OPTIONS)]
    lines.append(".SH EXIT STATUS")
    for code, meaning in EXIT_CODES.items():
        lines += [".TP", f".B {code:d}", _text(meaning.replace("`", ""))]
    for heading, name in (("ENVIRONMENT", "environment"), ("FILES", "files")):
        lines += [f".SH {heading}", *_verbatim(GUIDES[name].text)]
    for name in ("scripts", "positions", "conditions"):
        lines += [f".SH {name.upper()}", *_verbatim(GUIDES[name].text)]
    return "\n".join(lines) + "\n"


def _command(command: Command) -> list[str]:
    words = [command.name]
    for argument in command.arguments:
        name = argument.name + ("..." if argument.many else "")
        words.append(name if argument.required else f"[{name}]")
    if command.options:
        words.append("[OPTIONS]")
    lines = [f".SS {_text('logctl ' + ' '.join(words))}", _text(command.summary)]
    for paragraph in command.details.split("\n\n"):
        if paragraph.strip():
            lines += [".PP", _text(paragraph)]
    lines += _entries((*command.arguments, *command.options))
    return [*lines, ".PP", *_verbatim("".join(f"logctl {each}\n" for each in command.examples))]


def _entries(values: Iterable[Argument | Option]) -> list[str]:
    lines = []
    for value in values:
        if isinstance(value, Option):
            metavar = value.metavar or value.kind.value.upper()
            name = ", ".join(f if value.is_flag else f"{f} {metavar}" for f in value.flags)
        else:
            name = value.name
        choices = f" One of {', '.join(value.choices)}." if value.choices else ""
        lines += [".TP", f".B {_text(name)}", _text(value.help + choices)]
    return lines


def _verbatim(text: str) -> Sequence[str]:
    return [".PP", ".nf", *(_text(line) for line in text.rstrip().splitlines()), ".fi"]


def _text(text: str) -> str:
    """Words that roff takes for nothing but words; a minus stays one that can be copied."""
    if not text.startswith(" "):
        text = " ".join(text.split())
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    text = text.replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{text}" if text.startswith((".", "\\(aq")) else text
