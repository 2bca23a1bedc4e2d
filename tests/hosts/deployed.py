"""A cluster file for hosts of the lab, and logctl run on it as a person would run it."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from broker.protocol.errors import LogctlError
from clusters.admin import AdminClient
from tests.hosts.host import Host, until
from tests.hosts.lab import Lab

LOGCTL = Path(sys.executable).parent / "logctl"
# Bounds a hang on a busy machine; what has to be quick is asserted where it matters.
RUN_SECONDS = 150.0
WHOLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float
    processor_seconds: float

    @property
    def said(self) -> str:
        """stdout and stderr."""
        return self.out + self.err

    def json(self) -> Any:
        """stdout as one JSON document."""
        return json.loads(self.out)

    def events(self) -> list[dict[str, Any]]:
        """stdout as lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]


class Deployed:
    """One cluster of brokers 1, 2, ... on hosts; `spec` is written anew before each command."""

    def __init__(self, lab: Lab, hosts: Sequence[Host], folder: Path, *, user: str = "ops") -> None:
        self.hosts = list(hosts)
        self.folder = folder
        self.path = folder / "prod.yaml"
        become = "none" if user == "root" else "sudo"
        self.spec: dict[str, Any] = {
            "cluster": "prod",
            "ssh": {"user": user, "identity": str(lab.key), "become": become},
            "settings": {"default.replication.factor": 3, "min.insync.replicas": 2},
            "rollout": {"interval": "100ms"},
            "hosts": [
                {"id": host.number, "address": host.address, "rack": f"r{host.number}"}
                for host in hosts
            ],
        }
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME")
            or str(Path("~/.cache").expanduser()),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_STATE_HOME": str(folder / "state"),
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }

    @property
    def bootstrap(self) -> str:
        """Every broker's address for clients."""
        return ",".join(f"{host.address}:9092" for host in self.hosts)

    # -- commands

    def command(self, *words: str) -> list[str]:
        """A command line on this cluster's file: `cluster VERB SPEC ...`."""
        self.path.write_text(yaml.safe_dump(self.spec, sort_keys=False))
        noun, verb, *rest = words
        return [str(LOGCTL), noun, verb, str(self.path), *rest]

    def cluster(self, verb: str, *words: str, code: int | None = 0, text: str = "") -> Done:
        """Run `logctl cluster VERB SPEC ...` and expect its exit code (None: any)."""
        return self.run(self.command("cluster", verb, *words), code=code, text=text)

    def up(self, *words: str, code: int | None = 0) -> Done:
        """Run `cluster up --yes`."""
        return self.cluster("up", "--yes", *words, code=code)

    def run(self, command: Sequence[str], *, code: int | None = 0, text: str = "") -> Done:
        """Run a command line in this person's environment."""
        began, used = time.monotonic(), processor_seconds()
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.folder,
            timeout=RUN_SECONDS,
            check=False,
        )
        result = Done(
            code=done.returncode,
            out=done.stdout,
            err=done.stderr,
            seconds=time.monotonic() - began,
            processor_seconds=processor_seconds() - used,
        )
        assert "Traceback" not in result.said, result.said
        assert code is None or result.code == code, (
            f"{' '.join(command[1:])} ended with {result.code}, not {code}:\n{result.said}"
        )
        return result

    def start(self, *words: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start a command line and leave it running; its output is for the test to read."""
        return subprocess.Popen(
            self.command(*words),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=self.folder,
        )

    # -- the cluster, by Kafka's protocol

    async def ask(self, question: Any) -> Any:
        """Ask an AdminClient one thing."""
        async with AdminClient(self.bootstrap.split(",")) as admin:
            return await question(admin)

    async def whole(self) -> None:
        """Every partition has all of its replicas in sync."""
        limit = time.monotonic() + WHOLE_SECONDS
        last: object = None
        while time.monotonic() < limit:
            try:
                async with AdminClient(self.bootstrap.split(",")) as admin:
                    topics = await admin.topics()
                    last = [t.topic for t in topics if t.under_replicated or t.offline]
                    if not last:
                        return
            except LogctlError as error:
                last = error
        raise AssertionError(f"not whole within {WHOLE_SECONDS} s: {last}")


def processor_seconds() -> float:
    """What ended children of this process have used of a processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def broker_pid(host: Host) -> int:
    """The process id of the broker on a host, inside of it."""
    pids = [
        pid
        for pid, command in host.processes().items()
        if "-m broker" in command and "--config" in command
    ]
    assert len(pids) == 1, f"{host.name}: {host.processes()}"
    return pids[0]


def wait_for_broker(host: Host, other_than: int | None = None) -> int:
    """Until a broker runs on a host, a new one when an old pid is given."""

    def found() -> int:
        pids = [pid for pid, command in host.processes().items() if "-m broker" in command]
        return next((pid for pid in pids if pid != other_than), 0)

    return until(found, f"a broker runs on {host.name}", WHOLE_SECONDS)


def names(host: Host, text: str) -> bool:
    """Whether a text names a host, by its address or its broker's id."""
    return host.address in text or f"broker {host.number}" in text
