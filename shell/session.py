"""What a running command is handed: settings, the writer, and the doors to clusters.

The doors import what they open only when they are opened, so that a command pays for nothing
that it does not use. Tests hand in other doors.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

from shell.exits import Failed, ShellError, UsageProblem
from shell.nearest import did_you_mean
from shell.output import Output
from shell.settings import Settings

if TYPE_CHECKING:
    from clusters.admin import AdminClient
    from clusters.admin.credentials import Renewal
    from clusters.admin.security import Security
    from clusters.operations import Operations
    from clusters.spec import ClusterSpec
    from clusters.state import Context
    from clusters.watch.feed import ClusterFeed

# The admin client keeps to its own limit; this much later the command ends by force.
_DEADLINE_GRACE_MS = 2_000
_SECRET_KEPT_S = 60.0


class Doors:
    """The real ways out of the process. Each method imports what it needs when it is called."""

    environ: Mapping[str, str] = os.environ
    # Whether a person is being asked just now: then Ctrl-C means the question.
    asking = False

    @cached_property
    def _secrets(self) -> dict[str, tuple[float, str]]:
        """What commands told: (when, by a monotonic clock in seconds; the secret), by source."""
        return {}

    def secret(self, name: str, source: str, limit_s: float) -> str:
        """Return a secret from its source; raises StateError.

        What a command told holds for a minute: who is asked in the background, as by the prompt,
        must not start a password manager every few seconds.
        """
        from clusters.secret_sources import COMMAND_LIMIT_S, secret

        kept_at, kept = self._secrets.get(source, (0.0, ""))
        if kept and time.monotonic() - kept_at < _SECRET_KEPT_S:
            return kept
        found = secret(name, source, self.environ, min(COMMAND_LIMIT_S, limit_s))
        if source.startswith("command:"):
            self._secrets[source] = (time.monotonic(), found)
        return found

    def stdin(self) -> BinaryIO:
        """Return standard input as bytes."""
        return sys.stdin.buffer

    def ask(self, prompt: str) -> str | None:
        """Return the line a person types on the terminal, or None when there is none."""
        if not sys.stdin.isatty():
            return None
        sys.stderr.write(prompt)
        sys.stderr.flush()
        with self._being_asked():
            line = sys.stdin.readline()
        return line.rstrip("\n") if line else None

    @contextmanager
    def _being_asked(self) -> Iterator[None]:
        """Let Ctrl-C end the question, also from within a loop that would wait for its answer."""
        import signal

        self.asking = True
        try:
            before = signal.signal(signal.SIGINT, signal.default_int_handler)
        except ValueError:  # not on the main thread
            before = None
        try:
            yield
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)
            self.asking = False

    def ask_secret(self, prompt: str) -> str | None:
        """Return what a person types unseen on the terminal, or None when there is none."""
        from shell.deploying import ask_secret

        with self._being_asked():
            return ask_secret(prompt)

    def contexts(self) -> dict[str, Context]:
        """Return the saved contexts by name."""
        from clusters import state

        return state.contexts()

    def current_context(self) -> Context | None:
        """Return the context in use, or None."""
        from clusters import state

        return state.current_context()

    def use_context(self, name: str) -> None:
        """Make a saved context the current one."""
        from clusters import state

        state.use_context(name)

    def save_context(self, context: Context) -> None:
        """Add a context or replace the one of its name."""
        from clusters import state

        state.save_context(context, whole=True)

    def remove_context(self, name: str) -> None:
        """Forget a context."""
        from clusters import state

        state.remove_context(name)

    def admin(self, bootstrap: Sequence[str], timeout_ms: int, **more: Any) -> AdminClient:
        """Return an admin client, not yet connected; `more` is security and cluster_id."""
        from clusters.admin import AdminClient

        return AdminClient(bootstrap, timeout_ms=timeout_ms, **more)

    def feed(self, bootstrap: Sequence[str], *, from_start: bool, **more: Any) -> ClusterFeed:
        """Return the live feed of cluster events, not yet connected; `more` as for `admin`."""
        from clusters.watch.feed import ClusterFeed

        return ClusterFeed(bootstrap, from_start=from_start, **more)

    def load_spec(self, path: str) -> ClusterSpec:
        """Read a cluster file; raises SpecError."""
        from clusters.operations import load_spec

        return load_spec(path)

    def operations(self, spec: ClusterSpec, report: Callable[[Any], None]) -> Operations:
        """Return the operations on the cluster that a spec describes."""
        from clusters.hosts.secrets import Secrets
        from clusters.operations import Operations
        from shell.deploying import ask_secret

        return Operations(spec, report=report, secrets=Secrets(ask=ask_secret))

    def bundled_specs(self) -> dict[str, str]:
        """Return the paths of the cluster files that come with logctl, by name."""
        import clusters

        folder = os.path.dirname(clusters.__file__)
        return {
            name.removesuffix(".yaml"): os.path.join(folder, name)
            for name in sorted(os.listdir(folder))
            if name.endswith(".yaml")
        }


@dataclass(slots=True)
class Session:
    """One command's surroundings; the interactive shell makes one for each line."""

    settings: Settings
    output: Output
    doors: Doors = field(default_factory=Doors)
    interactive_shell: bool = False
    # What is said only once, by what it is about.
    told: set[str] = field(default_factory=set)

    def context(self) -> Context | None:
        """Return the context that was named, or the current one; None when only --bootstrap is."""
        name = self.settings.context
        if name is None:
            return None if self.settings.bootstrap else self.doors.current_context()
        known = self.doors.contexts()
        if name not in known:
            raise UsageProblem(
                f"There is no context '{name}'." + did_you_mean(name, known),
                hint="See `logctl context list`.",
            )
        return known[name]

    def bootstrap(self) -> tuple[str, ...]:
        """Return the addresses to connect to first; raises UsageProblem when nothing names them."""
        if self.settings.bootstrap:
            return self.settings.bootstrap
        context = self.context()
        if context is None:
            raise UsageProblem(
                "No cluster is named.",
                hint="Give --bootstrap HOST:PORT, start one with `logctl cluster up`, or save one "
                "with `logctl context add NAME HOST:PORT`.",
            )
        return tuple(context.bootstrap)

    def read_only(self) -> bool:
        """Return whether changes are refused: by option, by environment or by the context."""
        if self.settings.read_only:
            return True
        if self.settings.bootstrap and self.settings.context is None:
            return False
        return bool(getattr(self.context(), "read_only", False))

    def security(self) -> Security | None:
        """Return how to prove ourselves to the brokers; None for plain connections.

        Raises LogctlError for properties that are not supported or secrets that are missing.
        """
        context = self.context()
        properties = dict(getattr(context, "properties", None) or {})
        secrets = getattr(context, "secrets", None) or {}
        if not properties and not secrets:
            return None
        from clusters.admin.security import read_security

        limit_s = self.settings.timeout_ms / 1000
        for name, source in secrets.items():
            properties[name] = self.doors.secret(name, source, limit_s)
        return read_security(properties)

    def client(self, total_ms: int | None = None) -> AdminClient:
        """Return an admin client for the session's cluster alone, not yet connected.

        `total_ms` bounds all its calls together, not each alone.
        """
        more = self._protection() | ({} if total_ms is None else {"total_ms": total_ms})
        return self.doors.admin(self.bootstrap(), self.settings.timeout_ms, **more)

    def _protection(self) -> dict[str, Any]:
        """What the context says of security and of the one cluster to talk to, where it does."""
        security, context = self.security(), self.context()
        more = {
            "security": security,
            "cluster_id": getattr(context, "cluster_id", None),
            "renewal": None if context is None else self._renewal(context),
        }
        return {name: value for name, value in more.items() if value is not None}

    def _renewal(self, context: Context) -> Renewal:
        """Where a client that lives long reads what the context says of security again."""
        from clusters.admin.credentials import Renewal
        from clusters.errors import StateError

        def read() -> Security | None:
            try:
                return self.security()
            except ShellError as error:  # the context is gone
                raise StateError(str(error)) from None

        return Renewal(read=read, words=renewal_words(context))

    def feed(self, *, from_start: bool) -> ClusterFeed:
        """Return the live feed of the session's cluster, not yet connected.

        Raises LogctlError for properties that are not supported or secrets that are missing.
        """
        return self.doors.feed(self.bootstrap(), from_start=from_start, **self._protection())

    @asynccontextmanager
    async def admin(self, pauses_ms: int = 0) -> AsyncIterator[AdminClient]:
        """Connect an admin client for the time of a block, bounded by --timeout.

        `pauses_ms` is what the block waits on purpose; it comes on top.
        """
        timeout_ms = self.settings.timeout_ms
        total_ms = timeout_ms + pauses_ms
        try:
            async with asyncio.timeout((total_ms + _DEADLINE_GRACE_MS) / 1000):
                async with self.client(total_ms) as client:
                    yield client
        except TimeoutError:
            raise Failed(
                f"No answer from {', '.join(self.bootstrap())} within {timeout_ms / 1000:g} s.",
                hint="Ask for more time with --timeout 30s.",
            ) from None

    def resolve_spec(self, spec: str | None) -> str:
        """Return the path of a cluster file given by path, by bundled name, or by the context."""
        bundled = self.doors.bundled_specs()
        if spec is None:
            context = self.context()
            path = getattr(context, "spec_path", None)
            if path:
                return str(path)
            if context is not None:
                raise UsageProblem(
                    f"Context '{context.name}' has no cluster file: logctl did not start it.",
                    hint="Name the file: SPEC.yaml.",
                )
            if self.settings.bootstrap:
                # The cluster that is bundled need not be the one at these addresses.
                raise UsageProblem(
                    f"No cluster file says how {', '.join(self.settings.bootstrap)} is run.",
                    hint="Name the file: SPEC.yaml; or its context, with --context.",
                )
            return bundled["local"]
        if os.path.isfile(spec):
            return spec
        if spec in bundled:
            return bundled[spec]
        if os.sep in spec or spec.endswith((".yaml", ".yml")):
            raise Failed(f"There is no cluster file {spec}.", hint="Check the path.")
        raise UsageProblem(
            f"'{spec}' is neither a file nor a bundled cluster ({', '.join(bundled)})."
            + did_you_mean(spec, bundled)
        )


def renewal_words(context: Context) -> str:
    """What is read again while the brokers do not let us in, and what cannot be."""
    properties, secrets = context.properties or {}, context.secrets or {}
    if not properties and not secrets:
        return ""
    words = ["the context is read again every second"]
    for name, source in sorted(secrets.items()):
        kind, _, rest = source.partition(":")
        if kind == "env":
            words.append(f"{name} is the variable {rest} as of the start: start again to change it")
        elif kind == "file":
            words.append(f"{name} from {rest}, too")
        else:
            words.append(f"{name} from its command, once a minute")
    return ", ".join(words)
