"""Tables fit their width, lose nothing, and can be cut to columns and sorted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from shell.exits import UsageProblem
from shell.tables import Cell, Facts, Table, render, select

TABLE = Table(
    ("TOPIC", "SIZE", "LEADER"),
    [("orders", "1.5 KiB", 2), ("signups", "3.0 GiB", None), ("audit", "512 B", 10)],
    right=frozenset({"SIZE"}),
)


def test_columns_are_aligned_and_nothing_trails():
    assert render([TABLE], None, color=False).splitlines() == [
        "TOPIC       SIZE  LEADER",
        "orders   1.5 KiB  2",
        "signups  3.0 GiB  -",
        "audit      512 B  10",
    ]


def test_colours_only_where_they_are_shown():
    table = Table(("A",), [(Cell("sick", "bad"),)])
    assert "\x1b[31;1msick\x1b[0m" in render([table], None, color=True)
    assert "\x1b" not in render([table], None, color=False)


def test_facts_keep_names_whole_and_fold_values():
    text = render([Facts([("bootstrap", "a,b,c,d,e,f,g,h,i,j,k")])], 22, color=False)
    assert text.splitlines()[0] == "bootstrap  a,b,c,d,e,"


def test_names_from_outside_cannot_move_the_cursor():
    assert "\x1b" not in render([Table(("A",), [("evil\x1b[2J",)])], 80, color=True).replace(
        "\x1b[1m", ""
    ).replace("\x1b[0m", "")


def test_columns_and_sorting():
    (chosen,) = select([TABLE], ["size", "Topic"], "-size")
    assert chosen.columns == ("SIZE", "TOPIC")
    assert [row[1] for row in chosen.rows] == ["signups", "orders", "audit"]
    (by_leader,) = select([TABLE], [], "leader")
    assert [row[2] for row in by_leader.rows] == [2, 10, None]
    with pytest.raises(UsageProblem, match="Did you mean 'TOPIC'"):
        select([TABLE], ["topc"], None)


CELLS = st.text(st.characters(exclude_categories=["C", "M", "Z"]) | st.just(" "), max_size=30)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5), st.integers(24, 90))
def test_a_table_fits_its_width_and_keeps_every_character(rows, width):
    table = Table(("A", "B", "C"), rows)
    text = render([table], width, color=False)
    assert all(wcswidth(line) <= width for line in text.splitlines() if wcswidth(line) >= 0)
    shown = sorted(re.sub(r"\s", "", text))
    assert shown == sorted(re.sub(r"\s", "", "ABC" + "".join(c for row in rows for c in row)))


def test_where_no_folding_helps_a_row_is_shown_as_facts():
    columns = ("PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "OFFLINE")
    rows = [(0, Cell("none", "bad"), 4, [1, 2, 3], [1], None), (1, 2, 0, [2, 3, 1], [2], [3])]
    wide, narrow = (render([Table(columns, rows)], width, color=False) for width in (42, 30))
    assert wide.splitlines()[0].split() == ["PARTIT", "LEADER", "EPOCH", "REPLIC", "ISR", "OFFLIN"]
    assert narrow.splitlines() == [
        "PARTITION  0",
        "LEADER     none",
        "EPOCH      4",
        "REPLICAS   1,2,3",
        "ISR        1",
        "OFFLINE    -",
        "",
        "PARTITION  1",
        "LEADER     2",
        "EPOCH      0",
        "REPLICAS   2,3,1",
        "ISR        2",
        "OFFLINE    3",
    ]
    none = render([Table(columns, [])], 30, color=False)
    assert none.split()[:2] == ["PARTIT", "LEADER"]
