"""The supervisor itself: runs a command, starts it again when it ends, stops it when told to.

One process, one thread. SIGTERM and SIGINT stop the command (SIGTERM, then SIGKILL after a time
limit) and end the supervisor. A command that runs already, left by a supervisor that was killed,
is taken over and not started a second time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime

from clusters.supervisor.identity import (
    CHILD,
    SUPERVISOR,
    Identity,
    identity_of,
    open_handle,
    read_identity,
    remove_note,
    write_whole,
)
from clusters.supervisor.settings import Settings, SupervisorError

FIRST_DELAY_MS = 500
LONGEST_DELAY_MS = 30_000
# A command that ran this long was well: the next restart is quick again.
HEALTHY_AFTER_MS = 60_000
# Without pidfd (kernels before 5.3) the command is looked after this often.
LOOK_EVERY_MS = 200
STATE = "state.json"
LOCK = "lock"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class Keeper:
    """Keeps one command running. `run` returns when the command was stopped on request."""

    def __init__(self, settings: Settings, log: int) -> None:
        self._settings = settings
        self._log = log
        self._child: Identity | None = None
        self._is_ours = False
        self._handle: int | None = None
        self._failures = 0
        self._restarts = 0
        self._last_exit: int | None = None
        self._asked_to_stop = False
        self._wake_reader, wake_writer = os.pipe()
        os.set_blocking(wake_writer, False)
        os.set_blocking(self._wake_reader, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, lambda *_: None)

    def _on_stop(self, *_: object) -> None:
        self._asked_to_stop = True

    def _is_stopping(self) -> bool:
        return self._asked_to_stop

    def run(self, started: Callable[[], None]) -> None:
        """Start the command, call `started`, and keep it running until told to stop."""
        folder = self._settings.run_dir
        own = identity_of(os.getpid())
        assert own is not None, "/proc shows no process of our own"
        write_whole(folder, SUPERVISOR, own.line())
        try:
            left = read_identity(folder, CHILD)
            if left is not None and left.is_alive():
                self._take_over(left)
            else:
                self._start()
            started()
            self._keep()
            self._stop()
            self._note("stopped")
        finally:
            if self._child is None:  # else whoever comes next must find it
                remove_note(folder, CHILD)
            remove_note(folder, SUPERVISOR)

    # -- the command's life

    def _keep(self) -> None:
        while not self._is_stopping():
            if not self._wait_for_end(None):
                continue
            ran_ms = self._child.uptime_ms() if self._child is not None else 0
            self._collect()
            if self._is_stopping():
                return
            self._failures = 1 if ran_ms >= HEALTHY_AFTER_MS else self._failures + 1
            delay_ms = min(FIRST_DELAY_MS << min(self._failures - 1, 16), LONGEST_DELAY_MS)
            self._say("error", f"ended with {self._last_exit}; started again in {delay_ms} ms")
            self._note("backing-off")
            while not self._start_after(delay_ms) and not self._is_stopping():
                delay_ms = LONGEST_DELAY_MS

    def _start_after(self, delay_ms: int) -> bool:
        limit_ms = _now_ms() + delay_ms
        while (left_ms := limit_ms - _now_ms()) > 0:
            self._sleep(left_ms)
            if self._is_stopping():
                return False
        self._restarts += 1
        try:
            self._start()
        except SupervisorError as error:
            self._say("error", f"{error}; tried again in {LONGEST_DELAY_MS} ms")
            return False
        return True

    def _start(self) -> None:
        command = self._settings.command
        log = self._open_log()
        try:
            pid = os.posix_spawn(
                command[0],
                command,
                ENVIRONMENT,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE],
            )
        except OSError as error:
            raise SupervisorError(f"cannot run {command[0]}: {error.strerror}") from error
        finally:
            if log != self._log:
                os.close(log)
        child = identity_of(pid)
        assert child is not None, "a child that was not waited for has an entry in /proc"
        self._watch(child, is_ours=True)
        self._say("info", f"started pid {pid}")

    def _take_over(self, child: Identity) -> None:
        self._watch(child, is_ours=False)
        self._say("warning", f"takes over pid {child.pid}, which another supervisor started")

    def _watch(self, child: Identity, *, is_ours: bool) -> None:
        self._child, self._is_ours = child, is_ours
        self._handle = open_handle(child.pid)
        self._write(CHILD, child.line())
        self._note("running")

    def _collect(self) -> None:
        """Note how the command ended; a command of another supervisor does not tell us."""
        assert self._child is not None
        self._last_exit = None
        if self._is_ours:
            _, status = os.waitpid(self._child.pid, 0)
            self._last_exit = os.waitstatus_to_exitcode(status)
        if self._handle is not None:
            os.close(self._handle)
        self._handle = self._child = None
        remove_note(self._settings.run_dir, CHILD)

    def _stop(self) -> None:
        if self._child is None:
            return
        child = self._child
        child.send(signal.SIGTERM)
        if not self._wait_for_end(self._settings.stop_timeout_ms):
            self._say("error", f"not stopped in {self._settings.stop_timeout_ms} ms; killed")
            child.send(signal.SIGKILL)
            self._wait_for_end(LONGEST_DELAY_MS)
        self._collect()
        self._say("info", f"stopped, exit {self._last_exit}")

    # -- waiting

    def _wait_for_end(self, limit_ms: int | None) -> bool:
        """Until the command ended (True), the time is over, or we are told to stop (no limit)."""
        assert self._child is not None
        end_ms = None if limit_ms is None else _now_ms() + limit_ms
        while self._child.is_alive():
            if end_ms is None and self._is_stopping():
                return False
            left_ms = None if end_ms is None else end_ms - _now_ms()
            if left_ms is not None and left_ms <= 0:
                return False
            if self._handle is None:
                left_ms = min(left_ms or LOOK_EVERY_MS, LOOK_EVERY_MS)
            self._sleep(left_ms)
        return True

    def _sleep(self, limit_ms: int | None) -> None:
        """Until a signal comes, the command ends, or the time is over."""
        watched = [self._wake_reader, *([] if self._handle is None else [self._handle])]
        poll = select.poll()
        for descriptor in watched:
            poll.register(descriptor, select.POLLIN)
        poll.poll(limit_ms)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_reader, 1024)

    # -- talk

    def _open_log(self) -> int:
        """The log by its name, so that a rotated one is left behind; else as opened at first."""
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            return os.open(self._settings.log, flags, 0o640)
        except OSError:
            return self._log

    def _say(self, level: str, message: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = f"{self._settings.name}: {message}"
        entry = {"ts": now, "level": level, "logger": "logd.supervisor", "message": text}
        log = self._open_log()
        with contextlib.suppress(OSError):
            os.write(log, (json.dumps(entry) + "\n").encode())
        if log != self._log:
            os.close(log)

    def _note(self, state: str) -> None:
        facts = {
            "state": state,
            "restarts": self._restarts,
            "last_exit": self._last_exit,
            "since_ms": int(time.time() * 1000),
        }
        self._write(STATE, json.dumps(facts) + "\n")

    def _write(self, name: str, text: str) -> None:
        """A full disk must not end the supervisor: it is what keeps the broker there."""
        try:
            write_whole(self._settings.run_dir, name, text)
        except OSError as error:
            self._say("error", f"cannot write {name}: {error.strerror}")


def take_lock(run_dir: str) -> int | None:
    """The lock that a supervisor holds as long as it lives; None when another one has it."""
    lock = os.open(os.path.join(run_dir, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
