"""The interactive shell: the same commands, with completion of live names, history and a toolbar.

Never waits for the cluster before it takes a key: what it knows is asked for in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.styles import Style

from shell.cli import Invocation
from shell.completion import NO_NAMES, Names, split_words, suggest
from shell.exits import ExitCode, ShellError
from shell.journal import state_folder
from shell.registry import Registry
from shell.runner import Runner
from shell.session import Session

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output as TerminalOutput

_REFRESH_S = 5.0
_REFRESH_TIMEOUT_MS = 3_000
_ENDINGS = frozenset({"exit", "quit"})
_STYLE = Style.from_dict(
    {
        "bottom-toolbar": "noreverse bg:#303030 #d0d0d0",
        "good": "ansigreen",
        "warn": "ansiyellow",
        "bad": "ansired bold",
        "dim": "#808080",
        "prompt": "bold",
    }
)


@dataclass(slots=True)
class LiveState:
    """What the shell last learned about the cluster, and whether that is still current.

    Invariant: names never vanish because the cluster does not answer; they are marked stale.
    """

    names: Names = NO_NAMES
    cluster_id: str | None = None
    brokers_up: int = 0
    brokers_all: int = 0
    under_replicated: int = 0
    offline: int = 0
    seen: bool = False
    problem: str | None = None

    async def refresh(self, session: Session) -> None:
        """Ask the cluster once; on failure keep what is known and mark it stale."""
        contexts = sorted(session.doors.contexts())
        specs = sorted(session.doors.bundled_specs())
        try:
            async with session.admin() as admin:
                info = await admin.cluster()
                brokers = await admin.brokers()
                topics = await admin.topics()
        except Exception as error:  # noqa: BLE001 - shown in the toolbar
            self.problem = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.names = Names(
                topics=self.names.topics,
                brokers=self.names.brokers,
                contexts=contexts,
                specs=specs,
                stale=True,
            )
            return
        self.names = Names(
            topics={topic.topic: topic.partitions for topic in topics},
            brokers={b.id: f"{b.host}:{b.port} {b.state}" for b in brokers},
            contexts=contexts,
            specs=specs,
        )
        self.cluster_id = info.cluster_id
        self.brokers_up = sum(broker.state == "up" for broker in brokers)
        self.brokers_all = len(brokers)
        self.under_replicated = sum(topic.under_replicated for topic in topics)
        self.offline = sum(topic.offline for topic in topics)
        self.seen, self.problem = True, None


class RegistryCompleter(Completer):
    """Gives prompt_toolkit the suggestions of the registry and of the live names."""

    def __init__(self, registry: Registry, names: Callable[[], Names]) -> None:
        self._registry = registry
        self._names = names

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """Yield what fits before the cursor."""
        text = document.text_before_cursor
        _, current = split_words(text)
        for suggestion in suggest(self._registry, text, self._names()):
            yield Completion(
                suggestion.text, start_position=-len(current), display_meta=suggestion.meta
            )


@dataclass(slots=True)
class Repl:
    """One interactive shell. `terminal_in` and `terminal_out` are replaced by tests."""

    registry: Registry
    runner: Runner
    history: History = field(default_factory=InMemoryHistory)
    terminal_in: Input | None = None
    terminal_out: TerminalOutput | None = None
    live: LiveState = field(default_factory=LiveState)
    last_code: ExitCode = ExitCode.DONE
    prompt: PromptSession[str] | None = None
    _running: asyncio.Task[ExitCode] | None = None

    async def run(self) -> ExitCode:
        """Take lines until Ctrl-D or `exit`; return the last command's code."""
        prompt: PromptSession[str] = PromptSession(
            history=self.history,
            auto_suggest=AutoSuggestFromHistory(),
            completer=RegistryCompleter(self.registry, lambda: self.live.names),
            complete_while_typing=True,
            bottom_toolbar=self.toolbar,
            style=_STYLE,
            input=self.terminal_in,
            output=self.terminal_out,
            refresh_interval=1.0,
        )
        self.prompt = prompt
        refresher = asyncio.create_task(self._refresh_for_ever())
        try:
            with self._interrupts():
                await self._lines(prompt)
        finally:
            refresher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await refresher
        return self.last_code

    async def _lines(self, prompt: PromptSession[str]) -> None:
        while True:
            try:
                line = await prompt.prompt_async(self._prompt)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            if line.strip() in _ENDINGS:
                self.last_code = ExitCode.DONE
                return
            await self.execute(line)

    async def execute(self, line: str) -> ExitCode:
        """Run one line; an error is told and the shell lives on."""
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            self.runner.output.error(f"The line cannot be read: {error}.")
            self.last_code = ExitCode.USAGE
            return self.last_code
        if words[:1] == ["logctl"]:
            words = words[1:]
        if not words:
            return self.last_code
        self._running = asyncio.create_task(self.runner.run(words))
        try:
            self.last_code = await self._running
        except asyncio.CancelledError:
            # Cancelled before it began; a running command ends with a code of its own.
            self.last_code = ExitCode.FAILED
        finally:
            self._running = None
        return self.last_code

    @contextlib.contextmanager
    def _interrupts(self) -> Iterator[None]:
        """Let Ctrl-C end the running command only."""
        loop = asyncio.get_running_loop()

        def on_interrupt(*_: object) -> None:
            if self.runner.doors.asking:
                raise KeyboardInterrupt
            if self._running is not None:
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

    async def _refresh_for_ever(self) -> None:
        while True:
            with contextlib.suppress(ShellError):
                await self.live.refresh(self._session())
            await asyncio.sleep(_REFRESH_S)

    def _session(self) -> Session:
        given: dict[str, Any] = {**self.runner.base, "timeout": _REFRESH_TIMEOUT_MS}
        from shell.settings import resolve

        settings = resolve(given, self.runner.doors.environ)
        return Session(settings, self.runner.output, self.runner.doors, interactive_shell=True)

    def _prompt(self) -> StyleAndTextTuples:
        parts: StyleAndTextTuples = [("class:prompt", "logctl")]
        if self.last_code is not ExitCode.DONE:
            parts.append(("class:bad", f" [{int(self.last_code)}]"))
        parts.append(("class:prompt", "> "))
        return parts

    def toolbar(self) -> StyleAndTextTuples:
        """Return the line below the prompt: context, cluster, brokers, what is wrong."""
        live = self.live
        parts: StyleAndTextTuples = [("", f" {self._where()}")]
        if live.cluster_id:
            parts.append(("class:dim", f"  {live.cluster_id[:8]}"))
        if live.seen:
            tone = "class:good" if live.brokers_up == live.brokers_all else "class:warn"
            parts.append((tone, f"  brokers {live.brokers_up}/{live.brokers_all}"))
            tone = "class:warn" if live.under_replicated else "class:dim"
            parts.append((tone, f"  under-replicated {live.under_replicated}"))
            if live.offline:
                parts.append(("class:bad", f"  offline {live.offline}"))
        if live.problem is not None:
            parts.append(("class:bad", f"  {'stale: ' if live.seen else ''}{live.problem}"))
        return parts

    def _where(self) -> str:
        try:
            session = self._session()
            context = session.context()
            where = context.name if context is not None else ",".join(session.bootstrap())
            return f"{where} (read-only)" if session.read_only() else where
        except Exception:  # noqa: BLE001 - the toolbar must always be drawn
            return "no cluster"


def start(registry: Registry, runner: Runner, invocation: Invocation) -> int:
    """Run the interactive shell on this terminal, or the lines of standard input as commands."""
    runner.base = dict(invocation.given)
    if not sys.stdin.isatty():
        return int(asyncio.run(_run_lines(runner)))
    runner.output.say("logctl: help shows the commands, Tab completes, Ctrl-D leaves.", "dim")
    repl = Repl(registry, runner, history=_file_history())
    try:
        return int(asyncio.run(repl.run()))
    except KeyboardInterrupt:
        return int(ExitCode.FAILED)


async def _run_lines(runner: Runner) -> ExitCode:
    code = ExitCode.DONE
    for line in sys.stdin:
        words = shlex.split(line, comments=True)
        if words:
            code = await runner.run(words)
            if code is not ExitCode.DONE:
                break
    return code


def _file_history() -> History:
    path = os.path.join(state_folder(), "history")
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)
