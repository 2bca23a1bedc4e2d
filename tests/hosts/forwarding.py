"""Runs the tests of a file in a lab of its own: another pytest inside private namespaces.

The outer pytest hands over the ids of the chosen tests and receives each report as it is made, so
that results, durations and output look as if the tests had run here.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.lab import unshared

REPORTS_TO = "LOGCTL_HOSTS_REPORTS"
PROJECT = Path(__file__).parent.parent.parent
OUTPUT_CHARACTERS = 6000
WAKE_SECONDS = 1.0
END_SECONDS = 15.0


class ReportWriter:
    """Inside: writes every report as a line of JSON for the pytest outside."""

    def __init__(self, config: pytest.Config, descriptor: int) -> None:
        self._config = config
        self._file = os.fdopen(descriptor, "w", buffering=1)
        os.set_inheritable(descriptor, False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._file.write(json.dumps(data, default=str) + "\n")


class ModuleRun:
    """Outside: the inner pytest of one file, and the reports that have come so far."""

    def __init__(self, config: pytest.Config, ids: Sequence[str]) -> None:
        self._config = config
        self._ids = set(ids)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        inner = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", *ids]
        self._process = subprocess.Popen(
            # Ends with this process even when that is killed: nothing may be left behind.
            ["setpriv", "--pdeathsig", "KILL", *unshared(inner)],
            cwd=PROJECT,
            env=os.environ | {REPORTS_TO: str(writing)},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
        )
        os.close(writing)
        self._reports: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, args=(reading,), daemon=True).start()

    def reports_of(self, nodeid: str) -> list[pytest.TestReport]:
        """The reports of one test, once its teardown was reported or nothing more can come."""
        with self._changed:
            while True:
                mine = [each for each in self._reports if each.get("nodeid") == nodeid]
                if self._ended or any(each["when"] == "teardown" for each in mine):
                    break
                self._changed.wait(WAKE_SECONDS)
        from_data = self._config.hook.pytest_report_from_serializable
        return [from_data(config=self._config, data=dict(each)) for each in mine]

    def output(self) -> str:
        """The end of what the inner pytest wrote, for a test that it gave no report of."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace")[-OUTPUT_CHARACTERS:]

    def close(self) -> None:
        """Let it end, or end it."""
        try:
            self._process.wait(END_SECONDS if self._is_complete() else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def _is_complete(self) -> bool:
        """Whether every test was reported, so that only the lab is left to be taken down."""
        with self._changed:
            ended = {each["nodeid"] for each in self._reports if each.get("when") == "teardown"}
        return ended >= self._ids

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor) as lines:
            for line in lines:
                with self._changed:
                    self._reports.append(json.loads(line))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
