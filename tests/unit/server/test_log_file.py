"""logd's own log stays within its bounds, and loses nothing when it cannot be rotated."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.config import BrokerConfig, ConfigError

# In a process of its own: the log takes its stdout and stderr.
PROGRAM = """
import logging, os, sys
from broker.log_file import open_log_file
from broker.observability import configure_logging
path, size, files, count = sys.argv[1], *map(int, sys.argv[2:5])
configure_logging("info", handler=open_log_file(path, size, files))
for number in range(count):
    logging.getLogger("logd").info("line %d", number)
os.write(2, b"the interpreter's last words\\n")
"""


def write(path: Path, *, size: int, files: int, count: int) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", PROGRAM, str(path), str(size), str(files), str(count)]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)


def messages(*paths: Path) -> list[str]:
    text = "".join(path.read_text() for path in paths)
    return [json.loads(line)["message"] for line in text.splitlines() if line.startswith("{")]


def test_a_log_is_rotated_within_its_size_and_count(tmp_path: Path) -> None:
    path = tmp_path / "broker.log"
    path.write_text(json.dumps({"message": "of an earlier run"}) + "\n")
    write(path, size=2_000, files=3, count=100)
    older = [Path(f"{path}.2"), Path(f"{path}.1")]
    assert sorted(tmp_path.iterdir()) == sorted([path, *older])
    assert all(each.stat().st_size <= 2_000 for each in older)
    assert path.stat().st_size <= 2_000 + 100
    told = messages(*older, path)
    assert told == [f"line {number}" for number in range(100 - len(told), 100)]
    assert path.read_text().endswith("the interpreter's last words\n")
    assert os.stat(path).st_mode & 0o007 == 0


def test_an_earlier_log_is_added_to(tmp_path: Path) -> None:
    path = tmp_path / "broker.log"
    write(path, size=100_000, files=2, count=1)
    write(path, size=100_000, files=2, count=1)
    assert messages(path) == ["line 0", "line 0"]


def test_a_log_that_cannot_be_rotated_grows_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "broker.log"
    Path(f"{path}.1").mkdir()  # nothing can be renamed to it
    write(path, size=2_000, files=2, count=100)
    told = messages(path)
    assert [text for text in told if text.startswith("line")] == [f"line {n}" for n in range(100)]
    complaints = [text for text in told if "cannot rotate" in text]
    assert len(complaints) == 1, complaints


def test_without_a_file_that_can_be_written_stderr_has_the_log(tmp_path: Path) -> None:
    done = write(tmp_path / "no folder" / "log", size=2_000, files=2, count=2)
    assert "cannot write" in done.stderr
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()[1:3]] == [
        "line 0",
        "line 1",
    ]


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("log.file.max.bytes", "100", 16384), ("log.file.max.files", "1", 2)],
)
def test_bounds_that_are_too_small_are_refused(name: str, value: str, least: int) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a whole number from {least}"):
        BrokerConfig.from_properties({name: value})
