"""Runs command lines as `logctl` does, in this process, against a cluster that is given."""

from __future__ import annotations

import io
import json
import os
import tempfile
from dataclasses import dataclass, field
from typing import Any

from shell.cli import build
from shell.commands import all_commands
from shell.output import Output
from shell.runner import Runner
from shell.script import parse_line
from shell.session import Doors


@dataclass(frozen=True)
class Answer:
    """What a command line left behind."""

    code: int
    out: bytes
    err: str

    @property
    def data(self) -> Any:
        """The JSON document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class InProcess:
    """`logctl` for one cluster; `environ` is all that it sees of the environment."""

    bootstrap: str
    timeout: str = "30s"
    environ: dict[str, str] = field(default_factory=dict)

    def __call__(self, *line: str, stdin: bytes = b"", output: str | None = "json") -> Answer:
        """Run one line, or words; nobody answers questions."""
        words = list(parse_line(line[0])[0].words) if len(line) == 1 else list(line)
        more = ["--bootstrap", self.bootstrap, "--timeout", self.timeout]
        if output is not None and not {"--format", "--template"} & set(words):
            more += ["--format", output]
        out, err = io.BytesIO(), io.StringIO()
        with tempfile.TemporaryFile() as lines:
            lines.write(stdin)
            os.lseek(lines.fileno(), 0, os.SEEK_SET)
            lines.seek(0)
            doors = Doors()
            doors.environ = self.environ
            doors.stdin = lambda: lines  # type: ignore[method-assign]
            doors.ask = lambda prompt: None  # type: ignore[method-assign]
            runner = Runner(build(all_commands()), Output(stdout=out, stderr=err), doors)
            at = words.index("--") if "--" in words else len(words)
            try:
                code = runner.run_blocking(runner.parse([*words[:at], *more, *words[at:]]))
            except Exception as error:
                code = runner.explain(error)
        said = err.getvalue()
        assert "Traceback" not in said
        assert "Internal error" not in said, said
        return Answer(int(code), out.getvalue(), said)
