"""Play seeds: `python -m broker.simulation --seed 42` or `--seeds 0-299`.

Exit codes tell what was found: 0 nothing, 127 a crash, 128 no progress, 129 lost safety.
"""

import argparse
import sys
import traceback

from broker.simulation.checkers import LivenessViolation, SafetyViolation
from broker.simulation.scenario import run_seed

EXIT_CRASH = 127
EXIT_LIVENESS = 128
EXIT_SAFETY = 129


def main() -> int:
    """Play the seeds that were asked for; the first failure ends the run."""
    parser = argparse.ArgumentParser(prog="python -m broker.simulation")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="one seed")
    which.add_argument("--seeds", help="a range, FIRST-LAST")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        first = last = arguments.seed
    else:
        first, last = (int(part) for part in arguments.seeds.split("-"))
    for seed in range(first, last + 1):
        try:
            outcome = run_seed(seed)
        except Exception as error:  # noqa: BLE001 - told apart by exit code below
            traceback.print_exc()
            sys.stderr.write(
                f"seed {seed} failed; repeat: python -m broker.simulation --seed {seed}\n"
            )
            if isinstance(error, SafetyViolation):
                return EXIT_SAFETY
            return EXIT_LIVENESS if isinstance(error, LivenessViolation) else EXIT_CRASH
        sys.stdout.write(f"{outcome}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
