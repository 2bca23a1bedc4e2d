"""The demo on real brokers: what it tells was observed, and nothing of it stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

STEPS = ["start", "topics", "feed", "kill", "heal", "check", "stop"]


def processes_of(folder: Path) -> list[psutil.Process]:
    """Processes that name the folder in their command line: brokers and the guard."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if any(str(folder) in word for word in words):
                found.append(process)
    return found


def until_gone(folder: Path, seconds: float = 60) -> list[psutil.Process]:
    deadline = time.monotonic() + seconds
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@dataclass
class Demo:
    process: subprocess.Popen[str]
    folder: Path
    home: Path


@pytest.fixture
def demo(tmp_path):
    folder, home = tmp_path / "tmp", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    started = []

    def start(*words: str) -> Demo:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XDG_", "LOGCTL_"))
        }
        environment |= {"TMPDIR": str(folder), "HOME": str(home)}
        process = subprocess.Popen(
            [sys.executable, "-m", "shell.main", "demo", "--lines", "--fast", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        started.append(process)
        return Demo(process, folder, home)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    left = until_gone(folder)
    for process in left:
        process.kill()
    assert not left


def test_each_step_is_observed_and_nothing_stays(demo):
    run = demo("--format", "json")
    out, err = run.process.communicate(timeout=120)
    assert run.process.returncode == 0, err
    steps = {line["step"]: line for line in map(json.loads, out.splitlines()) if "step" in line}
    assert list(steps) == STEPS
    assert steps["start"]["brokers"] == [1, 2, 3]
    assert steps["kill"]["killed"] not in steps["kill"]["isr"]
    assert steps["kill"]["leader"] in steps["kill"]["isr"]
    assert 0 < steps["kill"]["moved_after_ms"] < 10_000
    assert sorted(steps["heal"]["isr"]) == [1, 2, 3]
    assert steps["check"]["acknowledged"] >= 3
    assert {"cpu_percent", "memory_percent"} <= set(steps["feed"]["last"])
    assert not processes_of(run.folder)
    assert list(run.folder.iterdir()) == []
    # Neither contexts nor data of the user were touched.
    assert not any(path.name == "config.yaml" for path in run.home.rglob("*"))


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "1/7"),
        (signal.SIGINT, "started, pid"),
        (signal.SIGTERM, "3/7"),
        (signal.SIGINT, "4/7"),
        (signal.SIGTERM, "5/7"),
    ],
    ids=["start", "first broker", "feed", "kill", "heal"],
)
def test_an_interrupted_demo_leaves_nothing(demo, number, moment):
    run = demo()
    assert run.process.stderr is not None
    for line in run.process.stderr:
        if moment in line:
            break
    assert run.process.poll() is None, "the demo ended by itself"
    run.process.send_signal(number)
    # By the same reader that the moment came from: it may have read further already.
    err = run.process.stderr.read()
    run.process.communicate(timeout=60)
    assert run.process.returncode == 1, err
    assert "Traceback" not in err
    assert "nothing is left behind" in err
    assert not processes_of(run.folder)
    assert list(run.folder.iterdir()) == []


def test_brokers_do_not_outlive_a_killed_demo(demo):
    run = demo()
    assert run.process.stderr is not None
    for line in run.process.stderr:
        if "3/7" in line:
            break
    assert len(processes_of(run.folder)) >= 3
    run.process.kill()
    run.process.communicate(timeout=60)
    assert not until_gone(run.folder)
    assert list(run.folder.iterdir()) == []
