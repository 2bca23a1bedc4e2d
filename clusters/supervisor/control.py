"""What the supervisor's other commands do: stop, kill, status. Any release may ask any other.

Works on the notes in the run folder and on nothing else; never signals by a bare process id.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from typing import Any

from clusters.supervisor.identity import CHILD, SUPERVISOR, Identity, read_identity, remove_note
from clusters.supervisor.keeper import STATE
from clusters.supervisor.settings import SupervisorError

LOOK_EVERY_SECONDS = 0.02
# Longer than the supervisor takes itself, for its own last steps.
GRACE_MS = 5_000
_NO_STATE = {"state": "stopped", "restarts": 0, "last_exit": None, "since_ms": None}


def status(run_dir: str) -> dict[str, Any]:
    """What runs: identities that were looked up, not only read."""
    supervisor, child = _alive(run_dir, SUPERVISOR), _alive(run_dir, CHILD)
    noted = _noted_state(run_dir)
    state = noted["state"]
    if child is not None:
        state = "running"
    elif supervisor is None:
        state = "stopped"
    elif state == "running":
        state = "backing-off"  # it ended in this moment, which was not noted yet
    return noted | {
        "state": state,
        "supervisor": _described(supervisor),
        "child": _described(child),
    }


def stop(run_dir: str, timeout_ms: int) -> dict[str, Any]:
    """Stop supervisor and command: SIGTERM, and SIGKILL for the command after a time limit."""
    supervisor, child = _alive(run_dir, SUPERVISOR), _alive(run_dir, CHILD)
    if supervisor is None and child is None:
        _forget(run_dir)
        return {"stopped": False, "killed": False}
    killed = False
    _send(supervisor or child, signal.SIGTERM)
    if not _gone(child, timeout_ms):
        killed = _send(child, signal.SIGKILL)
        if not _gone(child, GRACE_MS):
            raise SupervisorError(f"pid {child.pid if child else '?'} survives SIGKILL")
    # A command may have been started in between: the supervisor ends last, and then none can.
    if not _gone(supervisor, timeout_ms + GRACE_MS):
        _send(supervisor, signal.SIGKILL)
        _gone(supervisor, GRACE_MS)
        killed = _send(_alive(run_dir, CHILD), signal.SIGKILL) or killed
    if not killed and child is not None:
        killed = _noted_state(run_dir)["last_exit"] == -signal.SIGKILL
    _forget(run_dir)
    return {"stopped": True, "killed": killed}


def kill(run_dir: str, *, everything: bool) -> dict[str, Any]:
    """SIGKILL to the command, for drills; with `everything` to the supervisor before it."""
    if everything:
        supervisor = _alive(run_dir, SUPERVISOR)
        _send(supervisor, signal.SIGKILL)
        _gone(supervisor, GRACE_MS)
    child = _alive(run_dir, CHILD)
    killed = _send(child, signal.SIGKILL)
    if not _gone(child, GRACE_MS):
        raise SupervisorError(f"pid {child.pid if child else '?'} survives SIGKILL")
    return {"killed": killed}


def _alive(run_dir: str, name: str) -> Identity | None:
    found = read_identity(run_dir, name)
    return found if found is not None and found.is_alive() else None


def _send(process: Identity | None, number: signal.Signals) -> bool:
    if process is None:
        return False
    try:
        return process.send(number)
    except PermissionError:
        raise SupervisorError(f"pid {process.pid} belongs to another user") from None


def _gone(process: Identity | None, limit_ms: int) -> bool:
    limit = time.monotonic() + limit_ms / 1000
    while process is not None and process.is_alive():
        if time.monotonic() > limit:
            return False
        time.sleep(LOOK_EVERY_SECONDS)
    return True


def _forget(run_dir: str) -> None:
    """Remove the notes of processes that are gone."""
    for name in (SUPERVISOR, CHILD):
        if _alive(run_dir, name) is None:
            with contextlib.suppress(OSError):
                remove_note(run_dir, name)


def _noted_state(run_dir: str) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError, ValueError):
        with open(os.path.join(run_dir, STATE), encoding="utf-8") as file:
            noted = json.load(file)
        if isinstance(noted, dict):
            return _NO_STATE | {name: noted[name] for name in _NO_STATE if name in noted}
    return dict(_NO_STATE)


def _described(process: Identity | None) -> dict[str, int] | None:
    if process is None:
        return None
    uptime_ms = process.uptime_ms()
    started_at_ms = int(time.time() * 1000) - uptime_ms
    return {"pid": process.pid, "started_at_ms": started_at_ms, "uptime_ms": uptime_ms}
