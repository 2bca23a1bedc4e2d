"""Lines of the interactive shell: what they mean, and where they are wrong."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shell.exits import UsageProblem
from shell.script import Joint, Statement, expand, last_statement, parse_line, quoted, tokens


def test_words_quotes_and_comments():
    assert parse_line('topic describe \'a b\' "c \\"d" e\\ f # rest') == [
        Statement(words=("topic", "describe", "a b", 'c "d', "e f"))
    ]
    assert parse_line("") == []
    assert parse_line("   # nothing") == []
    assert parse_line("produce t ''")[0].words == ("produce", "t", "")


def test_sequences_and_conditions():
    found = parse_line("topic list; broker list && topic list || help;")
    assert [(s.words[0], s.joint) for s in found] == [
        ("topic", Joint.ALWAYS),
        ("broker", Joint.ALWAYS),
        ("topic", Joint.AFTER_SUCCESS),
        ("help", Joint.AFTER_FAILURE),
    ]


def test_the_text_of_a_program_is_passed_on_as_typed():
    line = "topic list | grep -E 'a;b' | awk '{print $1}' > \"x y\"; broker list"
    first, second = parse_line(line)
    assert first.program == "grep -E 'a;b' | awk '{print $1}' > \"x y\""
    assert second.words == ("broker", "list")
    assert parse_line("! ls -l | wc; help && !pwd") == [
        Statement(program="ls -l | wc"),
        Statement(words=("help",)),
        Statement(program="pwd", joint=Joint.AFTER_SUCCESS),
    ]


def test_redirection():
    assert parse_line("topic list > 'my file'")[0] == Statement(
        words=("topic", "list"), target="my file"
    )
    assert parse_line("topic list >>log")[0].append


def test_a_comparison_inside_a_word_is_no_redirection():
    assert parse_line("topic list --where lag>10")[0].words[-1] == "lag>10"


@pytest.mark.parametrize(
    ("line", "what", "column"),
    [
        ("topic list 'x", "quote", 12),
        ("| grep x", "before |", 1),
        ("topic list |", "after |", 12),
        ("topic list >", "after >", 12),
        ("topic list; !", "after !", 13),
        ("topic list > a b", "Only one word", 16),
        ("topic list > a | cat", "already goes", 16),
        ("&& topic list", "before &&", 1),
        ("topic list &&", "after &&", 12),
        ("a && || b", "before ||", 6),
    ],
)
def test_what_cannot_be_read_is_told_with_its_column(line, what, column):
    with pytest.raises(UsageProblem) as caught:
        parse_line(line)
    assert what in caught.value.message
    assert f"(column {column})" in caught.value.message


def test_aliases_are_replaced_once_and_never_hide_commands():
    aliases = {"urp": "topic list --under-replicated", "topic": "broker", "a": "b", "b": "a x"}
    known = {"topic", "broker"}.__contains__
    assert expand(("urp", "--format", "json"), aliases, known) == (
        "topic",
        "list",
        "--under-replicated",
        "--format",
        "json",
    )
    assert expand(("topic", "list"), aliases, known) == ("topic", "list")
    assert expand(("a",), aliases, known) == ("a", "x")
    with pytest.raises(UsageProblem):
        expand(("p",), {"p": "topic list | cat"}, known)


def test_completion_sees_the_statement_at_the_end():
    words = [t.text for t in last_statement("topic list; topic describe or")[0]]
    assert words == ["topic", "describe", "or"]
    assert last_statement("topic list | gre")[1]
    assert last_statement("! l")[1]
    assert not last_statement("topic list && br")[1]


@given(st.lists(st.text(min_size=0, max_size=12), min_size=1, max_size=5))
def test_quoted_words_read_back_as_they_were(words):
    line = "x " + " ".join(quoted(word) for word in words)
    assert parse_line(line)[0].words == ("x", *words)


@given(st.text(max_size=60))
def test_any_text_gives_tokens_and_either_statements_or_a_usage_problem(text):
    pieces = tokens(text)
    assert all(a.end <= b.start for a, b in itertools.pairwise(pieces))
    last_statement(text)
    with contextlib.suppress(UsageProblem):
        parse_line(text)
