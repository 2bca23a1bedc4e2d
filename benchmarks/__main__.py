"""`make bench`: measure logd, and Apache Kafka beside it in the same run, and write a table.

Each figure of both sides comes from the same machine within the same minutes, turn by turn; what is to be quoted is
the ratio. Without Java, Maven or the jars the table says that nothing stands beside us.
"""

import argparse
import contextlib
import datetime
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from benchmarks import matrix, measure
from benchmarks.peers import ApacheKafka, Cluster, Logd, kafka_libs

RESULTS = Path(__file__).parent / "results"
SIZES = {"100 B": 100, "1 KiB": 1024, "10 KiB": 10_240}
Row = tuple[str, str, dict[str, list[float]]]


class Run:
    """Collects figures, one row a measurement, one column a side."""

    def __init__(self, sides: list[type[Cluster]], rounds: int) -> None:
        self.sides = sides
        self.rounds = rounds
        self.rows: dict[str, tuple[str, dict[str, list[float]]]] = {}
        self.failures: list[str] = []

    def add(self, label: str, unit: str, side: type[Cluster], value: float) -> None:
        kind = side.kind  # type: ignore[attr-defined]
        self.rows.setdefault(label, (unit, {}))[1].setdefault(kind, []).append(value)
        print(f"  {kind:13} {label}: {value:.4g} {unit}", flush=True)

    def attempt(self, what: str, side: type[Cluster], work: Callable[[], None]) -> None:
        """A figure that can't be had is reported, not hidden; the others go on."""
        try:
            work()
        except Exception as error:
            traceback.print_exc()
            self.failures.append(f"{side.kind}: {what}: {error}")  # type: ignore[attr-defined]


def measure_start(run: Run) -> None:
    for brokers in (1, 3):
        for _ in range(run.rounds):
            for side in run.sides:

                def work(side: type[Cluster] = side, brokers: int = brokers) -> None:
                    with side(brokers) as cluster:
                        run.add(
                            f"start to first record, {brokers} broker(s)",
                            "s",
                            side,
                            measure.first_record(cluster),
                        )

                run.attempt("start", side, work)


def measure_idle(run: Run, seconds: float) -> None:
    for side in run.sides:

        def work(side: type[Cluster] = side) -> None:
            with side(3) as cluster:
                measure.create_topic(cluster, "idle", 6, 3)
                idle = measure.idle(cluster, seconds)
                run.add("idle memory per broker, 3 brokers", "MiB", side, idle.rss_mib)
                run.add(
                    "idle processor per broker, 3 brokers", "% of a core", side, idle.cpu_percent
                )

        run.attempt("idle", side, work)


def measure_throughput(run: Run, seconds: float) -> None:
    for replicas in (1, 3):
        for label, size in SIZES.items():
            for number in range(run.rounds):
                for side in run.sides:

                    def work(
                        side: type[Cluster] = side,
                        replicas: int = replicas,
                        label: str = label,
                        size: int = size,
                        number: int = number,
                    ) -> None:
                        with side(replicas) as cluster:
                            topic = f"t{number}"
                            measure.create_topic(cluster, topic, 6, replicas)
                            measure.produce(cluster, topic, size, 1)
                            rate = measure.produce(cluster, topic, size, seconds)
                            run.add(
                                f"produce {label}, acks=all, {replicas} replica(s)",
                                "MB/s",
                                side,
                                rate,
                            )
                            rate = measure.consume(cluster, topic, 6, size, seconds)
                            run.add(f"consume {label}, {replicas} replica(s)", "MB/s", side, rate)

                    run.attempt(f"throughput {label}", side, work)


def measure_latency(run: Run, seconds: float) -> None:
    for replicas in (1, 3):
        for _ in range(run.rounds):
            for side in run.sides:

                def work(side: type[Cluster] = side, replicas: int = replicas) -> None:
                    with side(replicas) as cluster:
                        measure.create_topic(cluster, "latency", 1, replicas)
                        measure.latency(cluster, "latency", 200, 2)
                        p50, p99 = measure.latency(cluster, "latency", 500, seconds)
                        run.add(
                            f"latency p50 at 500/s, acks=all, {replicas} replica(s)",
                            "ms",
                            side,
                            p50,
                        )
                        run.add(
                            f"latency p99 at 500/s, acks=all, {replicas} replica(s)",
                            "ms",
                            side,
                            p99,
                        )

                run.attempt("latency", side, work)


def measure_failover(run: Run) -> None:
    for _ in range(run.rounds):
        for side in run.sides:

            def work(side: type[Cluster] = side) -> None:
                with side(3) as cluster:
                    measure.create_topic(cluster, "failover", 1, 3)
                    run.add(
                        "kill -9 of the leader to the next acknowledged write",
                        "ms",
                        side,
                        measure.failover(cluster, "failover"),
                    )

            run.attempt("failover", side, work)


