"""Runs librdkafka's tests: `python -m tests.librdkafka [NUMBER ...] [--all] [-P] [--at-once N]`.

Without numbers everything that must pass; with `--all` also what is left out, to see where it
stands. `-P` is the runner's: every test with the idempotent producer.
"""

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.librdkafka import build
from tests.librdkafka.play import SCENARIOS, Outcome, SuiteCluster, run_all
from tests.librdkafka.suite import BROKER_VERSION, Entry, load_suite

AT_ONCE = 4
UNKNOWN_SECONDS = 60.0


def chosen(numbers: list[str], everything: bool) -> list[Entry]:
    """What to run, the entries of the suite and, when asked, tests that are left out."""
    suite = load_suite()
    entries = [entry for entry in suite.entries if not numbers or entry.number in numbers]
    if everything:
        known = {entry.number for entry in entries}
        for name, (apart, scenario) in build.declared().items():
            number = name.partition("_")[0]
            if not apart and number not in known and (not numbers or number in numbers):
                known.add(number)
                entries.append(
                    Entry(number, (name,), "", UNKNOWN_SECONDS, scenario, BROKER_VERSION, False)
                )
    return entries


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("numbers", nargs="*")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("-P", dest="idempotent", action="store_true")
    asked = parser.parse_args(arguments)
    build.runner()
    entries = chosen(asked.numbers, asked.all)
    lock, began, failed = threading.Lock(), time.monotonic(), 0

    def said(outcome: Outcome) -> None:
        state = "passed" if outcome.passed else "/".join(sorted(set(outcome.states.values())))
        with lock:
            print(f"{state:8} {outcome.seconds:6.1f} s  {outcome.entry.id}", flush=True)
            if not outcome.passed:
                print(f"         {outcome.log}", flush=True)

    for scenario in SCENARIOS:
        wanted = [entry for entry in entries if entry.scenario == scenario]
        if not wanted:
            continue
        folder = Path(tempfile.mkdtemp(prefix=f"librdkafka-{scenario}-"))
        with SuiteCluster(folder, scenario) as cluster:
            extra = ["-P"] if asked.idempotent else []
            outcomes = run_all(cluster, wanted, asked.at_once, said, extra)
        failed += sum(not outcome.passed for outcome in outcomes)
    took = time.monotonic() - began
    print(f"{len(entries)} entries in {took:.0f} s: {failed or 'none'} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
