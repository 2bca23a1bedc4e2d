"""What the commands on clusters share: opening operations, progress, plans, questions, secrets.

Progress goes to stderr as a live table of hosts by phases, as plain lines, or with --format json
as events on stdout. Must never show a secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from shell.exits import Refused
from shell.output import TABLE, Block, Cell
from shell.registry import Argument, Kind
from shell.session import Session
from shell.values import format_bytes

if TYPE_CHECKING:
    from clusters.log_dirs import LogDirStatus
    from clusters.operations import Operations, Plan, Progress
    from clusters.spec import ClusterSpec

SPEC = Argument(
    "SPEC",
    "A cluster file, or the name of a bundled one (local). Default: the current context's.",
    kind=Kind.SPEC,
    required=False,
)
POLL_S = 0.1
SHOWN_PHASES = (
    "connect", "facts", "prepare", "ship", "configure", "start", "verify", "roll",
)  # fmt: skip
# Begun for all hosts at once; the others tell of each broker when its turn comes.
WHOLE_PHASES = frozenset({"connect", "facts", "ship", "verify"})


def open_operations(
    session: Session, spec: str | None, report: Callable[[Progress], None] | None = None
) -> Operations:
    """Return the operations of a cluster file, reporting their progress to the writer."""
    loaded = session.doors.load_spec(session.resolve_spec(spec))
    return session.doors.operations(loaded, report or partial(_report, session))


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what the gate and the locks refuse into the exit code of a refusal."""
    from clusters.errors import GateClosed, Locked

    try:
        yield
    except (GateClosed, Locked) as error:
        raise Refused(str(error)) from None


@contextmanager
def live_operations(
    session: Session, spec: str | None
) -> Iterator[tuple[Operations, Callable[[], None]]]:
    """Operations whose progress is a live table while the block runs, where that is of use.

    The second value takes the table away for a while, so that something can be asked.
    """
    loaded = session.doors.load_spec(session.resolve_spec(spec))
    output = session.output
    if (
        loaded.is_local
        or output.format != TABLE
        or not output.interactive
        or session.interactive_shell
    ):
        with refusals():
            yield session.doors.operations(loaded, partial(_report, session)), lambda: None
        return
    table = LiveTable(session, loaded)
    try:
        with refusals():
            yield session.doors.operations(loaded, table.report), table.pause
    finally:
        table.stop()


def ask_secret(prompt: str) -> str | None:
    """Return what a person types unseen on the terminal, or None when there is none."""
    import getpass

    if not sys.stdin.isatty():
        return None
    try:
        return getpass.getpass(prompt)
    except (EOFError, OSError):
        return None


def _report(session: Session, progress: Progress) -> None:
    output = session.output
    if output.format != TABLE:
        if progress.message or progress.step != "done" or progress.broker_id is not None:
            output.line({"event": "progress", **asdict(progress)}, str)
        return
    if not progress.message:
        if progress.step == "start":
            output.progress(progress.phase)
        return
    who = f"broker {progress.broker_id}: " if progress.broker_id is not None else ""
    text = f"{progress.phase}: {who}{progress.message}"
    if progress.step == "warning":
        output.warn(text)
    elif progress.step == "failed":
        return  # the error itself is told at the end
    elif progress.percent is not None:
        output.progress(f"{text} ({progress.percent} %)")
    elif progress.step == "done" or not output.interactive:
        output.say(text, "dim")
    else:
        output.progress(text)


