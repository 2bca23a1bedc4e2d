"""`cluster logs` reads across the rotation of a log, and goes on behind it."""

import os
import subprocess
from pathlib import Path

import pytest

from clusters.hosts.local import LocalConnection
from clusters.log_files import log_files, tail_script


def lines(first: int, last: int) -> str:
    return "".join(f"line {number}\n" for number in range(first, last + 1))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "it's a log"
    path.write_text(lines(31, 35))
    Path(f"{path}.1").write_text(lines(21, 30))
    Path(f"{path}.2").write_text(lines(11, 20))
    Path(f"{path}.10").write_text("not in the row\n")
    return path


@pytest.mark.parametrize(
    ("wanted", "first"), [(0, 36), (3, 33), (5, 31), (8, 28), (20, 16), (99, 11)]
)
def test_the_last_lines_come_from_older_files_where_needed(log: Path, wanted: int, first: int):
    script = tail_script(str(log), wanted, follow=False)
    told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout == lines(first, 35)


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path):
    script = tail_script(str(tmp_path / "none"), 5, follow=False)
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=False).stdout == b""


@pytest.mark.parametrize("wanted", [2, 7])
def test_following_goes_on_behind_a_rotation(log: Path, wanted: int):
    script = tail_script(str(log), wanted, follow=True)
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        try:
            told = [tail.stdout.readline() for _ in range(wanted)]
            assert "".join(told) == lines(36 - wanted, 35)
            os.rename(log, f"{log}.1")
            log.write_text(lines(36, 37))
            assert tail.stdout.readline() + tail.stdout.readline() == lines(36, 37)
            with log.open("a") as more:
                more.write(lines(38, 38))
            assert tail.stdout.readline() == lines(38, 38)
        finally:
            tail.kill()


async def test_all_parts_of_a_log_are_known_and_nothing_else(log: Path):
    Path(f"{log}.old").write_text("")
    found = await log_files(LocalConnection(), str(log))
    assert found == [str(log), f"{log}.1", f"{log}.10", f"{log}.2"]


async def test_a_log_that_began_anew_is_read_from_its_start(log: Path):
    connection = LocalConnection()
    assert await connection.read_from(str(log), 8, 1000) == lines(32, 35).encode()
    assert await connection.read_from(str(log), 10_000, 1000) == lines(31, 35).encode()
