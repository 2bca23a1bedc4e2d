"""A throw-away cluster whose owner was killed is cleaned up; nothing else is touched."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from clusters.guard import MARKER


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    yield process
    process.kill()
    process.wait()


def run_guard(folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "clusters.guard", str(folder)], input=b"", timeout=30, check=True
    )


def write_manifest(folder: Path, pid: int, started_at: float) -> None:
    state = folder / "xdg_state_home" / "logctl" / "local"
    state.mkdir(parents=True)
    brokers = [
        {"id": 1, "process": {"pid": pid, "started_at": started_at}},
        {"id": 2, "process": None},
    ]
    (state / "manifest.json").write_text(json.dumps({"brokers": brokers}))


def test_named_processes_are_ended_and_the_folder_goes(tmp_path, sleeper):
    folder = tmp_path / "demo"
    write_manifest(folder, sleeper.pid, psutil.Process(sleeper.pid).create_time())
    (folder / MARKER).touch()
    run_guard(folder)
    assert sleeper.wait(timeout=60) != 0
    assert not folder.exists()


def test_another_process_with_the_same_pid_is_spared(tmp_path, sleeper):
    folder = tmp_path / "demo"
    write_manifest(folder, sleeper.pid, time.time() - 3600)
    (folder / MARKER).touch()
    run_guard(folder)
    assert sleeper.poll() is None
    assert not folder.exists()


def test_a_folder_without_the_marker_is_left(tmp_path, sleeper):
    folder = tmp_path / "precious"
    write_manifest(folder, sleeper.pid, psutil.Process(sleeper.pid).create_time())
    run_guard(folder)
    assert sleeper.poll() is None
    assert folder.exists()


def test_a_damaged_manifest_does_not_stop_the_clean_up(tmp_path):
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "manifest.json").write_text("{")
    (folder / MARKER).touch()
    run_guard(folder)
    assert not folder.exists()
