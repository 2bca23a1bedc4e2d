"""The tour of README is taken on three real brokers, line by line, as it is written there."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
from pathlib import Path

import pytest

import clusters
from clusters.throwaway import ThrowAwayCluster
from shell.cli import build
from shell.commands import all_commands
from shell.output import Output
from shell.runner import Runner
from shell.script import parse_line
from shell.session import Doors

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONDITIONS = (ROOT / "docs" / "query-language.md").read_text()

# What needs machines, a browser or another's cluster, or has tests of its own with its processes.
NOT_HERE = (
    "logctl cluster ",
    "logctl broker kill",
    "logctl broker start",
    "logctl context add",
    "logctl dash",
    "logctl run examples/runbooks/rolling-restart.yaml",
)
ENDLESS = ("logctl watch", "logctl tail orders --from -5 ")
BILLING_HAS_READ = "logctl apply examples/state/offsets.yaml --set group=billing --set topic=orders --set at=latest"
CODES = {"logctl diff examples/state/shop.yaml": 3}


def lines_of(page: str) -> list[str]:
    """What is typed, in the order of the page: blocks that no language is named for."""
    return [line for line in blocks_of(page, "") if line.strip()]


def blocks_of(page: str, language: str) -> list[str]:
    """The lines of all blocks of a language."""
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [line for name, text in blocks if name == language for line in text.splitlines()]


class Tour:
    """Runs lines in one folder, and keeps all that they print."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed = ""

    def take(self, line: str) -> int:
        out, err = io.BytesIO(), io.StringIO()
        runner = Runner(build(all_commands()), Output(stdout=out, stderr=err), Doors())
        words = list(parse_line(line)[0].words)[1:]
        try:
            code = runner.run_blocking(runner.parse(words))
        except Exception as error:
            code = runner.explain(error)
        self.printed += out.getvalue().decode() + err.getvalue()
        assert "Internal error" not in err.getvalue(), err.getvalue()
        assert int(code) == CODES.get(line.partition("  ")[0].strip(), 0), line + err.getvalue()
        return int(code)


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tour")
    (folder / "examples").symlink_to(ROOT / "examples")
    cluster = ThrowAwayCluster(str(Path(clusters.__file__).parent / "local.yaml"), own_ports=True)
    cluster.prepare()
    before = os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGCTL_YES", "1")
        patch.setenv("LOGCTL_TIMEOUT", "60s")
        try:
            asyncio.run(cluster.up())
            os.chdir(folder)
            yield Tour(folder)
        finally:
            os.chdir(before)
            asyncio.run(cluster.close())


def test_each_line_of_the_tour_does_what_it_is_there_for(tour):
    taken = 0
    for line in lines_of(README):
        if line.startswith("seq "):
            subprocess.run(line, shell=True, check=True, cwd=tour.folder, timeout=30)
        elif "-G billing" in line:
            # A member would wait for others to join for three seconds.
            tour.take(BILLING_HAS_READ)
        elif line.startswith("logctl ") and not line.startswith((*NOT_HERE, *ENDLESS)):
            tour.take(line)
            taken += 1
    assert taken > 20
    tour.take("logctl group describe billing")
    tour.take("logctl topic delete orders --dry-run")

    # What README shows of it has the columns and facts that are printed.
    printed = {" ".join(line.split()) for line in tour.printed.splitlines()}
    shown = [" ".join(line.split()) for line in blocks_of(README, "text")]
    heads = [line for line in shown if re.fullmatch(r"[A-Z][A-Z ]+", line) and "PID" not in line]
    assert len(heads) > 2
    assert [line for line in heads if line not in printed] == []
    steps = [line for line in shown if re.match(r"\d (ok|skipped) ", line)]
    assert len(steps) > 4
    assert [line for line in steps if line not in printed] == []
    facts = [re.split(r"[:]|\d", line)[0] for line in shown if ": " in line]
    assert [each for each in facts if not any(line.startswith(each) for line in printed)] == []


def test_the_conditions_of_their_page_are_asked(tour):
    asked = [line for line in lines_of(CONDITIONS) if line.startswith("logctl query")]
    assert len(asked) > 1
    for line in asked:
        tour.take(line)
