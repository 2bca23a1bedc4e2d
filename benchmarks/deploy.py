"""`python -m benchmarks.deploy`: three bare hosts from nothing to healthy, and what comes after.

Hosts are those of tests/hosts: namespaces on this machine, with real sshd, sharing its cores and its
page cache. Needs root and what tests/hosts needs; writes a table to results/.
"""

import argparse
import datetime
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from clusters.bundle import Bundle, build_bundle
from tests.hosts import lab
from tests.hosts.deployed import Deployed
from tests.hosts.host import Host, until
from tests.hosts.roots import SUITES, ensure_root, missing

RESULTS = Path(__file__).parent / "results"
HOSTS = 3
START_SECONDS = 30.0
MEBIBYTE = 1 << 20
# Processes that wait for a processor, over the last five minutes, before anything was measured.
BUSY = 1.0


class Figures:
    """Seconds by what took them, in the order of the first time."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def add(self, what: str, seconds: float) -> None:
        self.seconds.setdefault(what, []).append(seconds)
        print(f"  {what}: {seconds:.2f} s", flush=True)

    def time(self, what: str, work: Callable[[], object]) -> None:
        began = time.monotonic()
        work()
        self.add(what, time.monotonic() - began)

    def table(self, bundle: Bundle, heading: str) -> str:
        lines = [f"# {heading}", "", "| what | median | lowest | highest |", "|---|---|---|---|"]
        for what, values in self.seconds.items():
            middle = statistics.median(values)
            lines.append(f"| {what} | {middle:.2f} s | {min(values):.2f} s | {max(values):.2f} s |")
        lines += [
            "",
            f"Bundle: {bundle.size_bytes / MEBIBYTE:.1f} MiB, Python {bundle.python_version}.",
        ]
        return "\n".join(lines) + "\n"


def measure_bundle(figures: Figures) -> Bundle:
    """Built from nothing, and found in the cache."""
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as empty:
        os.environ["XDG_CACHE_HOME"] = empty
        figures.time("bundle: built", build_bundle)
        figures.time("bundle: found in the cache", build_bundle)
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before
    return build_bundle()


def measure_start(figures: Figures, host: Host) -> None:
    """One broker of a deployed cluster, killed: how long until it takes part again."""
    (log,) = host.path("/var/log").rglob("broker-*.log")
    before = log.read_text().count('"unfenced"')
    pids = [pid for pid, line in host.processes().items() if "-m broker" in line]
    began = time.monotonic()
    host.kill(pids[0])
    until(lambda: log.read_text().count('"unfenced"') > before, "the broker is back", START_SECONDS)
    figures.add("kill -9 of a broker to its return, by the supervisor", time.monotonic() - began)


def measure_life(figures: Figures, *, systemd: bool) -> None:
    """A cluster from bare hosts to bare hosts."""
    kind = "systemd" if systemd else "plain"
    with lab.Lab() as net, tempfile.TemporaryDirectory() as folder:
        hosts = net.start(HOSTS, systemd=systemd)
        deployed = Deployed(net, hosts, Path(folder))
        del deployed.spec["rollout"]
        figures.time(f"{kind} hosts: from nothing to healthy", deployed.up)
        figures.time(f"{kind} hosts: up again, nothing to do", deployed.up)
        figures.time(f"{kind} hosts: rolling restart", lambda: deployed.cluster("restart", "--yes"))
        deployed.spec["settings"]["log.retention.ms"] = "2d"
        figures.time(f"{kind} hosts: a setting changed and rolled", deployed.up)
        if not systemd:
            measure_start(figures, hosts[0])
        figures.time(
            f"{kind} hosts: destroy",
            lambda: deployed.cluster("destroy", "--yes", "--confirm-name", "prod", "--data"),
        )


def main() -> int:
    """Enter a lab, measure, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deploy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if lab.INSIDE not in os.environ:
        if lacking := missing():
            print(f"Hosts cannot be started here: missing {lacking}.", file=sys.stderr)
            return 1
        ensure_root(SUITES[0])
        lab.enter([sys.executable, "-m", "benchmarks.deploy", *sys.argv[1:]])
    busy = os.getloadavg()[1]
    figures = Figures()
    bundle = measure_bundle(figures)
    for _ in range(arguments.rounds):
        for systemd in (False, True):
            measure_life(figures, systemd=systemd)
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    cores = os.cpu_count()
    heading = f"Deploying to three hosts, {day}, {cores} cores, Linux {platform.release()}"
    text = figures.table(bundle, heading)
    if busy > BUSY:
        text += f"\nOther work kept the machine busy meanwhile (load average {busy:.0f} at the start).\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"deploy-{day}.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
