"""The interactive shell: the same commands, with completion of live names, history and a toolbar.

Never waits for the cluster before it takes a key: what it knows is asked for in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import CompletionState
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import emacs_insert_mode, has_focus, vi_insert_mode
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

from shell import preferences, typed_ahead
from shell.cli import Invocation
from shell.completion import (
    file_word,
    inline_help,
    redirects,
    settings_owner,
    start_of_word,
    suggest,
)
from shell.execution import LineRunner
from shell.exits import ExitCode, ShellError
from shell.highlight import LineLexer
from shell.journal import state_folder
from shell.live import LiveState
from shell.names import Names
from shell.registry import Registry
from shell.runner import Runner
from shell.script import quoted
from shell.session import Session
from shell.settings import resolve

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output as TerminalOutput

_REFRESH_S = 5.0
_REFRESH_TIMEOUT_MS = 3_000
# What a context may be shown in.
CONTEXT_COLORS = frozenset({"red", "yellow", "green", "blue", "magenta", "cyan"})
# The prompt is drawn first; what asks the cluster is loaded after that.
_FIRST_DRAWING_LIMIT_S = 2.0
_ENDINGS = frozenset({"exit", "quit"})
_HINT = "Tab completes, Ctrl-R searches, help COMMAND explains; | > >> ; && || work"
_STYLE = Style.from_dict(
    {
        "bottom-toolbar": "noreverse bg:#303030 #d0d0d0",
        "good": "ansigreen",
        "warn": "ansiyellow",
        "bad": "ansired bold",
        "dim": "#808080",
        "strong": "bold",
        "prompt": "bold",
        "command": "bold",
        "option": "ansicyan",
        "value": "ansigreen",
        "operator": "ansimagenta bold",
        "unknown": "ansired underline",
    }
)


class RegistryCompleter(Completer):
    """Gives prompt_toolkit the suggestions of the registry, of the live names, and files."""

    def __init__(self, registry: Registry, names: Callable[[], Names]) -> None:
        self._registry = registry
        self._names = names
        self._paths = PathCompleter(expanduser=False)

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """Yield what fits before the cursor."""
        text = document.text_before_cursor
        target = redirects(text)
        if target is not None:
            yield from self._files(target, complete_event)
            return
        start = start_of_word(text) - len(text)
        for suggestion in suggest(self._registry, text, self._names()):
            word = quoted(suggestion.text)
            if not suggestion.whole and word.endswith("'"):
                # More follows within the quotes.
                word = word[:-1]
            yield Completion(
                word,
                start_position=start,
                display=suggestion.text,
                display_meta=suggestion.meta,
            )
        started = file_word(self._registry, text, self._names())
        if started is not None:
            yield from self._files(started, complete_event)

    def _files(self, started: str, event: CompleteEvent) -> Iterable[Completion]:
        yield from self._paths.get_completions(Document(started, len(started)), event)


def _bindings() -> KeyBindings:
    """Tab as ever, only that it may come before the menu of what was just typed."""
    bindings = KeyBindings()

    @bindings.add("tab", filter=has_focus(DEFAULT_BUFFER) & (vi_insert_mode | emacs_insert_mode))
    def complete(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.completer is not None and (
            buffer.complete_state is None or not buffer.complete_state.completions
        ):
            # The menu is made in the background, and what asks for it again meanwhile is dropped.
            asked = CompleteEvent(completion_requested=True)
            found = list(buffer.completer.get_completions(buffer.document, asked))
            buffer.complete_state = CompletionState(buffer.document, found) if found else None
        buffer.complete_next()

    return bindings


@dataclass(slots=True)
class Repl:
    """One interactive shell. `terminal_in` and `terminal_out` are replaced by tests."""

    registry: Registry
    runner: Runner
    history: History = field(default_factory=InMemoryHistory)
    terminal_in: Input | None = None
    terminal_out: TerminalOutput | None = None
    live: LiveState = field(default_factory=LiveState)
    last_code: int = ExitCode.DONE
    prompt: PromptSession[str] | None = None
    lines: LineRunner = field(init=False)
    _running: asyncio.Task[int] | None = None
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)
    _learning: set[asyncio.Task[None]] = field(default_factory=set)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.lines = LineRunner(self.registry, self.runner, interactive=True)

    async def run(self) -> int:
        """Take lines until Ctrl-D or `exit`; return the last command's code."""
        drawn = asyncio.Event()
        prompt = self._session_of_prompts()
        prompt.app.after_render += lambda _: drawn.set()
        self.prompt = prompt
        refresher = asyncio.create_task(self._refresh_for_ever(drawn))
        try:
            with self._interrupts():
                await self._lines(prompt)
        finally:
            refresher.cancel()
            for task in self._learning:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await refresher
        return self.last_code

    def _session_of_prompts(self) -> PromptSession[str]:
        def names() -> Names:
            return self.live.known()

        plain = bool(self.runner.base.get("no_color")) or not self._may_color()
        return PromptSession(
            history=self.history,
            auto_suggest=AutoSuggestFromHistory(),
            completer=RegistryCompleter(self.registry, names),
            complete_while_typing=True,
            key_bindings=_bindings(),
            lexer=LineLexer(self.registry, names),
            bottom_toolbar=self.toolbar,
            style=_STYLE,
            color_depth=ColorDepth.DEPTH_1_BIT if plain else None,
            enable_suspend=True,
            enable_open_in_editor=True,
            input=self.terminal_in,
            output=self.terminal_out,
            refresh_interval=1.0,
        )

    def _may_color(self) -> bool:
        environ = self.runner.doors.environ
        return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"

    async def _lines(self, prompt: PromptSession[str]) -> None:
        while True:
            try:
                with typed_ahead.kept_for(prompt.app):
                    line = await prompt.prompt_async(self._prompt)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            if line.strip() in _ENDINGS:
                self.last_code = ExitCode.DONE
                return
            await self.execute(line)

    async def execute(self, line: str) -> int:
        """Run one line; an error is told and the shell lives on."""
        if not line.strip():
            return self.last_code
        self._running = asyncio.create_task(self._run_line(line))
        try:
            self.last_code = await self._running
        except asyncio.CancelledError:
            # Cancelled before it began; a running command ends with a code of its own.
            self.last_code = ExitCode.FAILED
        except KeyboardInterrupt:
            self.runner.output.say("Cancelled.", "dim")
            self.last_code = ExitCode.FAILED
        finally:
            self._running = None
        if self.lines.changed:
            self._learn_preferences()
            self.live.forget_values()
            self._hurry.set()
        return self.last_code

    @contextlib.contextmanager
    def _interrupts(self) -> Iterator[None]:
        """Let Ctrl-C end the running line only."""
        loop = asyncio.get_running_loop()

        def on_interrupt(*_: object) -> None:
            if self.lines.paging:
                return
            if self.runner.doors.asking:
                raise KeyboardInterrupt
            if self._running is None:
                return
            self.lines.interrupted = True
            if self.runner.output.interactive:
                os.write(sys.stderr.fileno(), b"\n")  # the terminal has shown ^C
            loop.call_soon_threadsafe(self._running.cancel)

        try:
            before = signal.signal(signal.SIGINT, on_interrupt)
        except ValueError:  # not on the main thread
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    async def _refresh_for_ever(self, drawn: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_DRAWING_LIMIT_S):
                await drawn.wait()
        # Loading takes a while: not on the loop, which is there for the keys. Nor beside a command,
        # which loads what it needs: where one thread loads a package and another one a module of
        # it, Python gives up one of the two.
        async with self._loading:
            await asyncio.to_thread(importlib.import_module, "clusters.admin")
        self._learn_preferences(tell=True)
        self._hurry.set()
        while True:
            with contextlib.suppress(ShellError):
                if self._hurry.is_set():
                    self.live.locate(self._session())
                    self._redraw()
                self._hurry.clear()
                await self.live.refresh(self._session())
            self._redraw()
            # Not asyncio.wait_for: it forgets that it was cancelled when what it waits for comes
            # at the same moment, and Ctrl-D right after a change would then wait for ever.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REFRESH_S):
                    await self._hurry.wait()

    def _redraw(self) -> None:
        if self.prompt is not None:
            self.prompt.app.invalidate()

    async def _run_line(self, line: str) -> int:
        async with self._loading:
            return await self.lines.run(line, self.last_code)

    def _learn_preferences(self, *, tell: bool = False) -> None:
        chosen = preferences.load(self.runner.doors.environ)
        self.lines.preferences = chosen
        self.live.names = replace(self.live.names, aliases=chosen.aliases)
        if self.prompt is not None and chosen.editing == "vi":
            self.prompt.editing_mode = EditingMode.VI
        if tell and chosen.problems:
            run_in_terminal(lambda: self.runner.output.warn(" ".join(chosen.problems)))

    def _session(self) -> Session:
        given: dict[str, Any] = {**self.runner.base, "timeout": _REFRESH_TIMEOUT_MS}
        settings = resolve(given, self.runner.doors.environ)
        output = replace(self.runner.output)
        return Session(settings, output, self.runner.doors, interactive_shell=True)

    def _prompt(self) -> StyleAndTextTuples:
        color = self.live.color
        # Names of prompt_toolkit, whatever a person wrote into the file.
        tone = f"bold ansi{color}" if color in CONTEXT_COLORS else "class:prompt"
        parts: StyleAndTextTuples = [(tone, "logctl")]
        if self.last_code:
            parts.append(("class:bad", f" [{int(self.last_code)}]"))
        parts.append(("class:prompt", "> "))
        return parts

    def _learn_values(self, owner: str | None) -> None:
        """Ask for the settings of the topic or broker that is being typed, once in a while."""
        if owner is None or not self.live.seen or not self.live.wants(owner):
            return

        async def learn() -> None:
            with contextlib.suppress(ShellError):
                await self.live.learn_values(self._session(), owner)
            self._complete_anew(owner)
            self._redraw()

        task = asyncio.ensure_future(learn())
        self._learning.add(task)
        task.add_done_callback(self._learning.discard)

    def _complete_anew(self, owner: str) -> None:
        """Show what was learned in the menu that is open, unless a word of it is chosen."""
        if self.prompt is None or not self.prompt.app.is_running:
            return
        buffer = self.prompt.default_buffer
        text, menu = buffer.document.text_before_cursor, buffer.complete_state
        chosen = menu is not None and menu.complete_index is not None
        if not chosen and settings_owner(self.registry, text, self.live.names) == owner:
            # An open menu is never filled again; a new one takes its place.
            buffer.complete_state = None
            buffer.start_completion(select_first=False)

    def toolbar(self) -> StyleAndTextTuples:
        """Return the lines below the prompt: help for what is typed, and the cluster's health."""
        text = ""
        if self.prompt is not None:
            text = self.prompt.default_buffer.document.text_before_cursor
        names = self.live.known()
        self._learn_values(settings_owner(self.registry, text, names))
        help_now = inline_help(self.registry, text, names)
        pieces: StyleAndTextTuples = [("", " ")]
        pieces += [(f"class:{tone}" if tone else "", said) for tone, said in help_now]
        if not help_now:
            pieces.append(("class:dim", _HINT))
        return [*pieces, ("", "\n"), *self.live.toolbar()]


