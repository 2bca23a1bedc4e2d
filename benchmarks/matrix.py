"""The matrix: brokers, acks, record size and partitions against throughput, latency and memory.

Both kinds are started side by side once for each number of brokers, and every cell is measured on
one and then on the other, so that a change of the machine's mood meets both. The side that is not
measured is stopped with SIGSTOP meanwhile: idle JVMs are not idle.
"""

import json
import os
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from benchmarks import measure
from benchmarks.peers import Cluster

BROKERS = (1, 3)
ACKS = ("1", "all")
SIZES = {"100 B": 100, "1 KiB": 1024}
PARTITIONS = (1, 6, 100)
# What a cell fixes and a word on the command line may choose.
AXES = ("brokers", "acks", "size", "partitions")
LATENCY_RATE = 500


@dataclass(frozen=True)
class Cell:
    """One combination; `size` as it is written in SIZES."""

    brokers: int
    acks: str
    size: str
    partitions: int

    def __str__(self) -> str:
        many = "broker" if self.brokers == 1 else "brokers"
        return (
            f"{self.brokers} {many}, acks={self.acks}, {self.size}, {self.partitions} partition(s)"
        )


@dataclass(frozen=True)
class Figure:
    """One measurement of one side."""

    side: str
    cell: Cell | None
    what: str
    unit: str
    value: float


@dataclass
class Budget:
    """How long each part may take, in seconds, and how often it is measured."""

    produce_seconds: float = 1.5
    consume_seconds: float = 1.5
    latency_seconds: float = 2.0
    warm_seconds: float = 0.5
    rounds: int = 1

    @classmethod
    def quick(cls) -> "Budget":
        """Enough to see that it works; nothing to quote."""
        return cls(0.3, 0.3, 0.5, 0.1, 1)


@dataclass
class Matrix:
    """Runs the cells that were chosen and collects figures, and failures in words."""

    sides: list[type[Cluster]]
    budget: Budget
    chosen: list[str] = field(default_factory=list)
    until: float = float("inf")  # on the monotonic clock: no new cell begins after it
    figures: list[Figure] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    left_out: list[Cell] = field(default_factory=list)

    def run(self) -> None:
        """Every chosen cell on every side, turn by turn."""
        for brokers in BROKERS:
            cells = [cell for cell in self.cells() if cell.brokers == brokers]
            if not cells:
                continue
            with ExitStack() as stack:
                clusters = [self._started(stack, side, brokers) for side in self.sides]
                running = [cluster for cluster in clusters if cluster is not None]
                for cell in cells:
                    if time.monotonic() > self.until:
                        self.left_out.append(cell)
                        continue
                    for number in range(self.budget.rounds):
                        # Who comes first changes, for the first of two writes to a colder disk.
                        order = running if (cells.index(cell) + number) % 2 == 0 else running[::-1]
                        for cluster in order:
                            self._cell(cluster, running, cell, number)
                for cluster in running:
                    self._memory(cluster, brokers)

    def cells(self) -> list[Cell]:
        """The cells whose words are all among the chosen ones; all of them when none is chosen."""
        every = [
            Cell(brokers, acks, size, partitions)
            for brokers in BROKERS
            for partitions in PARTITIONS
            for size in SIZES
            for acks in ACKS
        ]
        return [cell for cell in every if chooses(self.chosen, cell)]

    def _started(self, stack: ExitStack, side: type[Cluster], brokers: int) -> Cluster | None:
        cluster = stack.enter_context(side(brokers))
        try:
            seconds = measure.first_record(cluster)
        except Exception as error:
            self.failures.append(f"{_kind(cluster)}: start of {brokers}: {error!r}")
            return None
        what = f"start to the first record, {brokers} broker(s)"
        self._note(cluster, None, what, "s", seconds)
        return cluster

    def _cell(self, cluster: Cluster, running: list[Cluster], cell: Cell, number: int) -> None:
        with alone(cluster, running):
            try:
                self._measure(cluster, cell, f"m{cell.partitions}-{hash(cell) % 10**9}-{number}")
            except Exception as error:
                self.failures.append(f"{_kind(cluster)}: {cell}: {error!r}")

    def _measure(self, cluster: Cluster, cell: Cell, topic: str) -> None:
        budget, size = self.budget, SIZES[cell.size]
        measure.create_topic(cluster, topic, cell.partitions, cell.brokers)
        measure.produce(cluster, topic, size, budget.warm_seconds, cell.acks)
        rate = measure.produce(cluster, topic, size, budget.produce_seconds, cell.acks)
        self._note(cluster, cell, "produce", "MB/s", rate)
        rate = measure.consume(cluster, topic, cell.partitions, size, budget.consume_seconds)
        self._note(cluster, cell, "consume", "MB/s", rate)
        p50, p99 = measure.latency(
            cluster, topic, LATENCY_RATE, budget.latency_seconds, acks=cell.acks, size=size
        )
        self._note(cluster, cell, "latency p50", "ms", p50)
        self._note(cluster, cell, "latency p99", "ms", p99)

    def _memory(self, cluster: Cluster, brokers: int) -> None:
        resident = [psutil.Process(p.pid).memory_info().rss for p in cluster.processes.values()]
        what = f"memory of a broker after the load, {brokers} broker(s)"
        self._note(cluster, None, what, "MiB", statistics.mean(resident) / 2**20)

    def _note(
        self, cluster: Cluster, cell: Cell | None, what: str, unit: str, value: float
    ) -> None:
        self.figures.append(Figure(_kind(cluster), cell, what, unit, value))
        where = f"{cell}: " if cell else ""
        print(f"  {_kind(cluster):13} {where}{what} {value:.4g} {unit}", flush=True)


