"""Completion in bash, zsh and fish: the scripts, and what answers them.

Takes the words of a command line, prints suggestions. It has no background in which to have asked
before, so it keeps names in a file and asks the cluster only briefly when they are old. Silent when
nothing is known: no suggestions are better than an error at Tab.
"""

from __future__ import annotations

import asyncio
import io
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from shell import names as names_module
from shell.completion import Place, Suggestion, prefixed, suggest_word
from shell.names import NO_NAMES, Names
from shell.registry import LIVE_KINDS, Argument, Kind, Option, Registry
from shell.script import Form, tokens
from shell.session import Doors, Session
from shell.settings import resolve

COMPLETE_VARIABLE = "_LOGCTL_COMPLETE"
SHELLS = ("bash", "zsh", "fish")

# A person waits for Tab: an answer that takes longer is no use.
_ASK_LIMIT_MS = 800
_FRESH_S = 10
# Readline breaks words at these, and replaces only what follows the last one.
_BASH_BREAKS = ":="
_FILES = "\tfiles"

_BASH = """\
_logctl_completion() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <(_LOGCTL_COMPLETE=bash COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" logctl)
    if [ "${#COMPREPLY[@]}" -eq 1 ]; then
        case "${COMPREPLY[0]}" in *=) compopt -o nospace ;; esac
    fi
}
complete -o bashdefault -o default -F _logctl_completion logctl
"""

_ZSH = """\
#compdef logctl
_logctl() {
    local -a found
    local line
    while IFS= read -r line; do
        [[ "$line" == $'\\tfiles' ]] && { _files; continue }
        found+=("$line")
    done < <(_LOGCTL_COMPLETE=zsh logctl "${(@Q)words[2,CURRENT]}")
    (( ${#found} )) && _describe -V 'logctl' found
}
if [[ "${zsh_eval_context[-1]}" == loadautofunc ]]; then
    _logctl "$@"
else
    compdef _logctl logctl
fi
"""

_FISH = """\
function __logctl_complete
    set -l words (commandline -opc)
    for line in (env _LOGCTL_COMPLETE=fish logctl $words[2..-1] (commandline -ct))
        if test "$line" = \\tfiles
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete --no-files --command logctl --arguments '(__logctl_complete)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion_script(shell: str) -> str:
    """Return the script that makes a shell complete logctl's command lines."""
    return _SCRIPTS[shell]


def answer(registry: Registry, doors: Doors, arguments: Sequence[str]) -> int:
    """Print the suggestions for the command line that a completion script hands over."""
    shell = doors.environ[COMPLETE_VARIABLE].partition("_")[0]
    if shell == "bash":
        words, current = _bash_words(doors.environ)
    else:
        words, current = list(arguments[:-1]), arguments[-1] if arguments else ""
    try:
        found, files = _suggestions(registry, doors, words, current)
    except Exception:  # noqa: BLE001 - no suggestions are better than an error at Tab
        return 0
    lines = [_line(shell, s, current) for s in found if s.text.isprintable()]
    if files and shell != "bash":  # bash completes files itself when it is given nothing
        lines.append(_FILES)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _bash_words(environ: Mapping[str, str]) -> tuple[list[str], str]:
    line = environ.get("COMP_LINE", "")
    point = int(environ.get("COMP_POINT") or len(line.encode()))
    text = line.encode()[:point].decode(errors="replace")
    found = [token for token in tokens(text) if token.form is Form.WORD][1:]
    current = found.pop().text if found and found[-1].end == len(text) else ""
    return [token.text for token in found], current


def _suggestions(
    registry: Registry, doors: Doors, words: Sequence[str], current: str
) -> tuple[list[Suggestion], bool]:
    place = Place.after(registry, words)
    wanted: Argument | Option | None = place.option
    if wanted is None and current.startswith("--") and "=" in current:
        wanted = place.options().get(current.partition("=")[0])
    if wanted is None and place.command is not None and not current.startswith("-"):
        wanted = place.argument()
    kind = wanted.kind if wanted else None
    names = _names(doors, kind, words) if kind else NO_NAMES
    found = suggest_word(registry, words, current, names, prefixed)
    return found, kind in {Kind.FILE, Kind.SPEC}


def _names(doors: Doors, kind: Kind, words: Sequence[str]) -> Names:
    if kind not in LIVE_KINDS:
        if kind not in {Kind.CONTEXT, Kind.SPEC}:
            return NO_NAMES
        return Names(contexts=sorted(doors.contexts()), specs=sorted(doors.bundled_specs()))
    from shell.output import Output

    settings = resolve({**_given(words), "timeout": _ASK_LIMIT_MS}, doors.environ)
    session = Session(settings, Output(stdout=io.BytesIO(), stderr=io.StringIO()), doors)
    path = names_module.cache_path(session)
    kept = names_module.load(path, names_module.wall_clock_s())
    if kept is not None and kept.age_s is not None and kept.age_s <= _FRESH_S:
        return replace(kept, stale=False)
    try:
        found = asyncio.run(_ask(session, kept or NO_NAMES))
    except Exception:  # noqa: BLE001 - what was known before is better than nothing
        return kept or NO_NAMES
    if "topics" in found.problems:
        return kept or NO_NAMES
    names_module.save(path, found.names, names_module.wall_clock_s())
    return replace(found.names, stale=False)


async def _ask(session: Session, kept: Names) -> names_module.Answer:
    async with asyncio.timeout(_ASK_LIMIT_MS / 1000):
        return await names_module.ask(session, kept)


def _given(words: Sequence[str]) -> dict[str, Any]:
    """Return the options that say which cluster is meant."""
    given: dict[str, Any] = {}
    for index, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in {"--context", "--bootstrap"}:
            value = value if equals else (words[index + 1] if index + 1 < len(words) else "")
            given[flag[2:]] = value or None
    return given


def _line(shell: str, suggestion: Suggestion, current: str) -> str:
    text, meta = suggestion.text, " ".join(suggestion.meta.split())
    if shell == "zsh":
        escaped = text.replace("\\", "\\\\").replace(":", "\\:")
        return f"{escaped}:{meta}" if meta else escaped
    if shell == "fish":
        return f"{text}\t{meta}"
    cut = max(current.rfind(mark) for mark in _BASH_BREAKS) + 1
    rest = text[cut:]
    # The name may come from anybody: it must stay one word of the shell.
    return rest if rest.endswith("=") and shlex.quote(rest[:-1]) == rest[:-1] else shlex.quote(rest)


def environment_asks(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process was started by a completion script."""
    return COMPLETE_VARIABLE in environ
