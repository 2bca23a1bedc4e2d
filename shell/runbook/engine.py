"""Takes the steps of a runbook, one after the other, and records what came of each.

A step that fails stops the run unless it says else. Being broken off is no failure: what was done
is told, and how to go on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

from broker.protocol.errors import LogctlError
from clusters.declared.variables import VariableError, Variables, typed
from clusters.query import QueryError, parse
from clusters.watch.events import iso_time
from clusters.watch.status import SystemClock
from shell.exits import ExitCode, Refused, ShellError
from shell.observing import observe
from shell.output import Output
from shell.registry import Registry
from shell.runbook import filling
from shell.runbook.model import Action, Runbook, Step
from shell.runbook.recording import Entry, Record
from shell.script import quoted
from shell.waiting import WAIT_TIMEOUT_MS, evidence, missing, wait_until

if TYPE_CHECKING:
    from clusters.query import ClusterState, Query
    from shell.runner import Runner
    from shell.session import Session


class StepFailed(Exception):
    """A step that did not do what it should; `code` is the exit code that it means."""

    def __init__(self, detail: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code


@dataclass(slots=True)
class Engine:
    """One run of a runbook."""

    session: Session
    runner: Runner
    registry: Registry
    runbook: Runbook
    variables: Variables
    record: Record
    dry_run: bool = False
    clock: SystemClock = field(default_factory=SystemClock)

    async def run(self, start: int) -> ExitCode:
        """Take the steps from index `start` on; return what the run means as a whole."""
        code = ExitCode.DONE
        total = len(self.runbook.steps)
        try:
            for index in range(start, total):
                step = self.runbook.steps[index]
                self.record.resume_from = step.address
                await self.take(step, self.variables)
                self._write()
            self.record.result, self.record.resume_from = "done", ""
        except StepFailed as failure:
            code, self.record.result = failure.code, "failed"
            self._write()
            await self._after_failure()
        except asyncio.CancelledError:
            self.record.result = "interrupted"
            self._tell_interrupted()
            raise
        finally:
            self.record.finished_at = iso_time(self.clock.wall_ms())
            self._write()
        return code

    async def _after_failure(self) -> None:
        if self.runbook.on_failure:
            self.session.output.say("The run failed; taking the steps of on_failure.", "warn")
        with suppress(StepFailed):
            for step in self.runbook.on_failure:
                await self.take(step, self.variables)

    def _tell_interrupted(self) -> None:
        done = [entry for entry in self.record.entries if entry.result == "ok"]
        output = self.session.output
        output.end_progress()
        output.say(f"Broken off at step {self.record.resume_from}; {len(done)} steps were done:")
        for entry in done:
            output.say(f"  {entry.address} {entry.title}")

    def _write(self) -> None:
        try:
            self.record.write()
        except OSError as error:
            self.session.output.warn(f"The record cannot be written: {error}")

    # Steps

    async def take(self, step: Step, variables: Variables, address: str | None = None) -> None:
        """Take one step and record it. Raises StepFailed when the run cannot go on."""
        place = address or step.address
        title = self._title(step, variables)
        entry = Entry(
            address=place,
            title=title,
            action=str(step.action),
            result="ok",
            started_at=iso_time(self.clock.wall_ms()),
            duration_ms=0,
        )
        began_ms = self.clock.monotonic_ms()
        container = step.action in {Action.FOR_EACH, Action.PARALLEL, Action.STEPS}
        try:
            if step.when and not await self._wanted(step, variables):
                entry.result, entry.detail = "skipped", f"not so: {step.when}"
                self._tell(entry)
                return
            if container:
                self.session.output.say(f"{place} {title}", "strong")
            await self._tried(step, variables, place, entry)
        except StepFailed as failure:
            entry.result = "refused" if failure.code is ExitCode.REFUSED else "failed"
            if self.dry_run:
                # Nothing was done before it, so this says little of a real run.
                entry.result = "open"
            entry.detail = failure.detail
            entry.duration_ms = self.clock.monotonic_ms() - began_ms
            self.record.entries.append(entry)
            self._tell(entry, step)
            await self._on_failure(step, variables, failure)
            return
        except asyncio.CancelledError:
            entry.result = "interrupted"
            self.record.entries.append(entry)
            raise
        finally:
            entry.duration_ms = self.clock.monotonic_ms() - began_ms
        if entry.result == "ok" and not container:
            self._tell(entry)
        self.record.entries.append(entry)

    async def _on_failure(self, step: Step, variables: Variables, failure: StepFailed) -> None:
        if self.dry_run or step.on_failure == "continue":
            return
        if not isinstance(step.on_failure, str):
            for each in step.on_failure:
                await self.take(each, variables)
        raise failure

    async def _tried(self, step: Step, variables: Variables, place: str, entry: Entry) -> None:
        for attempt in range(step.retry + 1):
            try:
                await self._act(step, variables, place, entry)
            except StepFailed as failure:
                if attempt == step.retry or self.dry_run:
                    raise
                text = (
                    f"{place} failed, attempt {attempt + 1} of {step.retry + 1}: {failure.detail}"
                )
                self.session.output.say(text, "warn")
                await asyncio.sleep(step.every_ms / 1000)
            except (VariableError, QueryError, ShellError, LogctlError, OSError) as error:
                code = error.code if isinstance(error, ShellError) else ExitCode.FAILED
                raise StepFailed(str(error), code) from None
            else:
                return

    async def _act(self, step: Step, variables: Variables, place: str, entry: Entry) -> None:
        match step.action:
            case Action.RUN:
                await self._bounded(step, self._command(step, variables, place, entry))
            case Action.WAIT:
                await self._wait(step, variables, place)
            case Action.ASSERT:
                await self._assert(step, variables)
            case Action.CONFIRM:
                self._confirm(filling.word(step.text, variables), entry)
            case Action.SAY:
                entry.title = filling.saying(step.text, variables)
            case Action.FOR_EACH:
                await self._for_each(step, variables, place)
            case Action.PARALLEL:
                await self._parallel(step, variables, place)
            case Action.STEPS:
                for index, each in enumerate(step.steps):
                    await self.take(each, variables, f"{place}.{index + 1}")

    async def _bounded(self, step: Step, work: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(step.timeout_ms / 1000 if step.timeout_ms else None):
                await work
        except TimeoutError:
            assert step.timeout_ms is not None
            command = self.registry.find(step.words)
            if command is None or not command.endless:
                raise StepFailed(f"not done within {step.timeout_ms / 1000:g} s") from None

    # Commands

    async def _command(self, step: Step, variables: Variables, place: str, entry: Entry) -> None:
        words = [filling.word(word, variables) for word in step.words]
        command = self.registry.find(tuple(words))
        assert command is not None
        can_try = any(option.is_trial for option in command.options)
        if self.dry_run and command.changes:
            if not can_try:
                entry.detail = "not done (dry run)"
                entry.command = " ".join(map(quoted, words))
                return
            words = _with_option(words, "--dry-run", len(command.words))
        if step.save:
            words = _with_option(words, "--format=json", len(command.words))
        entry.command = " ".join(map(quoted, words))
        stdout, talk = BytesIO(), _Talk(self.session.output, place)
        output = Output(stdout=stdout, stderr=talk, format=self.session.output.format)
        base = dict(self.runner.base) | ({"yes": True} if self.dry_run else {})
        nested = replace(self.runner, output=output, base=base)
        try:
            code = await nested.run(words)
        finally:
            talk.finish()
            entry.output = stdout.getvalue().decode("utf-8", "replace")
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # The command took the interruption for its own; it is meant for the run.
            raise asyncio.CancelledError
        entry.code = int(code)
        if self.session.output.format == "table" and entry.output.strip() and not step.save:
            self.session.output.text(entry.output)
        if int(code) not in step.expect and not (self.dry_run and code is ExitCode.DIFFERENCES):
            reason = talk.last_error or f"exit code {int(code)}"
            raise StepFailed(reason, code if code is not ExitCode.DONE else ExitCode.FAILED)
        if step.save:
            value = _answer(entry.output)
            variables.declared[step.save] = value
            self.record.saved[step.save] = value

    # Conditions

    async def _wanted(self, step: Step, variables: Variables) -> bool:
        try:
            simple = filling.is_true(step.when, variables)
            if simple is not None:
                return simple
            query = parse(filling.condition(step.when, variables))
            state = await self._state(query)
        except (VariableError, QueryError, ShellError, LogctlError) as error:
            raise StepFailed(f"when: {error}") from None
        verdict = query.holds(state)
        if verdict is None:
            raise StepFailed(f"when: nobody can say whether it holds: {missing(query, state)}")
        return verdict

    async def _state(self, query: Query) -> ClusterState:
        return await observe(self.session, [query])

    async def _assert(self, step: Step, variables: Variables) -> None:
        query = parse(filling.condition(step.text, variables))
        state = await self._state(query)
        verdict = query.holds(state)
        if verdict is True:
            return
        message = filling.word(step.message, variables) if step.message else ""
        why = "does not hold" if verdict is False else "nobody can say whether it holds"
        shown = evidence(query, state) if verdict is False else missing(query, state)
        detail = f"{message + ': ' if message else ''}{why}: {query}{shown and '; ' + shown}"
        raise StepFailed(detail, ExitCode.UNHEALTHY)

    async def _wait(self, step: Step, variables: Variables, place: str) -> None:
        query = parse(filling.condition(step.text, variables))
        if step.for_ms is not None:
            query = replace(query, for_ms=step.for_ms, for_text=f"{step.for_ms}ms")
        output = self.session.output

        def tell(waited_ms: int, last: str) -> None:
            output.progress(f"{place} waited {waited_ms // 1000} s: {last}")

        limit_ms = WAIT_TIMEOUT_MS if step.timeout_ms is None else step.timeout_ms
        last = await wait_until(
            self.session,
            lambda limited: observe(limited, [query]),
            query,
            limit_ms=0 if self.dry_run else limit_ms,
            every_ms=step.every_ms,
            tell=tell,
        )
        if last is not None and self.dry_run:
            raise StepFailed(f"does not hold yet: {last}")
        if last is not None:
            detail = f"does not hold after {limit_ms / 1000:g} s: {query}; {last}"
            raise StepFailed(detail, ExitCode.UNHEALTHY)

    # The rest

    def _confirm(self, text: str, entry: Entry) -> None:
        if self.dry_run or self.session.settings.yes:
            entry.detail = "not asked"
            return
        self.session.output.end_progress()
        answer = self.session.doors.ask(f"{text}\nType yes to go on: ")
        if answer is None:
            raise Refused(f"Nobody to ask: {text}", hint="Add --yes to confirm.")
        entry.detail = f"answered {answer.strip() or 'nothing'}"
        if answer.strip().lower() not in {"y", "yes"}:
            raise StepFailed("not confirmed", ExitCode.REFUSED)

    async def _for_each(self, step: Step, variables: Variables, place: str) -> None:
        items = step.items
        if isinstance(items, str):
            items = variables.text(items)
        if not isinstance(items, list):
            raise StepFailed(f"{step.items} is no list")
        before = variables.declared.get(step.variable)
        for number, item in enumerate(items, 1):
            value = variables.text(item) if isinstance(item, str) else item
            variables.declared[step.variable] = value
            for index, each in enumerate(step.steps):
                await self.take(each, variables, f"{place}[{number}].{index + 1}")
        variables.declared.pop(step.variable, None)
        if before is not None:
            variables.declared[step.variable] = before

    async def _parallel(self, step: Step, variables: Variables, place: str) -> None:
        results = await asyncio.gather(
            *(
                self.take(each, variables, f"{place}.{index + 1}")
                for index, each in enumerate(step.steps)
            ),
            return_exceptions=True,
        )
        failures = [result for result in results if isinstance(result, StepFailed)]
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, StepFailed):
                raise result
        if failures:
            raise StepFailed(f"{len(failures)} of {len(results)} failed", failures[0].code)

    def _title(self, step: Step, variables: Variables) -> str:
        try:
            return filling.word(step.title, variables)
        except VariableError:
            return step.title

    def _tell(self, entry: Entry, step: Step | None = None) -> None:
        tones = {"ok": "good", "skipped": "dim", "open": "warn"}
        detail = f": {entry.detail}" if entry.detail else ""
        where = f" ({self.runbook.file}:{step.line})" if step is not None else ""
        seconds = f" {entry.duration_ms / 1000:.1f} s" if entry.duration_ms >= 100 else ""
        text = f"{entry.address} {entry.result}{seconds}  {entry.title}{detail}{where}"
        self.session.output.say(text, tones.get(entry.result, "bad"))


class _Talk(StringIO):
    """What a command says, passed on line by line with the step's number before it."""

    def __init__(self, output: Output, place: str) -> None:
        super().__init__()
        self.output = output
        self.place = place
        self.rest = ""
        self.last_error = ""

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self._pass_on(line)
        return len(text)

    def finish(self) -> None:
        """Pass on what has no end of line."""
        if self.rest.strip():
            self._pass_on(self.rest)
        self.rest = ""

    def _pass_on(self, line: str) -> None:
        if line.startswith("error: "):
            self.last_error = line.removeprefix("error: ")
        self.output.say(f"{self.place} | {line}", "dim")


def _with_option(words: Sequence[str], option: str, at: int) -> list[str]:
    """Words with an option after the command's name: before any `--`."""
    return list(words) if option in words else [*words[:at], option, *words[at:]]


def _answer(output: str) -> Any:
    """The data a command printed: JSON, JSON lines, or text."""
    try:
        return json.loads(output) if output.strip() else None
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in output.splitlines() if line.strip()]
    except ValueError:
        return typed(output.strip())
