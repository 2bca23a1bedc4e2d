"""A broker as a plain process of this machine, known by pid and start time; nobody restarts it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence

from clusters.hosts.base import ProcessHost
from clusters.manifest import BrokerRecord, ManifestFile, ProcessIdentity
from clusters.processes.base import ProcessView, Stopped

POLL_S = 0.02
KILL_WAIT_S = 10.0


class DirectProcess:
    """Noted in the manifest as soon as it is started, so that it is never lost."""

    kind = "direct"
    unit = None

    def __init__(
        self,
        host: ProcessHost,
        manifest: ManifestFile,
        broker_id: int,
        log_path: str,
        record: Callable[[ProcessIdentity | None], BrokerRecord],
    ) -> None:
        self._host = host
        self._manifest = manifest
        self._id = broker_id
        self._log_path = log_path
        self._record = record

    @property
    def identity(self) -> ProcessIdentity | None:
        """The process as it was last started."""
        record = self._manifest.record(self._id)
        return record.process if record is not None else None

    async def look(self) -> ProcessView:
        """What runs now."""
        process = self.identity
        if process is None:
            return ProcessView(state="stopped")
        if not await self._host.is_alive(process):
            return ProcessView(state="stale")
        uptime_ms = await self._host.uptime_ms(process)
        return ProcessView(state="running", pid=process.pid, uptime_ms=uptime_ms)

    async def start(self, command: Sequence[str]) -> str:
        """Start it and note it at once."""
        self._manifest.put(self._record(None))  # fails before anything runs, not after
        process = await self._host.start_process(command, log_path=self._log_path, environment={})
        self._manifest.put(self._record(process))
        return f"pid {process.pid}"

    async def stop(self, timeout_ms: int) -> Stopped:
        """SIGTERM, then SIGKILL after a limit or when the wait is interrupted."""
        process = self.identity
        if process is None:
            return Stopped(was_running=False)
        killed = False
        try:
            if not self._host.signal_now(process, signal.SIGTERM):
                return Stopped(was_running=False)
            try:
                ended = await self._ended(process, timeout_ms / 1000)
            except BaseException:
                self._host.signal_now(process, signal.SIGKILL)
                raise
            if not ended:
                killed = self._host.signal_now(process, signal.SIGKILL)
                await self._ended(process, KILL_WAIT_S)
        finally:
            self._manifest.forget_process(self._id)
        return Stopped(was_running=True, killed=killed)

    async def kill(self) -> bool:
        """SIGKILL, and wait until the process is gone."""
        process = self.identity
        if process is None:
            return False
        killed = self._host.signal_now(process, signal.SIGKILL)
        if killed:
            await self._ended(process, KILL_WAIT_S)
        self._manifest.forget_process(self._id)
        return killed

    async def remove(self) -> None:
        """There is nothing beside the manifest."""

    async def explain(self) -> str:
        """How it ended, when the system still knows."""
        process = self.identity
        if process is None or await self._host.is_alive(process):
            return ""
        status = await self._host.exit_status(process)
        return "" if status is None else f"exit status {status}"

    async def _ended(self, process: ProcessIdentity, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while await self._host.is_alive(process):
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(POLL_S)
        return True
