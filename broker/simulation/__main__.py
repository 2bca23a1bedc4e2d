"""Play seeds: `python -m broker.simulation --seed 42` or `--seeds 0-299`, `--groups` for groups.

Exit codes tell what was found: 0 nothing, 127 a crash, 128 no progress, 129 lost safety. With
`--trace` everything that the brokers log goes to stderr, one JSON object a line.
"""

import argparse
import sys
import time
import traceback
from dataclasses import replace
from typing import TextIO

from broker.simulation.group_scenario import run_group_seed
from broker.simulation.scenario import plan_of, run_plan
from broker.simulation.violations import LivenessViolation, SafetyViolation

EXIT_CRASH = 127
EXIT_LIVENESS = 128
EXIT_SAFETY = 129


def play(
    seed: int, trace: TextIO | None, *, groups: bool = False, kinds: tuple[str, ...] = ()
) -> int:
    """Play one seed and say what became of it; its exit code."""
    began_s = time.perf_counter()
    try:
        if groups:
            outcome: object = run_group_seed(seed, trace, kinds)
        else:
            outcome = run_plan(replace(plan_of(seed), kinds=kinds), trace)
    except Exception as error:  # noqa: BLE001 - told apart by exit code below
        traceback.print_exc()
        options = "--groups " * groups + (f"--faults {','.join(kinds)} " if kinds else "")
        sys.stderr.write(
            f"seed {seed} failed: {str(error).splitlines()[0] if str(error) else error!r}\n"
            f"repeat: python -m broker.simulation {options}--seed {seed} [--trace]\n"
        )
        if isinstance(error, SafetyViolation):
            return EXIT_SAFETY
        return EXIT_LIVENESS if isinstance(error, LivenessViolation) else EXIT_CRASH
    sys.stdout.write(f"{time.perf_counter() - began_s:.1f} s {outcome}\n")
    sys.stdout.flush()
    return 0


def main() -> int:
    """Play the seeds that were asked for; the first failure ends the run."""
    parser = argparse.ArgumentParser(prog="python -m broker.simulation")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="one seed")
    which.add_argument("--seeds", help="a range, FIRST-LAST")
    parser.add_argument("--groups", action="store_true", help="the story of consumer groups")
    parser.add_argument("--faults", default="", help="kinds by commas; the seed chooses else")
    parser.add_argument("--trace", action="store_true", help="log lines of the brokers to stderr")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a failure")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        first = last = arguments.seed
    else:
        first, last = (int(part) for part in arguments.seeds.split("-"))
    kinds = tuple(each for each in arguments.faults.split(",") if each)
    worst = 0
    for seed in range(first, last + 1):
        trace = sys.stderr if arguments.trace else None
        worst = max(worst, play(seed, trace, groups=arguments.groups, kinds=kinds))
        if worst and not arguments.keep_going:
            break
    return worst


if __name__ == "__main__":
    sys.exit(main())
