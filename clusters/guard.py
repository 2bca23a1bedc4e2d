"""Ends a throw-away cluster whose owner died without a word (kill -9, a closed laptop lid).

Run as `python -m clusters.guard FOLDER` with a pipe as standard input: when the other end of the
pipe closes and the folder is still there, the brokers that its manifests name are killed (by pid
and start time, so never anybody else's) and the folder is removed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time

START_TIME_TOLERANCE_S = 2.0
WAIT_S = 5.0
MARKER = ".logctl-throw-away"


def main(folder: str) -> int:
    """Wait for the pipe to close, then clean up what is left. Returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while sys.stdin.buffer.read(4096):
        pass
    # Only ever a folder that was made for this, by its marker.
    if os.path.exists(os.path.join(folder, MARKER)):
        end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def end_processes(folder: str) -> list[int]:
    """Kill every process that the manifests below a folder name; return the pids."""
    import psutil

    killed = []
    for pid, started_at in _named_processes(folder):
        try:
            process = psutil.Process(pid)
            if abs(process.create_time() - started_at) > START_TIME_TOLERANCE_S:
                continue
            process.kill()
            killed.append(pid)
        except psutil.Error:
            continue
    deadline = time.monotonic() + WAIT_S
    while any(_runs(pid) for pid in killed) and time.monotonic() < deadline:
        time.sleep(0.02)
    return killed


def _named_processes(folder: str) -> list[tuple[int, float]]:
    import json

    found = []
    for parent, _, names in os.walk(folder):
        if "manifest.json" not in names:
            continue
        try:
            with open(os.path.join(parent, "manifest.json"), encoding="utf-8") as file:
                brokers = json.load(file)["brokers"]
            for broker in brokers:
                if broker["process"] is not None:
                    process = broker["process"]
                    found.append((int(process["pid"]), float(process["started_at"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def _runs(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