def start(registry: Registry, runner: Runner, invocation: Invocation) -> int:
    """Run the interactive shell on this terminal, or the lines of standard input as commands."""
    runner.base = dict(invocation.given)
    if not sys.stdin.isatty():
        return int(asyncio.run(_run_lines(registry, runner)))
    runner.output.say("logctl: help shows the commands, Tab completes, Ctrl-D leaves.", "dim")
    repl = Repl(registry, runner, history=_file_history())
    try:
        return int(asyncio.run(repl.run()))
    except KeyboardInterrupt:
        return int(ExitCode.FAILED)


async def _run_lines(registry: Registry, runner: Runner) -> int:
    lines = LineRunner(registry, runner, preferences.load(runner.doors.environ))
    code: int = ExitCode.DONE
    for line in sys.stdin:
        code = await lines.run(line, code)
        if code != ExitCode.DONE:
            break
    return code


class PrivateHistory(FileHistory):
    """History in a file that only its owner reads; a line that begins with a space is not kept."""

    def store_string(self, string: str) -> None:
        """Keep one line."""
        if string.startswith(" "):
            return
        with contextlib.suppress(OSError):
            super().store_string(string)


def _file_history() -> History:
    path = os.path.join(state_folder(), "history")
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        os.chmod(path, 0o600)
    except OSError:
        return InMemoryHistory()
    return PrivateHistory(path)