def _kind(cluster: Cluster) -> str:
    return str(getattr(cluster, "kind", ""))


@contextmanager
def alone(cluster: Cluster, running: list[Cluster]) -> Iterator[None]:
    """Hold the other sides still, and let them catch up with the clock afterwards."""
    others = [each for each in running if each is not cluster]
    # Only a single broker can sleep: three would elect others when they wake.
    still = [p for each in others if each.brokers == 1 for p in each.processes.values()]
    for process in still:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in still:
            process.send_signal(signal.SIGCONT)
        if still:
            time.sleep(0.2)


def chooses(words: list[str], cell: Cell) -> bool:
    """Whether every `axis=value,value` of the words holds for the cell."""
    for word in words:
        axis, _, values = word.partition("=")
        actual = str(getattr(cell, axis)).replace(" ", "").lower()
        wanted = [value.replace(" ", "").lower() for value in values.split(",")]
        if actual not in wanted:
            return False
    return True


def check_words(words: list[str]) -> str | None:
    """What is wrong with the words, or None."""
    for word in words:
        axis, equals, _ = word.partition("=")
        if axis not in AXES or not equals:
            return f"{word!r}: say one of {', '.join(f'{axis}=...' for axis in AXES)}"
    return None


def table(matrix: Matrix) -> list[str]:
    """The figures as Markdown: one row a cell and figure, one column a side, and the ratio."""
    kinds = [str(getattr(side, "kind", "")) for side in matrix.sides]
    rows: dict[tuple[Cell | None, str, str], dict[str, list[float]]] = {}
    for figure in matrix.figures:
        row = rows.setdefault((figure.cell, figure.what, figure.unit), {})
        row.setdefault(figure.side, []).append(figure.value)
    ratio = ["logd / Apache Kafka"] if len(kinds) > 1 else []
    head = ["brokers", "acks", "size", "partitions", "what", *kinds, *ratio]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for cell, what, unit in sorted(rows, key=lambda key: key[0] is None):
        values = rows[cell, what, unit]
        where = (
            [str(cell.brokers), cell.acks, cell.size, str(cell.partitions)] if cell else [""] * 4
        )
        cells = [*where, f"{what}, {unit}"]
        medians = [statistics.median(values[kind]) if kind in values else None for kind in kinds]
        cells += ["failed" if median is None else f"{median:.3g}" for median in medians]
        if ratio:
            ours, theirs = medians[:2]
            cells.append(f"{ours / theirs:.2f}" if ours and theirs else "")
        lines.append("| " + " | ".join(cells) + " |")
    if matrix.left_out:
        left = "; ".join(map(str, matrix.left_out))
        lines += ["", f"Not measured, for the time was up: {left}."]
    return lines


def as_json(matrix: Matrix, note: str) -> str:
    """All figures, for programs."""
    return json.dumps(
        {
            "machine": measure.machine(),
            "note": note,
            "budget": asdict(matrix.budget),
            "figures": [asdict(figure) for figure in matrix.figures],
            "failures": matrix.failures,
            "left_out": [asdict(cell) for cell in matrix.left_out],
            "cores": os.cpu_count(),
        },
        indent=1,
    )


def write(matrix: Matrix, note: str, head: str, output: Path) -> str:
    """Write the table and, beside it, the JSON; gives the table's text."""
    lines = [head, "", f"{measure.machine()}. {note}", ""]
    lines += [
        f"Medians over the rounds. Client: librdkafka, on the same machine; latency at {LATENCY_RATE}/s.",
        "",
        *table(matrix),
    ]
    if matrix.failures:
        lines += ["", "Failed:", *(f"- {failure}" for failure in matrix.failures)]
    text = "\n".join(lines) + "\n"
    output.parent.mkdir(exist_ok=True)
    output.write_text(text)
    output.with_suffix(".json").write_text(as_json(matrix, note) + "\n")
    return text
