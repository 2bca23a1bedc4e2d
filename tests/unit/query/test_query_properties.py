"""Any text is read or refused; what is read is written back the same; and it means what it says.

The meaning is checked against Python expressions made beside the conditions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.query import TABLES, UNKNOWN, ClusterState, Query, QueryError, Table, parse, suggest
from clusters.query.tokens import quoted, tokenize

Row = dict[str, Any]
Meaning = Callable[[Row], bool]
Pair = tuple[str, Meaning]

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a is not None and b is not None and a < b,
    "<=": lambda a, b: a is not None and b is not None and a <= b,
    ">": lambda a, b: a is not None and b is not None and a > b,
    ">=": lambda a, b: a is not None and b is not None and a >= b,
}
NUMBERS = st.integers(0, 5)
SETS = st.lists(NUMBERS, max_size=4, unique=True).map(tuple)
TEXTS = st.text(max_size=6)
ROWS = st.fixed_dictionaries(
    {
        "topic": TEXTS,
        "partition": NUMBERS,
        "leader": st.none() | NUMBERS,
        "isr": SETS,
        "replicas": SETS,
        "min_isr": NUMBERS,
        "offline": st.booleans(),
        "size": st.none() | st.integers(0, 1 << 13),
    }
)


def number_pair(name: str, sign: str, value: int) -> Pair:
    return f"{name} {sign} {value}", lambda row: _ORDERS[sign](row[name], value)


def count_pair(name: str, sign: str, other: str) -> Pair:
    return f"{name} {sign} {other}", lambda row: _ORDERS[sign](len(row[name]), row[other])


def sets_pair(sign: str) -> Pair:
    def means(row: Row) -> bool:
        if sign in {"=", "!="}:
            return _ORDERS[sign](set(row["isr"]), set(row["replicas"]))
        return _ORDERS[sign](len(row["isr"]), len(row["replicas"]))

    return f"isr {sign} replicas", means


def list_pair(values: list[int]) -> Pair:
    return f"leader in {values}", lambda row: row["leader"] in values


def size_pair(sign: str, kib: int) -> Pair:
    return f"size {sign} {kib}KiB", lambda row: _ORDERS[sign](row["size"], kib * 1024)


SIGNS = st.sampled_from(sorted(_ORDERS))
ATOMS: st.SearchStrategy[Pair] = st.one_of(
    st.builds(number_pair, st.sampled_from(["partition", "leader", "min_isr"]), SIGNS, NUMBERS),
    st.builds(count_pair, st.sampled_from(["isr", "replicas"]), SIGNS, st.just("min_isr")),
    st.builds(sets_pair, SIGNS),
    st.builds(list_pair, st.lists(NUMBERS, max_size=3)),
    st.builds(size_pair, SIGNS, st.integers(0, 8)),
    NUMBERS.map(lambda n: (f"isr contains {n}", lambda row: n in row["isr"])),
    NUMBERS.map(lambda n: (f"{n} in isr", lambda row: n in row["isr"])),
    NUMBERS.map(lambda n: (f"isr = min_isr + {n}", lambda r: len(r["isr"]) == r["min_isr"] + n)),
    TEXTS.map(lambda t: (f"topic = {quoted(t)}", lambda row: row["topic"] == t)),
    TEXTS.map(lambda t: (f"topic contains {quoted(t)}", lambda row: t in row["topic"])),
    st.just(("leader = none", lambda row: row["leader"] is None)),
    st.just(("offline", lambda row: row["offline"])),
)


def negated(pair: Pair) -> Pair:
    return f"not ({pair[0]})", lambda row: not pair[1](row)


def joined(word: str, pairs: list[Pair]) -> Pair:
    together = all if word == "and" else any
    text = f" {word} ".join(f"({text})" for text, _ in pairs)
    return text, lambda row: together(means(row) for _, means in pairs)


CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        inner.map(negated),
        st.builds(joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=6,
)


def state_of(rows: list[Row], missing: tuple[str, ...] = ()) -> ClusterState:
    return ClusterState({"partitions": Table(tuple(rows), missing)}, at_ms=1_000_000)


@settings(max_examples=100, deadline=None)
@given(CONDITIONS, st.lists(ROWS, max_size=5))
def test_a_condition_means_what_it_says(pair: Pair, rows: list[Row]) -> None:
    text, means = pair
    expected = [row for row in rows if means(row)]
    state = state_of(rows)
    assert parse(f"partitions where {text}").rows(state) == expected
    assert parse(f"any partitions where {text}").holds(state) is bool(expected)
    assert parse(f"no partitions where {text}").holds(state) is not bool(expected)
    assert parse(f"all partitions have {text}").holds(state) is (len(expected) == len(rows))
    assert parse(f"count(partitions where {text}) = {len(expected)}").holds(state) is True


@settings(max_examples=100, deadline=None)
@given(CONDITIONS, st.sampled_from(["", "any ", "no ", "all "]), st.booleans())
def test_what_is_read_is_written_back_the_same(pair: Pair, quantifier: str, lasting: bool) -> None:
    text = f"{quantifier}partitions where {pair[0]}"
    text = f"{text} have isr = 3" if quantifier == "all " else text
    query = parse(f"({text}) and not (no topics)" + (" for 90s" if lasting else ""))
    assert parse(str(query)) == query
    assert str(parse(str(query))) == str(query)


@settings(max_examples=100, deadline=None)
@given(CONDITIONS, ROWS, st.sampled_from(["leader", "isr", "min_isr", "size", "topic", "offline"]))
def test_an_unknown_value_never_decides_against_what_it_could_be(
    pair: Pair, row: Row, hidden: str
) -> None:
    """If a verdict is given without a value, it is the verdict with the value."""
    query = parse(f"any partitions where {pair[0]}")
    verdict = query.holds(state_of([{**row, hidden: UNKNOWN}]))
    assert verdict in {None, pair[1](row)}


WORDS = [
    *TABLES,
    *(field.name for field in TABLES["partitions"].fields),
    *"where have and or not in contains for any all no count sum of none true now".split(),  # noqa: SIM905
    *"= != < <= > >= ~ ( ) [ ] , + - 3 1.5 10m 1GiB 2026-01-31T12:00:00Z config.x".split(),  # noqa: SIM905
    '"orders"',
    "'",
    "Stable",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join) | st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    query = read_or_refused(text)
    if isinstance(query, QueryError):
        assert query.column >= 1
        assert str(query).splitlines()[-1].strip() == "^"
    else:
        assert parse(str(query)) == query
        assert query.holds(ClusterState()) in {True, False, None}
    suggest(text)


def read_or_refused(text: str) -> Query | QueryError:
    try:
        return parse(text)
    except QueryError as error:
        return error


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_any_text_can_be_quoted(text: str) -> None:
    assert tokenize(quoted(text))[0].value == text


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=10), st.integers(0, 80))
def test_each_suggestion_can_be_taken(words: list[str], cursor: int) -> None:
    """After a suggested word the text before the cursor is still the beginning of a condition."""
    text = " ".join(words)
    for each in suggest(text, cursor)[:5]:
        taken = text[:cursor][: each.start] + each.text
        query = read_or_refused(taken)
        if isinstance(query, QueryError):
            assert query.position >= each.start, (taken, str(query))


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    for text in ("(" * 3000, "not " * 900, "partitions where " + "(" * 500):
        assert isinstance(read_or_refused(text), QueryError)
