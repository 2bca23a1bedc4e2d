"""A broker under the small supervisor that the bundle brings, for hosts without systemd.

Identities come from files with pid, start time and boot id: a bare pid is never trusted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from clusters.errors import HostError
from clusters.hosts.base import Connection
from clusters.hosts.machine_facts import InstalledBroker, MachineFacts
from clusters.hosts.shell_words import words
from clusters.layout import BrokerLayout
from clusters.processes.base import ProcessView, Stopped, restarted_words
from clusters.spec.models import ClusterSpec

_STOP_GRACE_MS = 15_000


class BuiltinProcess:
    """Drives one supervisor by its command line; the first look comes from the facts."""

    kind = "builtin"
    unit = None

    def __init__(
        self,
        connection: Connection,
        spec: ClusterSpec,
        layout: BrokerLayout,
        seen: ProcessView | None = None,
    ) -> None:
        self._connection = connection
        self._spec = spec
        self._layout = layout
        self._seen = seen

    @property
    def _program(self) -> str:
        return f"{self._layout.current}/release/bin/supervise"

    async def look(self) -> ProcessView:
        """What runs now."""
        if self._seen is not None:
            seen, self._seen = self._seen, None
            return seen
        answer = await self._connection.run(
            f"[ -x {words(self._program)} ] || exit 44\n"
            + words(self._program, "status", "--run-dir", self._layout.run_dir),
            what=f"ask the supervisor of broker {self._layout.id}",
        )
        if answer.status == 44:
            return ProcessView(state="stopped")
        told = _told(answer.text)
        child = told.get("child")
        if isinstance(child, dict):
            return ProcessView(
                state="running",
                pid=_whole(child.get("pid")),
                uptime_ms=_whole(child.get("uptime_ms")),
                detail=_detail(told),
            )
        state = "stale" if told.get("supervisor") is not None else "stopped"
        return ProcessView(state="stale" if state == "stale" else "stopped", detail=_detail(told))

    async def start(self, command: Sequence[str]) -> str:
        """Start the supervisor, which starts the broker."""
        self._seen = None
        line = [self._program, "start", "--name", f"{self._layout.cluster}-{self._layout.id}"]
        line += ["--run-dir", self._layout.run_dir, "--log", self._layout.log_path]
        line += ["--nofile", str(self._spec.run.nofile)]
        line += ["--stop-timeout-ms", str(self._spec.run.stop_timeout)]
        if self._connection.is_root:
            line += ["--user", self._spec.run.user]
        await self._supervise([*line, "--", *command], "start", 30_000)
        view = await self.look()
        return f"pid {view.pid}" if view.pid else view.detail

    async def stop(self, timeout_ms: int) -> Stopped:
        """Stop broker and supervisor."""
        before, self._seen = await self.look(), None
        if before.state == "stopped":
            return Stopped(was_running=False)
        line = [self._program, "stop", "--run-dir", self._layout.run_dir]
        line += ["--timeout-ms", str(timeout_ms)]
        told = _told(await self._supervise(line, "stop", timeout_ms + _STOP_GRACE_MS))
        return Stopped(was_running=True, killed=bool(told.get("killed")))

    async def kill(self) -> bool:
        """SIGKILL to the broker; its supervisor starts it again, as after a crash."""
        if (await self.look()).state != "running":
            return False
        self._seen = None
        await self._supervise(
            [self._program, "kill", "--run-dir", self._layout.run_dir], "kill", 15_000
        )
        return True

    async def remove(self) -> None:
        """Its run files go with the broker's folder."""

    async def explain(self) -> str:
        """What the supervisor knows."""
        self._seen = None
        view = await self.look()
        return f"supervisor: {view.state}{', ' if view.detail else ''}{view.detail}"

    async def _supervise(self, line: Sequence[str], verb: str, timeout_ms: int) -> str:
        answer = await self._connection.run(
            words(*line), what=f"{verb} broker {self._layout.id}", timeout_ms=timeout_ms
        )
        if answer.status != 0:
            raise HostError(
                f"{self._connection.name} could not {verb} broker {self._layout.id}: "
                f"{answer.complaint or answer.text or f'status {answer.status}'}"
            )
        return answer.text


def supervised_view(machine: MachineFacts, broker: InstalledBroker) -> ProcessView:
    """A view from the identity files: what they name runs only with its start time and boot id."""
    boot = machine.values.get("boot_id")

    def alive(kind: str) -> tuple[int, int] | None:
        identity = broker.identities.get(kind)
        if identity is None:
            return None
        pid, ticks, boot_then, ticks_now = identity
        return (pid, ticks) if boot_then == boot and ticks == ticks_now else None

    child = alive("child")
    detail = _detail(dict(broker.supervisor_state))
    if child is not None:
        uptime_ms = machine.uptime_ms(child[1])
        return ProcessView(state="running", pid=child[0], uptime_ms=uptime_ms, detail=detail)
    if broker.identities:
        return ProcessView(state="stale", detail=detail)
    return ProcessView(state="stopped")


def _told(text: str) -> dict[str, object]:
    try:
        value = json.loads(text.splitlines()[-1]) if text.strip() else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _detail(told: dict[str, object]) -> str:
    parts = []
    if restarts := _whole(told.get("restarts")):
        parts.append(restarted_words(restarts))
    if (last := told.get("last_exit")) is not None:
        parts.append(f"last exit status {last}")
    return ", ".join(parts)
