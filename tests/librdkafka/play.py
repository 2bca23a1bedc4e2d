"""Runs entries of the suite with librdkafka's test-runner against a cluster, several at a time.

One process for each entry, so that one that hangs or aborts takes no other with it; it is ended by
the id that started it. What a test said is kept in a file beside the brokers' logs.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import kafka_libs
from tests.interop.real_cluster import RealCluster
from tests.librdkafka import build
from tests.librdkafka.suite import Entry

# What librdkafka's own test clusters are set up with.
SETTINGS = {
    "num.partitions": "4",
    "min.insync.replicas": "1",
    "group.initial.rebalance.delay.ms": "3000",
    "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
}
SCENARIOS = {"default": {}, "noautocreate": {"auto.create.topics.enable": "false"}}
TAIL_CHARACTERS = 6000
# Some tests call these by $KAFKA_PATH/bin; they are Apache Kafka's, from its jars.
TOOLS = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
}


class SuiteCluster(RealCluster):
    """Three brokers in racks of their own, as librdkafka's tests expect them."""

    def __init__(self, folder: Path, scenario: str) -> None:
        super().__init__(folder, SETTINGS | SCENARIOS[scenario])
        self.kafka_home = _tools(folder / "kafka")
        # Some tests look for files of the library's at ../src.
        self.workplace = folder / "tests"
        self.workplace.mkdir()
        (self.workplace / "src").symlink_to(build.SOURCE / "src")

    def properties(self, node: int) -> dict[str, str]:
        return super().properties(node) | {"broker.rack": f"RACK{node}"}


@dataclass(frozen=True)
class Outcome:
    """How each test of an entry ended: PASSED, FAILED or SKIPPED; and where its words are."""

    entry: Entry
    states: dict[str, str]
    seconds: float
    log: Path

    @property
    def passed(self) -> bool:
        """Everything that was to pass did. What left itself out has not passed."""
        return all(self.states.get(name) == "PASSED" for name in self.entry.names)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-TAIL_CHARACTERS:]


def run_entry(cluster: SuiteCluster, entry: Entry, arguments: Iterable[str] = ()) -> Outcome:
    """Play one entry against the cluster, under its time limit."""
    name = re.sub(r"[^\w.-]+", "-", entry.id)
    turn = len(list(cluster.workplace.glob(f"{name}.*")))
    folder = cluster.workplace / f"{name}.{turn}"
    folder.mkdir()
    config, report, log = folder / "test.conf", folder / "report.json", folder / "output.log"
    config.write_text(f"bootstrap.servers={cluster.bootstrap}\ntest.timeout.multiplier=2\n")
    settings = {
        "TESTS": entry.number,
        "RDKAFKA_TEST_CONF": str(config),
        "TEST_REPORT": report.name,  # the runner cuts long paths
        "TEST_KAFKA_VERSION": entry.broker_version,
        "LD_LIBRARY_PATH": f"{build.SOURCE}/src:{build.SOURCE}/src-cpp",
        "KAFKA_PATH": str(cluster.kafka_home),
        "BROKERS": cluster.bootstrap,
    }
    if entry.part:
        settings["SUBTESTS"] = entry.part
    command = [str(build.RUNNER), "-p1", "-K", "-L", "-s", entry.scenario, *arguments]
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            process.wait(entry.limit_seconds)
        except subprocess.TimeoutExpired:
            output.write(f"\nended after {entry.limit_seconds} s\n".encode())
        finally:
            _end(process)
    states = _states(report, log, process.returncode)
    if entry.part and entry.part not in _subtests(log):
        states = dict.fromkeys(states, "SKIPPED")
    return Outcome(entry, states, time.monotonic() - began, log)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The test and what it started: tools of Apache Kafka among others."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def _states(report: Path, log: Path, code: int) -> dict[str, str]:
    """By the runner's report, which it only comes to write when nothing is left hanging."""
    announced = _announced(log)
    if not report.exists():
        return dict.fromkeys(announced, "FAILED") or {f"(exit code {code})": "FAILED"}
    tests = json.loads(report.read_text(encoding="utf-8"))["tests"]
    states = {name: str(tests[name]["state"]) for name in announced if name in tests}
    if code and set(states.values()) <= {"PASSED"}:
        return dict.fromkeys(states, "FAILED") or {f"(exit code {code})": "FAILED"}
    return states


def _announced(log: Path) -> list[str]:
    """The tests that began."""
    lines = log.read_text(errors="replace").splitlines()
    return [line.split("Running test ")[1].split()[0] for line in lines if "Running test " in line]


def _subtests(log: Path) -> str:
    """The lines that announce parts of a test."""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(line for line in lines if "[ " in line and " ]" in line)


def run_all(
    cluster: SuiteCluster,
    entries: Iterable[Entry],
    at_once: int,
    said: Callable[[Outcome], None] = lambda outcome: None,
    arguments: Iterable[str] = (),
) -> list[Outcome]:
    """All entries, the longest first; `said` hears of each as soon as it is done.

    What fails is played once more, alone: many of these tests measure time themselves ("expected
    duration 0 <= 1230 <= 999 ms"), and a crowded machine is not what they test.
    """
    given = list(arguments)

    def one(entry: Entry) -> Outcome:
        outcome = run_entry(cluster, entry, given)
        said(outcome)
        return outcome

    with ThreadPoolExecutor(at_once) as threads:
        found = list(threads.map(one, sorted(entries, key=lambda entry: -entry.seconds)))
    return [outcome if outcome.passed else one(outcome.entry) for outcome in found]


def _tools(home: Path) -> Path:
    """A folder with `bin/kafka-*.sh` where Apache Kafka's jars are."""
    if libs := kafka_libs():
        (home / "bin").mkdir(parents=True)
        for name, main in TOOLS.items():
            script = home / "bin" / name
            java = "exec java -Xmx256M -XX:TieredStopAtLevel=1"
            script.write_text(f"#!/bin/sh\n{java} -cp '{libs}/*' {main} \"$@\"\n")
            script.chmod(0o755)
    return home
