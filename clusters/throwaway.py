"""A cluster for one run: its own folders, free ports, and nothing of it left afterwards.

Never touches the user's contexts, clusters or data: while it exists, the XDG variables of this
process (and of what it starts) point into a temporary folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

import psutil
import yaml

from clusters.errors import OperationError
from clusters.free_ports import free_ports, is_free
from clusters.guard import MARKER, end_processes
from clusters.hosts.local import LocalConnection
from clusters.manifest import ProcessIdentity, load_manifest
from clusters.operations import Operations, Progress
from clusters.spec import ClusterSpec, load_spec

_VARIABLES = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
_END_WAIT_S = 5.0
_DOWN_LIMIT_S = 10.0


class ThrowAwayCluster:
    """Brokers of a local cluster file in a private folder.

    `note` says, after `prepare`, when other ports than the file's were taken; with `own_ports`
    they always are, for clusters that come and go beside each other. Invariant: after `close` no
    process that was started here runs and the folder is gone.
    """

    def __init__(
        self,
        spec_path: str,
        *,
        report: Callable[[Progress], None] = lambda _: None,
        own_ports: bool = False,
    ) -> None:
        self._spec_path = spec_path
        self._own_ports = own_ports
        self._report = report
        self._environment: dict[str, str | None] = {}
        self._guard: subprocess.Popen[bytes] | None = None
        self._started: dict[int, ProcessIdentity] = {}
        self.folder = ""
        self.note: str | None = None
        self.operations: Operations | None = None

    @property
    def bootstrap(self) -> list[str]:
        """`host:port` of every broker."""
        return list(self._operations.spec.bootstrap)

    @property
    def _operations(self) -> Operations:
        assert self.operations is not None, "prepare() comes first"
        return self.operations

    def prepare(self) -> None:
        """Make the folder and choose ports; nothing is started yet. Raises SpecError, OSError."""
        self.folder = tempfile.mkdtemp(prefix="logctl-demo-")
        with open(os.path.join(self.folder, MARKER), "wb"):
            pass
        for variable in _VARIABLES:
            self._environment[variable] = os.environ.get(variable)
            os.environ[variable] = os.path.join(self.folder, variable.lower())
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "clusters.guard", self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=_import_root(),
            start_new_session=True,
        )
        self.operations = Operations(self._spec(), report=self._report)

    def _spec(self) -> ClusterSpec:
        spec = load_spec(self._spec_path)
        taken = [port for port in _ports(spec) if not is_free(port)]
        if not taken and not self._own_ports:
            return spec
        free = free_ports(2 * len(spec.hosts))
        with open(self._spec_path, "rb") as file:
            document = yaml.safe_load(file)
        for host in document["hosts"]:
            host.pop("port_offset", None)
            host["listeners"] = {"client": free.pop(), "controller": free.pop()}
        path = os.path.join(self.folder, os.path.basename(self._spec_path))
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump(document, file, sort_keys=False)
        spec = load_spec(path)
        if taken:
            listed = ", ".join(str(port) for port in taken)
            self.note = (
                f"port {listed} is in use, so the brokers listen on "
                f"{', '.join(address.rpartition(':')[2] for address in spec.bootstrap)}"
            )
        return spec

    async def up(self) -> int:
        """Start every broker; returns the milliseconds that it took."""
        result = await self._operations.up()
        self._remember()
        return result.elapsed_ms

    async def kill(self, broker_id: int) -> None:
        """kill -9 a broker. Raises OperationError when it did not run."""
        if not await self._operations.kill_broker(broker_id):
            raise OperationError(f"Broker {broker_id} was not running, so it was not killed.")

    async def start(self, broker_id: int) -> int:
        """Start a broker again; returns the milliseconds until the cluster had taken it in."""
        result = await self._operations.start_broker(broker_id)
        self._remember()
        return result.elapsed_ms

    def pids(self) -> list[int]:
        """Pids of the brokers that run now."""
        self._remember()
        return sorted(pid for pid, identity in self._started.items() if _alive(identity))

    async def close(self) -> None:
        """End every broker and remove the folder. Raises OperationError if a process is left."""
        if not self.folder:
            return
        self._remember()
        if self.operations is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_DOWN_LIMIT_S):
                    await self.operations.down()
        left = await self._end_rest()
        for variable, value in self._environment.items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value
        if left:
            raise OperationError(
                f"Processes {', '.join(map(str, left))} could not be ended; end them by hand, then "
                f"remove {self.folder}."
            )
        shutil.rmtree(self.folder, ignore_errors=True)
        self._release_guard()
        self.folder = ""

    async def _end_rest(self) -> list[int]:
        self._remember()
        end_processes(self.folder)
        for identity in self._started.values():
            _signal(identity, signal.SIGKILL)
        for child in _children_of_folder(self.folder):
            with contextlib.suppress(psutil.Error):
                child.kill()
                self._started[child.pid] = ProcessIdentity(
                    pid=child.pid, started_at=child.create_time()
                )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _END_WAIT_S
        while True:
            left = [pid for pid, identity in self._started.items() if _alive(identity)]
            if not left or loop.time() >= deadline:
                return left
            await asyncio.sleep(0.02)

    def _remember(self) -> None:
        if self.operations is None:
            return
        with contextlib.suppress(Exception):
            manifest = load_manifest(self.operations.spec.name)
            for record in manifest.brokers.values() if manifest is not None else ():
                if record.process is not None:
                    self._started[record.process.pid] = record.process

    def _release_guard(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guard.wait(_END_WAIT_S)
            self._guard = None


def _import_root() -> str:
    import clusters

    return os.path.dirname(os.path.dirname(os.path.abspath(clusters.__file__)))


def _alive(identity: ProcessIdentity) -> bool:
    try:
        process = psutil.Process(identity.pid)
        same = abs(process.create_time() - identity.started_at) < 2.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(identity: ProcessIdentity, number: signal.Signals) -> None:
    LocalConnection().signal_now(identity, number)


def _children_of_folder(folder: str) -> Sequence[psutil.Process]:
    """Return children of this process whose command line names our folder: started, not noted."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            words = child.cmdline()
            if "clusters.guard" not in words and any(folder in word for word in words):
                found.append(child)
    return found


def _ports(spec: ClusterSpec) -> list[int]:
    return sorted(
        port for host in spec.hosts for port in (spec.client_port(host), spec.controller_port(host))
    )
