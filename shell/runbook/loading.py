"""Reads a runbook and checks it whole before its first step: commands, options, conditions.

Every problem is told at once, with file, line and the nearest word. Asks no cluster.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clusters.declared.fields import Fields, shown
from clusters.declared.variables import VariableError, Variables
from clusters.errors import Problem, SpecError
from clusters.nearest import hint, nearest
from clusters.query import QueryError, parse
from clusters.spec.document import FILE_BYTES_MAX, Document, Path, parse_document
from shell.cli import HelpWanted
from shell.cli import parse as parse_words
from shell.exits import UsageProblem
from shell.registry import Command, Registry
from shell.runbook import filling
from shell.runbook.model import ON_FAILURE, Action, Runbook, Step
from shell.script import parse_line

if TYPE_CHECKING:
    import click

DEPTH_MAX = 8
KEYS = ("runbook", "description", "variables", "steps", "on_failure")
COMMON_KEYS = ("name", "when", "on_failure")
STEP_KEYS: dict[Action, tuple[str, ...]] = {
    Action.RUN: ("with", "save", "expect", "timeout", "retry", "every"),
    Action.WAIT: ("for", "timeout", "every"),
    Action.ASSERT: ("message",),
    Action.CONFIRM: (),
    Action.SAY: (),
    Action.FOR_EACH: ("as", "steps"),
    Action.PARALLEL: (),
    Action.STEPS: (),
}
_LIMITS = ("for", "timeout", "every", "retry")
_VARIABLE = re.compile(r"\$\{[^{}]*\}")
NAME = re.compile(r"[A-Za-z_]\w*")


def load_runbook(path: str, registry: Registry, tree: click.Group, variables: Variables) -> Runbook:
    """Read and check a runbook; `variables.declared` gets its defaults. Raises SpecError."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        words = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise SpecError([Problem(file=path, line=0, message=f"{words}")]) from None
    document = parse_document(content, path)
    if document.data is None and not document.problems:
        document.problem((), "is empty; a runbook has a list of steps")
    elif not isinstance(document.data, dict) and not document.problems:
        document.problem((), "must be a mapping with the keys runbook and steps")
    if not isinstance(document.data, dict):
        raise SpecError(document.problems)
    loader = _Loader(document, registry, tree, variables)
    runbook = loader.load(path)
    if document.problems:
        raise SpecError(list(dict.fromkeys(document.problems)))
    return runbook


