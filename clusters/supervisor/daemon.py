"""Leaves the caller: a session, a user and limits of its own, no descriptor of the caller's.

The caller returns only when the command was started once, or is told why it was not.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import sys

from clusters.supervisor.identity import SUPERVISOR, read_identity
from clusters.supervisor.keeper import Keeper, take_lock
from clusters.supervisor.settings import Settings, SupervisorError

UMASK = 0o027
_STARTED = b"started"


def start(settings: Settings) -> str:
    """Start a supervisor and its command in the background; gives what was done in words.

    Raises SupervisorError when the command could not be started.
    """
    try:
        os.makedirs(settings.run_dir, mode=0o750, exist_ok=True)
        account = _account(settings)
        if account is not None:
            os.chown(settings.run_dir, account.pw_uid, account.pw_gid)
        lock = take_lock(settings.run_dir)
        if lock is None:
            running = read_identity(settings.run_dir, SUPERVISOR)
            return f"already running{f', pid {running.pid}' if running else ''}"
        log = os.open(settings.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if account is not None:
            os.fchown(log, account.pw_uid, account.pw_gid)
            os.fchown(lock, account.pw_uid, account.pw_gid)
    except OSError as error:
        raise SupervisorError(f"{error.filename or settings.run_dir}: {error.strerror}") from error
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        _leave(settings, account, lock=lock, log=log, answer=writer)
    os.close(writer)
    os.close(lock)
    os.close(log)
    os.wait()
    with os.fdopen(reader, "rb") as answers:
        answer = answers.read()
    if not answer.startswith(_STARTED):
        raise SupervisorError(answer.decode(errors="replace") or "the supervisor died at its start")
    return "started"


def _account(settings: Settings) -> pwd.struct_passwd | None:
    if settings.user is None or os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(settings.user)
    except KeyError:
        raise SupervisorError(f"there is no user {settings.user} on this host") from None


def _leave(
    settings: Settings, account: pwd.struct_passwd | None, *, lock: int, log: int, answer: int
) -> None:
    """In the child: become a daemon and keep the command. Never returns."""
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    code = 1
    try:
        os.chdir("/")
        os.umask(UMASK)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        _close_all_but({0, 1, 2, lock, log, answer})
        _raise_limit(settings.nofile)
        # Before the user changes: then the kernel gives a process's own files in /proc to root.
        with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as file:
            file.write("logd-supervise")
        if account is not None:
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
        Keeper(settings, log).run(started=lambda: _answer(answer, _STARTED))
        code = 0
    except SupervisorError as error:
        _answer(answer, str(error).encode())
    except BaseException as error:  # noqa: BLE001 - the last one who can tell the caller
        _answer(answer, f"the supervisor failed: {error!r}".encode())
    finally:
        sys.stdout = sys.stderr = None  # nothing to flush into the caller's
        os._exit(code)


def _close_all_but(kept: set[int]) -> None:
    """Whatever else the caller had open would keep its channel open for ever."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # the one that lists the folder is closed already
                os.close(int(name))


def _answer(descriptor: int, text: bytes) -> None:
    try:
        os.write(descriptor, text)
        os.close(descriptor)
    except OSError:
        return  # the caller has gone, or was answered already


def _raise_limit(nofile: int | None) -> None:
    """As many open files as asked for, or as many as the host allows."""
    if nofile is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, max(hard, nofile)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(nofile, hard), hard))
