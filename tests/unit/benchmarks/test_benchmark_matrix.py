"""The matrix of measurements: which cells are chosen, and what the table says."""

import json

from benchmarks.matrix import Budget, Figure, Matrix, as_json, check_words, table
from benchmarks.peers import ApacheKafka, Logd


def matrix(*words: str) -> Matrix:
    return Matrix([Logd, ApacheKafka], Budget.quick(), list(words))


def test_all_cells_without_a_choice_and_only_the_chosen_ones_with() -> None:
    assert len(matrix().cells()) == 2 * 2 * 2 * 3
    chosen = matrix("brokers=3", "acks=all", "size=1KiB,100b", "partitions=6").cells()
    assert [(c.brokers, c.acks, c.size, c.partitions) for c in chosen] == [
        (3, "all", "100 B", 6),
        (3, "all", "1 KiB", 6),
    ]
    assert matrix("partitions=7").cells() == []


def test_words_that_choose_nothing_are_refused() -> None:
    assert check_words(["brokers=1", "acks=all"]) is None
    assert "brokers=..." in str(check_words(["borkers=1"]))
    assert check_words(["brokers"]) is not None


def test_the_table_shows_medians_side_by_side_and_what_failed() -> None:
    made = matrix()
    cell = made.cells()[0]
    for value in (10.0, 30.0, 20.0):
        made.figures.append(Figure("logd", cell, "produce", "MB/s", value))
    made.figures.append(Figure("Apache Kafka", cell, "produce", "MB/s", 40.0))
    made.figures.append(Figure("logd", cell, "consume", "MB/s", 5.0))
    made.left_out = [made.cells()[1]]
    lines = table(made)
    assert "| 1 | 1 | 100 B | 1 | produce, MB/s | 20 | 40 | 0.50 |" in lines
    assert "| 1 | 1 | 100 B | 1 | consume, MB/s | 5 | failed |  |" in lines
    assert lines[-1].startswith("Not measured, for the time was up: 1 broker, acks=all, 100 B")
    assert len(json.loads(as_json(made, "note"))["figures"]) == 5