@dataclass(slots=True)
class _Loader:
    document: Document
    registry: Registry
    tree: click.Group
    variables: Variables
    later: set[str] = field(default_factory=set)

    def load(self, path: str) -> Runbook:
        fields = Fields(self.document, (), self.document.data)
        fields.known(KEYS)
        declared = fields.inside("variables").data
        # Other files are named from where the runbook is, not from where it is started.
        self.variables.declared["here"] = os.path.dirname(path) or "."
        self.variables.declared.update({k: v for k, v in declared.items() if v is not None})
        for name in declared:
            if not NAME.fullmatch(name):
                fields.problem("a variable's name has letters, digits and _", "variables", name)
            elif declared[name] is None and name not in self.variables.given:
                fields.problem(f"must be given: --set {name}=VALUE", "variables", name)
        for name in self.variables.given:
            if name not in declared:
                known = hint(name, declared) if declared else "it has none"
                self.document.problem((), f"--set {name}: there is no such variable; {known}")
        # Told once above, and not again wherever it is used.
        self.later |= {name for name, value in declared.items() if value is None}
        steps = self.steps(("steps",), fields.data.get("steps"), "", 0)
        if not steps and not self.document.problems:
            fields.problem("has no steps", "steps")
        after = self.steps(("on_failure",), fields.data.get("on_failure"), "on_failure.", 0)
        return Runbook(
            file=path,
            title=fields.text("runbook", path) or path,
            description=fields.text("description") or "",
            variables=declared,
            steps=steps,
            on_failure=after,
        )

    def steps(self, path: Path, data: Any, prefix: str, depth: int) -> tuple[Step, ...]:
        """The steps of a list; what each saves is known to those after it."""
        if data is None:
            return ()
        if not isinstance(data, list):
            self.document.problem(path, f"must be a list of steps, not {shown(data)}")
            return ()
        if depth > DEPTH_MAX:
            self.document.problem(path, f"steps are nested deeper than {DEPTH_MAX} levels")
            return ()
        found = [
            self.step((*path, index), each, f"{prefix}{index + 1}", depth)
            for index, each in enumerate(data)
        ]
        return tuple(step for step in found if step is not None)

    def step(self, path: Path, data: Any, address: str, depth: int) -> Step | None:
        if isinstance(data, str):
            data = {"run": data}
        if not isinstance(data, dict):
            self.document.problem(path, f"must be a command or a mapping, not {shown(data)}")
            return None
        fields = Fields(self.document, path, self._with_limits(path, data))
        action = self._action(fields)
        if action is None:
            return None
        fields.known((str(action), *COMMON_KEYS, *STEP_KEYS[action]))
        when = fields.text("when") or ""
        if when and not _VARIABLE.fullmatch(when.strip()):
            self._condition(fields, "when", when)
        elif when:
            self._known(fields, "when", when)
        save = fields.text("save") or ""
        if save and not NAME.fullmatch(save):
            fields.problem("a variable's name has letters, digits and _", "save")
        words, text = self._content(fields, action)
        items, variable, inside = self._inside(fields, action, address, depth)
        retry = fields.integer("retry", maximum=1000) or 0
        step = Step(
            action=action,
            address=address,
            line=fields.line(),
            name=fields.text("name") or "",
            words=words,
            text=text,
            steps=inside,
            items=items,
            variable=variable,
            when=when,
            save=save,
            expect=self._expect(fields),
            for_ms=fields.duration_ms("for"),
            timeout_ms=fields.duration_ms("timeout"),
            every_ms=max(50, fields.duration_ms("every") or 1_000),
            retry=retry,
            on_failure=self._on_failure(fields, address, depth),
            message=fields.text("message") or "",
        )
        if save:
            self.later.add(save)
        if action is Action.RUN:
            self._endless(fields, step)
        return step

    def _with_limits(self, path: Path, data: dict[str, Any]) -> dict[str, Any]:
        """A step whose times and counts are filled in: these must be known from the start."""
        filled = dict(data)
        for key in _LIMITS:
            value = data.get(key)
            if isinstance(value, str) and "${" in value:
                try:
                    filled[key] = self.variables.text(value)
                except VariableError as error:
                    self.document.problem((*path, key), str(error))
                    filled[key] = None
        return filled

    def _action(self, fields: Fields) -> Action | None:
        found = [action for action in Action if action in fields.data]
        if found == [Action.FOR_EACH, Action.STEPS]:
            found = [Action.FOR_EACH]
        if len(found) == 1:
            return found[0]
        if found:
            fields.problem(f"does {' and '.join(found)}; a step does one thing")
            return None
        known = [*Action, *COMMON_KEYS]
        for key in fields.data:
            match = nearest(key, known)
            if match is not None and key not in known:
                fields.problem(f'unknown key; did you mean "{match}"?', key)
                return None
        fields.problem(f"does nothing; a step has one of {', '.join(Action)}")
        return None

    def _content(self, fields: Fields, action: Action) -> tuple[tuple[str, ...], str]:
        key = str(action)
        if action is Action.RUN:
            return self._command(fields), ""
        if action in {Action.WAIT, Action.ASSERT}:
            text = fields.text(key) or ""
            self._condition(fields, key, text)
            return (), text
        if action in {Action.CONFIRM, Action.SAY}:
            text = fields.text(key) or ""
            self._known(fields, key, text)
            return (), text
        return (), ""

    def _inside(
        self, fields: Fields, action: Action, address: str, depth: int
    ) -> tuple[Any, str, tuple[Step, ...]]:
        path, prefix = fields.path, f"{address}."
        if action is Action.PARALLEL:
            data = fields.data.get("parallel")
            return None, "", self.steps((*path, "parallel"), data, prefix, depth + 1)
        if action is Action.STEPS:
            data = fields.data.get("steps")
            return None, "", self.steps((*path, "steps"), data, prefix, depth + 1)
        if action is not Action.FOR_EACH:
            return None, "", ()
        items = fields.data.get("for_each")
        variable = fields.text("as") or "item"
        if isinstance(items, str):
            self._known(fields, "for_each", items)
            if not _VARIABLE.fullmatch(items.strip()):
                fields.problem("must be a list, or one variable such as ${brokers}", "for_each")
        elif not isinstance(items, list):
            fields.problem(f"must be a list, not {shown(items)}", "for_each")
        fresh = variable not in self.later
        self.later.add(variable)
        inside = self.steps((*path, "steps"), fields.data.get("steps"), prefix, depth + 1)
        if not inside:
            fields.problem("has no steps", "steps")
        if fresh:
            self.later.discard(variable)
        return items, variable, inside

    def _expect(self, fields: Fields) -> tuple[int, ...]:
        values = fields.items("expect")
        if any(isinstance(v, bool) or not isinstance(v, int) for v in values):
            fields.problem("must be exit codes, as in [0, 3]", "expect")
            return (0,)
        return tuple(values) or (0,)

    def _on_failure(self, fields: Fields, address: str, depth: int) -> str | tuple[Step, ...]:
        data = fields.data.get("on_failure")
        if isinstance(data, list):
            path = (*fields.path, "on_failure")
            return self.steps(path, data, f"{address}.on_failure.", depth + 1)
        return fields.choice("on_failure", ON_FAILURE, "stop") or "stop"

    # Commands

    def _command(self, fields: Fields) -> tuple[str, ...]:
        text = fields.text("run") or ""
        if not text:
            return ()
        try:
            statements = parse_line(text)
        except UsageProblem as problem:
            fields.problem(problem.message, "run")
            return ()
        if len(statements) != 1 or statements[0].program or statements[0].target:
            fields.problem("must be one command, without ; | > && (take `save` for output)", "run")
            return ()
        words = statements[0].words
        words = words[1:] if words[0] == "logctl" else words
        words = (*words, *self._with(fields, words))
        for word in words:
            self._known(fields, "run", word)
        self._check_words(fields, words)
        return words

    def _with(self, fields: Fields, words: Sequence[str]) -> list[str]:
        """The words of `with`: arguments and options by name, as a mapping."""
        if "with" not in fields.data:
            return []
        command = self.registry.find(tuple(words))
        inside = fields.inside("with")
        if command is None:
            return []
        by_name = {argument.parameter: argument for argument in command.arguments}
        options = {option.flags[0].lstrip("-"): option for option in command.options}
        arguments: dict[str, list[str]] = {}
        out: list[str] = []
        for key, value in inside.data.items():
            name = key.replace("-", "_")
            if name in by_name:
                arguments[name] = [_text(each) for each in _many(value)]
            elif key.replace("_", "-") in options:
                flag = f"--{key.replace('_', '-')}"
                if isinstance(value, bool):
                    out += [flag] if value else []
                elif isinstance(value, dict):
                    for k, v in value.items():
                        out += [flag, f"{k}={_text(v)}"]
                else:
                    for each in _many(value):
                        out += [flag, _text(each)]
            else:
                known = [*by_name, *options]
                inside.problem(f"'{command.name}' has nothing like it; {hint(key, known)}", key)
        ordered = [word for name in by_name for word in arguments.get(name, [])]
        # After `--` no value can be taken for an option.
        return [*out, "--", *ordered] if ordered else out

    def _check_words(self, fields: Fields, words: Sequence[str]) -> None:
        checked = [self._example(word) for word in words]
        try:
            invocation = parse_words(self.tree, checked)
        except HelpWanted:
            return
        except UsageProblem as problem:
            if checked != list(words) and _about_a_value(problem.message):
                # Only the value of a variable does not fit, and it is not known yet.
                return
            fields.problem(problem.message, "run")
            return
        if invocation.command is None:
            fields.problem("names no command", "run")
        elif invocation.command.name in {"run", "dash", "demo"}:
            fields.problem(f"'{invocation.command.name}' cannot be a step", "run")

    def _example(self, word: str) -> str:
        """A word with its variables filled in, as far as they are known; else with a 1."""
        try:
            return filling.word(word, self.variables)
        except VariableError:
            return _VARIABLE.sub("1", word)

    def _endless(self, fields: Fields, step: Step) -> None:
        command = self.registry.find(step.words)
        if command is None or not command.endless or step.timeout_ms is not None:
            return
        ends = {"--max", "--for", "--until", "--count"}
        if not ends & {word.partition("=")[0] for word in step.words}:
            fields.problem(f"'{command.name}' never ends; give the step a timeout", "run")

    # Variables and conditions

    def _known(self, fields: Fields, key: str, text: str) -> None:
        known = {*self.variables.declared, *self.variables.given, *self.later}
        for name in sorted(filling.names_in(text) - known):
            more = hint(name, known - {"here"}) if known - {"here"} else "there is none at all"
            fields.problem(f'there is no variable "{name}" here; {more}', key)

    def _condition(self, fields: Fields, key: str, text: str) -> None:
        if not text:
            fields.problem("is empty; write a condition such as no partitions where offline", key)
            return
        self._known(fields, key, text)
        try:
            filled = filling.condition(text, self.variables)
        except VariableError:
            filled = _VARIABLE.sub("1", text)
        try:
            query = parse(filled)
        except QueryError as error:
            fields.problem(error.brief, key)
            return
        if key in {"assert", "when"} and query.for_ms is not None:
            fields.problem("asks for one moment; use `wait` for what must last", key)


def _about_a_value(message: str) -> bool:
    return not re.match(r"No such|Missing|Got unexpected|'\w+' needs a verb", message)


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def commands_of(steps: Sequence[Step], registry: Registry) -> list[tuple[Step, Command]]:
    """Every command of some steps and of what is inside them."""
    found: list[tuple[Step, Command]] = []
    for step in steps:
        if step.action is Action.RUN:
            command = registry.find(step.words)
            if command is not None:
                found.append((step, command))
        found += commands_of(step.steps, registry)
        if not isinstance(step.on_failure, str):
            found += commands_of(step.on_failure, registry)
    return found


__all__ = ["commands_of", "load_runbook"]
