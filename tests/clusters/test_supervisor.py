"""The supervisor, as its own processes: it keeps a command running and knows whom it signals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters.supervisor.identity import CHILD, SUPERVISOR, Identity, identity_of, read_identity

WAIT_SECONDS = 60
SUPERVISE = (sys.executable, "-m", "clusters.supervisor")
ROOT = Path(__file__).parent.parent.parent
OBEDIENT = "import signal; print('up', flush=True); signal.pause()"
DEAF = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\nwhile 1: signal.pause()"


def until(check: Callable[[], Any], what: str) -> Any:
    limit = time.monotonic() + WAIT_SECONDS
    while not (answer := check()):
        assert time.monotonic() < limit, f"not within {WAIT_SECONDS} s: {what}"
        time.sleep(0.01)
    return answer


class Supervised:
    """A run folder and the command line around it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "run"
        self.log = folder / "broker.log"

    def call(self, action: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SUPERVISE, action, "--run-dir", str(self.folder), *words],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=WAIT_SECONDS,
            check=False,
        )

    def start(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["--", sys.executable, "-c", program]
        return self.call("start", "--name", "t-1", "--log", str(self.log), *words, *command)

    def json(self, action: str, *words: str) -> dict[str, Any]:
        done = self.call(action, *words)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def child(self) -> Identity | None:
        found = read_identity(str(self.folder), CHILD)
        return found if found and found.is_alive() else None

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    made = Supervised(tmp_path)
    yield made
    made.call("stop", "--timeout-ms", "0")


def test_start_status_stop(supervised: Supervised) -> None:
    began = time.monotonic()
    done = supervised.start(OBEDIENT)
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr
    until(lambda: "up\n" in supervised.text(), "the command runs")
    found = supervised.json("status")
    assert found["state"] == "running"
    assert found["restarts"] == 0
    assert 0 <= found["child"]["uptime_ms"] <= (time.monotonic() - began) * 1000 + 1000
    assert found["child"]["pid"] != found["supervisor"]["pid"]
    assert os.getsid(found["supervisor"]["pid"]) != os.getsid(0)

    assert supervised.json("stop") == {"stopped": True, "killed": False}
    found = supervised.json("status")
    assert (found["state"], found["supervisor"], found["child"]) == ("stopped", None, None)
    assert supervised.json("stop") == {"stopped": False, "killed": False}


def test_start_leaves_nothing_of_the_caller_open(supervised: Supervised) -> None:
    """Over SSH, a descriptor left open would keep the channel open for ever."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    words = [sys.executable, "-m", "clusters.supervisor", "start", "--name", "t", "--run-dir"]
    words += [str(supervised.folder), "--log", str(supervised.log)]
    subprocess.run(
        [*words, "--", sys.executable, "-c", OBEDIENT], pass_fds=[writer], cwd=ROOT, check=True
    )
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_second_start_changes_nothing(supervised: Supervised) -> None:
    supervised.start(OBEDIENT)
    before = supervised.json("status")["child"]["pid"]
    done = supervised.start(OBEDIENT)
    assert done.returncode == 0
    assert "already running" in done.stdout
    assert supervised.json("status")["child"]["pid"] == before


def test_a_killed_command_comes_back(supervised: Supervised) -> None:
    supervised.start(OBEDIENT)
    first = until(supervised.child, "the command runs")
    assert supervised.json("kill") == {"killed": True}
    second = until(supervised.child, "it was started again")
    assert second != first
    found = supervised.json("status")
    assert (found["restarts"], found["last_exit"]) == (1, -signal.SIGKILL)
    assert "ended with -9" in supervised.text()


def test_a_command_that_keeps_failing_is_tried_less_and_less(supervised: Supervised) -> None:
    supervised.start("import sys, time; print('at', time.monotonic(), flush=True); sys.exit(3)")

    def starts() -> list[float]:
        lines = supervised.text().splitlines()
        return [float(line.split()[1]) for line in lines if line.startswith("at ")]

    until(lambda: len(starts()) >= 3, "two restarts")
    one, two, three = starts()[:3]
    assert two - one >= 0.5
    assert three - two >= 1.0
    # What it printed is read before its end is seen.
    found = until(
        lambda: (told := supervised.json("status"))["state"] == "backing-off" and told, "a pause"
    )
    assert found["last_exit"] == 3
    assert supervised.json("stop")["stopped"]


def test_a_deaf_command_is_killed(supervised: Supervised) -> None:
    supervised.start(DEAF)
    until(lambda: "up\n" in supervised.text(), "the command runs")
    child = supervised.child()
    assert supervised.json("stop", "--timeout-ms", "100") == {"stopped": True, "killed": True}
    assert child is not None
    assert not child.is_alive()


def test_the_supervisor_has_a_limit_of_its_own(supervised: Supervised) -> None:
    supervised.start(DEAF, "--stop-timeout-ms", "100")
    until(lambda: "up\n" in supervised.text(), "the command runs")
    supervisor = read_identity(str(supervised.folder), SUPERVISOR)
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGTERM)
    until(lambda: not supervisor.is_alive(), "the supervisor ended")
    assert supervised.child() is None
    assert "not stopped in 100 ms; killed" in supervised.text()


def test_a_new_supervisor_takes_over_what_runs(supervised: Supervised) -> None:
    supervised.start(OBEDIENT)
    child = until(supervised.child, "the command runs")
    supervisor = read_identity(str(supervised.folder), SUPERVISOR)
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    until(lambda: not supervisor.is_alive(), "the supervisor is gone")
    found = supervised.json("status")
    assert found["supervisor"] is None
    assert found["child"]["pid"] == child.pid

    assert supervised.start(OBEDIENT).stdout == "started\n"
    assert supervised.child() == child
    child.send(signal.SIGKILL)
    until(lambda: not child.is_alive(), "the command is gone")
    again = until(supervised.child, "it was started again")
    assert again != child


def test_notes_of_other_processes_are_not_believed(supervised: Supervised) -> None:
    """The id of a note now belongs to someone else: it is left alone, and we start afresh."""
    stranger = subprocess.Popen([sys.executable, "-c", OBEDIENT], stdout=subprocess.PIPE)
    try:
        found = identity_of(stranger.pid)
        assert found is not None
        supervised.folder.mkdir()
        for name, wrong in (
            (SUPERVISOR, Identity(found.pid, found.start_ticks - 1, found.boot_id)),
            (CHILD, Identity(found.pid, found.start_ticks, "another-boot")),
        ):
            (supervised.folder / name).write_text(wrong.line())
        assert supervised.json("status")["state"] == "stopped"
        assert supervised.json("kill", "--all") == {"killed": False}
        assert supervised.json("stop") == {"stopped": False, "killed": False}
        assert stranger.poll() is None
        assert supervised.start(OBEDIENT).stdout == "started\n"
    finally:
        stranger.kill()
        stranger.wait()


def test_broken_notes_are_no_notes(supervised: Supervised) -> None:
    supervised.folder.mkdir()
    (supervised.folder / CHILD).write_text("not a process\n")
    (supervised.folder / "state.json").write_text("{")
    assert supervised.json("status")["state"] == "stopped"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", "/no/such/program"], "cannot run /no/such/program: No such file or directory"),
        (["--user", "nobody-of-that-name", "--", "/bin/true"], "no user nobody-of-that-name"),
        (["--", "true"], "with its whole path"),
        ([], "comes after --"),
    ],
)
def test_a_start_that_cannot_be_says_why(
    supervised: Supervised, words: list[str], said: str
) -> None:
    if "--user" in words and os.geteuid() != 0:
        words = ["--", "/no/such/program"]
        said = "cannot run"
    done = supervised.call("start", "--name", "t", "--log", str(supervised.log), *words)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert supervised.json("status")["state"] == "stopped"


def test_a_log_that_cannot_be_written_is_named(supervised: Supervised, tmp_path: Path) -> None:
    supervised.log = tmp_path / "absent" / "broker.log"
    done = supervised.start(OBEDIENT)
    assert done.returncode == 1
    assert str(supervised.log) in done.stderr


def test_a_rotated_log_is_left_behind(supervised: Supervised, tmp_path: Path) -> None:
    supervised.start(OBEDIENT)
    until(lambda: "up\n" in supervised.text(), "the command runs")
    supervised.log.rename(tmp_path / "broker.log.1")
    supervised.json("kill")
    until(lambda: "up\n" in supervised.text(), "the new log has the new command's words")


def test_limit_of_open_files(supervised: Supervised) -> None:
    program = "import resource; print(resource.getrlimit(7), flush=True)\n" + OBEDIENT
    supervised.start(program, "--nofile", "512")
    until(lambda: "(512, " in supervised.text(), "the limit is set")