def report(run: Run, note: str) -> str:
    kinds = [side.kind for side in run.sides]  # type: ignore[attr-defined]
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    lines = [
        f"# Measured on {today}",
        "",
        f"{measure.machine()}. {note}",
        "",
        "Medians over the rounds; in brackets the least and the greatest. Client: librdkafka (confluent-kafka), on the same machine.",
        "",
    ]
    head = ["what", "unit", *kinds, *(["ratio logd / Apache Kafka"] if len(kinds) > 1 else [])]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for label, (unit, columns) in run.rows.items():
        cells = [label, unit]
        for kind in kinds:
            values = columns.get(kind)
            if not values:
                cells.append("failed")
            elif len(values) == 1:
                cells.append(f"{values[0]:.3g}")
            else:
                cells.append(
                    f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"
                )
        if len(kinds) > 1:
            ours, theirs = columns.get(kinds[0]), columns.get(kinds[1])
            cells.append(
                f"{statistics.median(ours) / statistics.median(theirs):.2f}"
                if ours and theirs
                else ""
            )
        lines.append("| " + " | ".join(cells) + " |")
    if run.failures:
        lines += ["", "Failed:", *(f"- {failure}" for failure in run.failures)]
    return "\n".join(lines) + "\n"


PARTS = ("matrix", "start", "idle", "throughput", "latency", "failover")
# What `make bench` measures; the rest is asked for by name.
DEFAULT_PARTS = ("matrix", "idle", "failover")
# The matrix begins no cell after this, so that all of `make bench` ends within twelve minutes.
MATRIX_SECONDS = 480.0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PART|AXIS=VALUES",
        help=f"a part ({', '.join(PARTS)}) or cells of the matrix, "
        "as in brokers=3 acks=all size=1KiB,100B partitions=6; may be given several times",
    )
    parser.add_argument("--quick", action="store_true", help="see that it works; nothing to quote")
    parser.add_argument("--rounds", type=int, help="of each measurement (matrix 1, others 3)")
    parser.add_argument("--seconds", type=float, help="of each throughput or latency measurement")
    parser.add_argument("--alone", action="store_true", help="leave Apache Kafka out")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    arguments.parts = [each for each in arguments.only if each in PARTS]
    arguments.cells = [each for each in arguments.only if each not in PARTS]
    if problem := matrix.check_words(arguments.cells):
        parser.error(f"{problem}, or a part: {', '.join(PARTS)}")
    if arguments.cells and "matrix" not in arguments.parts:
        arguments.parts.append("matrix")
    return arguments


def budget_of(arguments: argparse.Namespace) -> matrix.Budget:
    budget = matrix.Budget.quick() if arguments.quick else matrix.Budget()
    if arguments.seconds is not None:
        budget.produce_seconds = budget.consume_seconds = budget.latency_seconds = arguments.seconds
    if arguments.rounds is not None:
        budget.rounds = arguments.rounds
    return budget


def main() -> int:
    arguments = parse()
    sides: list[type[Cluster]] = [Logd]
    if arguments.alone:
        note = "Apache Kafka was left out as asked."
    elif kafka_libs() is None:
        note = "Apache Kafka is not beside it: Java, Maven or the jars are absent."
    else:
        sides.append(ApacheKafka)
        note = "Apache Kafka 4.3.1 (KRaft, 1 GiB heap, default settings) in the same run, turn by turn."
    print(note, flush=True)
    parts = arguments.parts or list(DEFAULT_PARTS)
    now = datetime.datetime.now(datetime.UTC)
    output = arguments.output or RESULTS / f"{now:%Y-%m-%d}.md"
    seconds = arguments.seconds or (0.5 if arguments.quick else 5)
    run = Run(sides, arguments.rounds or (1 if arguments.quick else 3))
    cells = matrix.Matrix(
        sides, budget_of(arguments), arguments.cells, time.monotonic() + MATRIX_SECONDS
    )
    plan: dict[str, Callable[[], None]] = {
        "matrix": cells.run,
        "start": lambda: measure_start(run),
        "idle": lambda: measure_idle(run, 2 if arguments.quick else 20),
        "throughput": lambda: measure_throughput(run, seconds),
        "latency": lambda: measure_latency(run, seconds),
        "failover": lambda: measure_failover(run),
    }
    with contextlib.suppress(KeyboardInterrupt):
        for name, work in plan.items():
            if name in parts:
                print(name, flush=True)
                work()
    texts = []
    if "matrix" in parts:
        path = output.with_stem(f"{output.stem}-matrix")
        texts.append(matrix.write(cells, note, f"# Measured on {now:%Y-%m-%d}: the matrix", path))
        print(f"\n{texts[-1]}\nwritten to {path} and {path.with_suffix('.json').name}")
    if run.rows or run.failures:
        texts.append(report(run, note))
        output.parent.mkdir(exist_ok=True)
        output.write_text(texts[-1])
        print(f"\n{texts[-1]}\nwritten to {output}")
    return 1 if run.failures or cells.failures else 0


if __name__ == "__main__":
    sys.exit(main())