@dataclass(slots=True)
class LiveTable:
    """Hosts by phases, redrawn in place on stderr; what is worth keeping scrolls above it."""

    session: Session
    spec: ClusterSpec
    _cells: dict[tuple[int, str], tuple[str, str]] = field(default_factory=dict)
    _live: Any = None
    _ended: bool = False

    def report(self, progress: Progress) -> None:
        """Take one event in."""
        if (progress.phase == "connect" and progress.step == "start") or self._ended:
            return  # passwords are asked for while connecting
        if self._live is None:
            self._start()
        ids = [progress.broker_id] if progress.broker_id is not None else []
        if progress.step == "start" and not ids and progress.phase in WHOLE_PHASES:
            ids = [host.id for host in self.spec.hosts]
        for broker_id in ids:
            self._cells[broker_id, progress.phase] = _cell(progress)
        if progress.step == "warning":
            self._live.console.print(f"warning: {progress.message}", style="yellow")
        elif progress.phase == "bundle":
            self._live.console.print(progress.message, style="dim")
        if self._live is not None:
            self._live.update(self._table(progress), refresh=progress.percent is None)

    def pause(self) -> None:
        """Take the table away, to ask something; the next event brings it back."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def stop(self) -> None:
        """Leave the last state of the table on the screen."""
        self._ended = True
        self.pause()

    def _start(self) -> None:
        from rich.console import Console
        from rich.live import Live

        output = self.session.output
        output.end_progress()
        console = Console(
            file=output.stderr,
            force_terminal=True,
            no_color=not output.color_err,
            highlight=False,
            markup=False,
        )
        self._live = Live(console=console, refresh_per_second=8, transient=False)
        self._live.start()

    def _table(self, progress: Progress) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), caption_justify="left")
        table.add_column("ID", justify="right")
        table.add_column("HOST")
        for phase in SHOWN_PHASES:
            table.add_column(phase.upper(), min_width=5, no_wrap=True)
        for host in self.spec.hosts:
            cells = [
                Text(*self._cells.get((host.id, phase), ("·", "dim"))) for phase in SHOWN_PHASES
            ]
            table.add_row(str(host.id), host.address, *cells)
        who = f"broker {progress.broker_id}: " if progress.broker_id is not None else ""
        table.caption = f"{progress.phase}: {who}{progress.message}".rstrip(": ")
        return table


def _cell(progress: Progress) -> tuple[str, str]:
    if progress.percent is not None and progress.step == "wait":
        return f"{progress.percent} %", "cyan"
    return {
        "start": ("…", "cyan"),
        "wait": ("…", "cyan"),
        "done": ("ok", "green"),
        "warning": ("!", "yellow"),
        "failed": ("failed", "bold red"),
    }[progress.step]


def free_cell(log_dirs: Sequence[LogDirStatus]) -> Cell | None:
    """Return the room on the fullest disk of a broker, in the colour of how it is."""
    told = [each.usable_bytes for each in log_dirs if each.usable_bytes is not None]
    if any(each.trouble for each in log_dirs):
        return Cell(format_bytes(min(told)) if told else "offline", "bad")
    return Cell(format_bytes(min(told))) if told else None


def write_result(session: Session, data: dict[str, Any], blocks: Callable[[], list[Block]]) -> None:
    """Progress and result are one stream of lines for a program, and a table for a person."""
    if session.output.format == TABLE:
        session.output.document(data, blocks)
    else:
        session.output.line({"event": "result", **data}, str)


def plan_lines(plan: Plan) -> list[str]:
    """A plan in words, one broker after the other."""
    lines: list[str] = []
    for broker in plan.brokers:
        head = f"broker {broker.id} on {broker.host}: "
        if not broker.changes:
            lines.append(f"{head}nothing to do")
            continue
        why = f" ({'; '.join(broker.reasons)})" if broker.reasons else ""
        lines.append(f"{head}{broker.action}{why}")
        if broker.upload:
            lines.append(f"    ship the release {broker.release} ({plan.version})")
        lines += [f"    {step}" for step in broker.prepares]
        lines += [f"    {row}" for row in broker.config_diff.splitlines()]
    if plan.restarts:
        order = ", ".join(str(each) for each in plan.restarts)
        lines.append(f"Restarts go one at a time, the controller last: {order}.")
    for broker_id in plan.leaves:
        lines.append(f"broker {broker_id}: stop (the file no longer names it), and forget it")
    return lines


def confirming(
    session: Session, operations: Operations, pause: Callable[[], None], question: str
) -> Callable[[Plan], Coroutine[Any, Any, None]]:
    """Return what shows a plan and asks, where other machines are to be changed."""

    async def confirm(plan: Plan) -> None:
        if operations.spec.is_local or session.settings.yes:
            return
        pause()
        for line in plan_lines(plan):
            session.output.say(line)
        await ask_to_go_on(session, question)

    return confirm


async def ask_to_go_on(session: Session, question: str) -> None:
    """Ask for a yes while everything else goes on. Raises Refused."""
    if session.settings.yes:
        return
    answer = await _answer(session, f"{question} Type yes to confirm: ")
    if answer is None:
        raise Refused("Not confirmed, and nobody to ask.", hint="Add --yes to confirm.")
    if answer.strip().lower() not in {"y", "yes"}:
        raise Refused("Not confirmed; nothing was changed.")


async def _answer(session: Session, prompt: str) -> str | None:
    """Ask in a thread, so that locks and connections live on; it ends when we are interrupted.

    The line is read only once it is there: an interrupted question must not eat the next one.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str | None] = loop.create_future()
    interrupted = threading.Event()

    def told(value: str | None) -> None:
        if not future.done():
            future.set_result(value)

    def ask() -> None:
        person = sys.stdin.isatty()
        if person:
            sys.stderr.write(prompt)
            sys.stderr.flush()
        while person and not interrupted.is_set():
            if select.select([sys.stdin], [], [], POLL_S)[0]:
                break
        value = None if interrupted.is_set() else session.doors.ask("" if person else prompt)
        with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(told, value)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return await future
    finally:
        interrupted.set()
