"""Plays cases and shows both answers: `python -m tests.differential [NAME ...] [--show] [--three]`."""

import asyncio
import sys
import time
from fnmatch import fnmatch

from tests.differential.cases import OF_THREE, load_cases
from tests.differential.compare import Rules, load_allowed
from tests.differential.play import Answer, CaseFailed, normaliser, play_case
from tests.differential.sides import Sides


def main(arguments: list[str]) -> int:
    names = [each for each in arguments if not each.startswith("--")] or ["*"]
    three = "--three" in arguments
    cases = load_cases(OF_THREE) if three else load_cases()
    chosen = [c for c in cases if any(fnmatch(c.name, name) for name in names)]
    brokers, failed = 3 if three else 1, 0
    rules, allowed = Rules.load(brokers=brokers), load_allowed(brokers=brokers)
    with Sides(brokers) as sides, asyncio.Runner() as runner:

        def show(version: int, answers: list[list[Answer]]) -> None:
            if "--show" not in arguments:
                return
            print(f"  version {version}")
            shown = [normaliser(side, rules) for side in (sides.kafka, sides.logd)]
            for theirs, ours in zip(*answers, strict=True):
                print(f"  {theirs.label} {theirs.api}")
                print(f"    Kafka {shown[0].answer(theirs.api, theirs.plain)}")
                print(f"    logd  {shown[1].answer(ours.api, ours.plain)}")

        for case in chosen:
            began = time.monotonic()
            try:
                wrong = play_case(sides, case, rules, allowed, runner, show)
            except CaseFailed as error:
                wrong = [str(error)]
            failed += bool(wrong)
            print(f"{case.name}: {len(wrong)} ({time.monotonic() - began:.2f} s)")
            for line in wrong[:400]:
                print(f"    {line}")
    for each in allowed:
        print(f"{each.used:5} allowed: {each.reason}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
