"""Which of librdkafka's tests must pass, from suite.yaml. Reads and checks text only."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PATH = Path(__file__).parent / "suite.yaml"
# The newest Kafka of which the runner asks nothing that logd has put off: share groups came with 4.2.
BROKER_VERSION = "4.1.0"


@dataclass(frozen=True)
class Entry:
    """One run of the test-runner: a test, or the part of it whose name contains `part`.

    Tests of one number cannot be told apart by the runner: `names` are all that must pass.
    """

    number: str
    names: tuple[str, ...]
    part: str
    seconds: float
    scenario: str
    broker_version: str
    quick: bool

    @property
    def id(self) -> str:
        return f"{self.names[0]}-{self.part}" if self.part else self.names[0]

    @property
    def limit_seconds(self) -> float:
        """Until it is given up: generous, it bounds a hang and measures nothing."""
        return 90 + 4 * self.seconds


@dataclass(frozen=True)
class Suite:
    entries: tuple[Entry, ...]
    left_out: Mapping[str, str]

    @property
    def names(self) -> set[str]:
        return {name for entry in self.entries for name in entry.names}


def load_suite(path: Path = PATH) -> Suite:
    """Raises ValueError or TypeError for what is no entry."""
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries = [entry for item in raw["must_pass"] for entry in _entries(**item)]
    left_out = {name: group["why"] for group in raw["left_out"] for name in group["tests"]}
    suite = Suite(tuple(entries), left_out)
    if both := sorted(suite.names & set(left_out)):
        raise ValueError(f"must pass and left out: {', '.join(both)}")
    return suite


def _entries(
    tests: list[str],
    seconds: float,
    parts: tuple[str, ...] = ("",),
    scenario: str = "default",
    broker_version: str = BROKER_VERSION,
    quick: Any = (),
) -> list[Entry]:
    numbers = {name.partition("_")[0] for name in tests}
    if len(numbers) != 1:
        raise ValueError(f"{tests} are tests of several numbers")
    return [
        Entry(
            number=min(numbers),
            names=tuple(tests),
            part=part,
            seconds=seconds,
            scenario=scenario,
            broker_version=broker_version,
            quick=quick is True or part in (quick or ()),
        )
        for part in parts
    ]
