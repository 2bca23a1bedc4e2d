"""Tables mend their order when rows change: the same as if all rows were sorted anew."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui.order import Order, Rules
from tui.rows import CHANGES_MAX, Rows


@dataclass(frozen=True)
class Row:
    name: int
    value: int


def step(rng: random.Random, rows: Rows[Row], names: list[int]) -> None:
    roll = rng.random()
    if roll < 0.6 and rows:
        index = rng.randrange(len(rows))
        rows.put(index, Row(rows[index].name, rng.randrange(4)))
    elif roll < 0.9:
        names.append(len(names))
        rows.push([Row(names[-1], rng.randrange(4))], keep=12)
    elif roll < 0.95:
        rows.renew([Row(name, rng.randrange(4)) for name in range(rng.randrange(9))])
    else:
        rows.touch()


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, 2**32),
    st.booleans(),
    st.sampled_from([None, lambda r: r.value, lambda r: (r.value, r.name)]),
    st.sampled_from([None, lambda r: r.value != 1]),
    st.sampled_from([None, lambda r: r.name % 3 != 0]),
    st.floats(0, 1),
)
def test_mending_gives_what_sorting_anew_gives(seed, reverse, sort, wants, within, cut) -> None:
    rng = random.Random(seed)
    rows, names = Rows[Row](), []
    rules: Rules[Row] = Rules(sort, reverse, within, wants)
    order: Order[Row] = Order()
    order.arrange(rows, rules)
    for _ in range(60):
        step(rng, rows, names)
        if rng.random() > cut:
            continue
        if order.follow(rows) is None:
            order.arrange(rows, rules)
        kept = [r for r in rows if within is None or within(r)]
        wanted = [r for r in kept if wants is None or wants(r)]
        if sort is not None:
            wanted.sort(key=sort, reverse=reverse)
        assert order.shown == wanted
        assert order.total == len(kept)
        for index, row in enumerate(wanted):
            place = order.place_at(index)
            assert rows[place - rows.first] == row
            assert order.index_of_place(place) == index


def test_one_change_among_ten_thousand_rows_sorts_none_of_the_others() -> None:
    asked = []
    rows = Rows(Row(number, number % 7) for number in range(10_000))
    order: Order[Row] = Order()
    order.arrange(rows, Rules(sort=lambda row: asked.append(row) or (row.value, row.name)))
    asked.clear()
    rows.put(5_000, Row(5_000, 9))
    shift = order.follow(rows)
    assert shift is not None
    assert shift.moved
    assert order.shown[-1] == Row(5_000, 9)
    assert asked == [Row(5_000, 9)]


@pytest.mark.parametrize("pushed", [CHANGES_MAX, CHANGES_MAX + 1])
def test_a_reader_that_was_away_for_long_goes_through_all(pushed) -> None:
    rows = Rows([Row(0, 0)])
    seen = rows.version
    rows.push((Row(number, 0) for number in range(1, pushed)), keep=5_000)
    changed = rows.changed_since(seen)
    assert changed == set(range(1, pushed))
    rows.push((Row(number, 0) for number in range(pushed)), keep=5_000)
    assert rows.changed_since(seen) is None
    assert len(rows._changes) <= CHANGES_MAX
