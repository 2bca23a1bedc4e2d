"""What the interactive shell last learned about its cluster, and how old that is.

Asks in the background and never makes anybody wait. Names never vanish because a cluster does not
answer: they are marked stale, and only another cluster's names take their place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from shell import names as names_module
from shell.exits import ShellError
from shell.names import NO_NAMES, Answer, Names
from shell.session import Session

Tones = list[tuple[str, str]]

# Younger than this nobody needs to be told.
_OLD_S = 15
_SAVE_EVERY_S = 30
# So long the settings of a topic or broker are taken for what they are.
_VALUES_S = 30
# What only completion needs is not worth a place in the toolbar.
_TOLD_PARTS = frozenset({"cluster", "topics", "brokers"})


@dataclass(slots=True)
class LiveState:
    """The cluster as last seen. `clock` is monotonic and in seconds."""

    clock: Callable[[], float] = time.monotonic
    names: Names = NO_NAMES
    where: str = "..."
    read_only: bool = False
    # The colour of the context, so that nobody takes one cluster for another.
    color: str | None = None
    cluster_id: str | None = None
    controller_id: int = -1
    brokers_up: int = 0
    brokers_all: int = 0
    under_replicated: int = 0
    offline: int = 0
    seen_at: float | None = None
    problem: str | None = None
    partial_problems: tuple[str, ...] = ()
    # Settings of owners as they were told, and when; asked for while they are typed.
    _values: dict[str, tuple[float, dict[str, str | None]]] = field(default_factory=dict)
    _bootstrap: tuple[str, ...] = ()
    _saved_at: float | None = field(default=None, init=False)

    @property
    def seen(self) -> bool:
        """Whether the cluster has answered yet."""
        return self.seen_at is not None

    def locate(self, session: Session) -> bool:
        """Take note of the cluster that lines now mean; returns False when none is named.

        What is known of another cluster is forgotten; what an earlier process knew is taken over.
        """
        self.names = replace(
            self.names,
            contexts=sorted(session.doors.contexts()),
            specs=sorted(session.doors.bundled_specs()),
        )
        try:
            bootstrap = session.bootstrap()
            context = session.context()
            self.read_only = session.read_only()
            self.color = getattr(context, "color", None)
        except ShellError as error:
            self._forget()
            self.where, self.problem = "no cluster", error.message
            return False
        self.where = context.name if context is not None else ",".join(bootstrap)
        if bootstrap != self._bootstrap:
            self._forget()
            self._bootstrap = bootstrap
            kept = names_module.load(names_module.cache_path(session), names_module.wall_clock_s())
            if kept is not None:
                self.names = self._with_own(kept)
        return True

    def _with_own(self, names: Names) -> Names:
        """Names of a cluster, beside what is known without one as it is now."""
        own = self.names
        return replace(names, contexts=own.contexts, specs=own.specs, aliases=own.aliases)

    def _forget(self) -> None:
        self.names = self._with_own(Names())
        self._values.clear()
        self._bootstrap, self.cluster_id, self.controller_id = (), None, -1
        self.brokers_up = self.brokers_all = self.under_replicated = self.offline = 0
        self.seen_at, self.problem, self.partial_problems = None, None, ()

    def known(self) -> Names:
        """Return the names, with the settings that were asked for."""
        return replace(self.names, values={who: told for who, (_, told) in self._values.items()})

    def wants(self, owner: str) -> bool:
        """Return whether an owner's settings should be asked for; says so once."""
        at = self._values.get(owner)
        if at is not None and self.clock() - at[0] < _VALUES_S:
            return False
        self._values[owner] = (self.clock(), at[1] if at is not None else {})
        return True

    async def learn_values(self, session: Session, owner: str) -> None:
        """Ask for an owner's settings as they are; without an answer they stay as they were."""
        told = await names_module.values_of(session, owner)
        if told:
            self._values[owner] = (self.clock(), told)

    def forget_values(self) -> None:
        """After a change settings are to be asked for anew."""
        self._values.clear()

    async def refresh(self, session: Session) -> None:
        """Ask the cluster once; what fails stays as it was known and is marked stale."""
        if not self.locate(session):
            return
        try:
            answer = await names_module.ask(session, self.names)
        except Exception as error:  # noqa: BLE001 - shown in the toolbar
            self._stale(str(error).splitlines()[0] if str(error) else type(error).__name__)
            return
        self._take(answer, session)

    def _stale(self, problem: str) -> None:
        self.problem = problem
        age_s = None if self.seen_at is None else round(self.clock() - self.seen_at)
        if age_s is None and self.names.stale:
            age_s = self.names.age_s
        self.names = replace(self.names, stale=True, age_s=age_s)

    def _take(self, answer: Answer, session: Session) -> None:
        # An alias may have been made while the cluster was asked.
        self.names = self._with_own(answer.names)
        if answer.cluster is not None:
            self.cluster_id = answer.cluster.cluster_id
            self.controller_id = answer.cluster.controller_id
        if answer.brokers is not None:
            self.brokers_up = sum(broker.state == "up" for broker in answer.brokers)
            self.brokers_all = len(answer.brokers)
        if answer.topics is not None:
            self.under_replicated = sum(topic.under_replicated for topic in answer.topics)
            self.offline = sum(topic.offline for topic in answer.topics)
        if answer.topics is None and answer.brokers is None:
            self._stale(next(iter(answer.problems.values()), "no answer"))
            return
        self.partial_problems = tuple(
            f"{part}: {problem}" for part, problem in answer.problems.items() if part in _TOLD_PARTS
        )
        now = self.clock()
        self.names = replace(self.names, stale=False, age_s=None)
        self.seen_at, self.problem = now, None
        if self._saved_at is None or now - self._saved_at > _SAVE_EVERY_S:
            self._saved_at = now
            save = partial(names_module.save, names_module.cache_path(session), self.names)
            save(names_module.wall_clock_s())

    def toolbar(self) -> Tones:
        """Return what the line below the prompt says: where, who leads, what is wrong, how old."""
        parts: Tones = [("", f" {self.where}")]
        if self.read_only:
            parts.append(("class:warn", "  read-only"))
        if self.cluster_id:
            parts.append(("class:dim", f"  {self.cluster_id[:8]}"))
        if self.seen:
            parts += self._health()
        parts += self._trouble()
        return parts

    def _health(self) -> Tones:
        controller = self.controller_id if self.controller_id >= 0 else "none"
        tone = "class:dim" if self.controller_id >= 0 else "class:bad"
        parts: Tones = [(tone, f"  controller {controller}")]
        tone = "class:good" if self.brokers_up == self.brokers_all else "class:warn"
        parts.append((tone, f"  brokers {self.brokers_up}/{self.brokers_all}"))
        tone = "class:warn" if self.under_replicated else "class:dim"
        parts.append((tone, f"  under-replicated {self.under_replicated}"))
        tone = "class:bad" if self.offline else "class:dim"
        parts.append((tone, f"  offline {self.offline}"))
        return parts

    def _trouble(self) -> Tones:
        parts: Tones = []
        age_s = None if self.seen_at is None else self.clock() - self.seen_at
        if age_s is not None and (age_s > _OLD_S or self.problem is not None):
            parts.append(("class:warn", f"  {age_s:.0f} s old"))
        if self.problem is not None:
            parts.append(("class:bad", f"  {'stale: ' if self.seen else ''}{self.problem}"))
        elif self.partial_problems:
            parts.append(("class:warn", f"  not answered: {'; '.join(self.partial_problems)}"))
        return parts
