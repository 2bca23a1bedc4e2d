"""What goes wrong in the first minutes, or by a slip: told in a line, and nobody is asked about it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clusters.admin import UnknownTopic
from shell.exits import ExitCode

MAIN = "import sys; from shell.main import main; sys.exit(main(sys.argv[1:]))"
INTERRUPTED = f"""
import sys
class Slow:
    def find_spec(self, name, *more):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Slow())
{MAIN}
"""


def run(*words: str, code: str = MAIN, redirect: str = "") -> subprocess.CompletedProcess[str]:
    line = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-c", code, *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_a_ctrl_c_before_all_is_loaded_is_no_traceback():
    done = run("topic", "list", code=INTERRUPTED)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "Cancelled.\n")


@pytest.mark.parametrize("redirect", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_what_is_closed_is_no_traceback(redirect):
    done = run("completion", "bash", redirect=redirect)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("_LOGCTL_COMPLETE" in done.stdout) == (redirect in {"2>&-", "<&-"})


def test_a_full_disk_is_told_as_that():
    done = run("help", "topic", redirect="> /dev/full")
    assert done.returncode == 1
    assert done.stderr == (
        "error: What was asked for could not be written: No space left on device.\n"
    )


def test_nobody_is_asked_about_a_topic_that_is_not_there(logctl):
    result = logctl("topic", "delete", "ordesr")
    assert result.code == ExitCode.FAILED
    assert 'There is no topic "ordesr"' in result.err
    assert not logctl.doors.asked


def test_a_partition_is_no_part_of_the_name_that_is_written_to(logctl):
    result = logctl("produce", "orders:2", "x")
    assert result.code == ExitCode.USAGE
    assert "produce orders --partition 2" in result.err
    assert "produce orders --partition NUMBER" in logctl("produce", "orders:b", "x").err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("topci list",), "'topci' is no command that td could stand for. Did you mean 'topic'?"),
        (("topic", "lst"), "There is no command 'topic lst'. Did you mean 'list'?"),
        (("td",), "'td' is no command that td could stand for."),
    ],
)
def test_an_alias_stands_for_something(logctl, line, said):
    result = logctl("alias", "td", *line)
    assert result.code == ExitCode.USAGE
    assert said in result.err
    assert logctl("alias", "td", "topic describe").code == ExitCode.DONE
    assert logctl("alias", "tt", "td orders").code == ExitCode.DONE
    assert logctl("alias", "t", "topic").code == ExitCode.DONE


def test_a_topic_that_was_made_is_there_though_a_broker_has_not_heard_of_it(logctl, monkeypatch):
    fake, asked = logctl.doors.fake, []
    known = fake.topic

    async def topic(name, **more):
        asked.append(name)
        if len(asked) < 3:
            raise UnknownTopic(name)
        return await known("orders", **more)

    monkeypatch.setattr(fake, "topic", topic)
    result = logctl("topic", "create", "audit", "-p", "3", "-r", "3")
    assert (result.code, len(asked)) == (ExitCode.DONE, 3)
    assert "Created topic audit" in result.err

    asked.clear()
    monkeypatch.setattr(fake, "topic", lambda name, **more: unheard(name))
    result = logctl("topic", "create", "audit", "--timeout", "300ms")
    assert result.code == ExitCode.FAILED
    assert 'The topic "audit" was created, but a broker has not heard of it yet.' in result.err


async def unheard(name):
    raise UnknownTopic(name)
