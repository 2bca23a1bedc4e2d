"""What Tab offers, without a terminal and without a cluster."""

from __future__ import annotations

import pytest

from shell.commands import all_commands
from shell.completion import Names, split_words, suggest

REGISTRY = all_commands()
NAMES = Names(
    topics={"orders": 3, "signups": 1, "host-metrics": 1},
    brokers={1: "127.0.0.1:19092 up", 2: "127.0.0.1:19093 down"},
    contexts=("local", "staging"),
    specs=("local",),
)


def offered(text: str, names: Names = NAMES) -> list[str]:
    return [suggestion.text for suggestion in suggest(REGISTRY, text, names)]


def test_an_empty_line_offers_every_first_word():
    assert offered("") == REGISTRY.top_level()


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("top", "topic"),
        ("topic ", "list"),
        ("topic des", "describe"),
        ("topic describe ", "host-metrics"),
        ("topic describe hm", "host-metrics"),
        ("--format json topic describe or", "orders"),
        ("topic create x --part", "--partitions"),
        ("topic list --format ", "table"),
        ("topic list --format=j", "--format=json"),
        ("broker kill ", "1"),
        ("context use st", "staging"),
        ("topic list --context lo", "local"),
        ("cluster up ", "local"),
        ("tail orders:", "orders:0"),
        ("tail orders --from ", "start"),
        ("produce orders --acks ", "0"),
        ("help top", "topic"),
    ],
)
def test_the_first_suggestion(text, first):
    assert offered(text)[0] == first


def test_letters_in_order_are_enough_and_the_tightest_match_wins():
    assert offered("topic describe sg")[0] == "signups"
    assert offered("topic describe zzz") == []


def test_a_given_option_is_not_offered_again_unless_it_may_repeat():
    assert "--partitions" not in offered("topic create x --partitions 3 --")
    assert "--config" in offered("topic create x --config a=b --")


def test_after_a_double_dash_nothing_is_an_option():
    assert offered("produce orders -- --") == []


def test_stale_names_are_marked():
    stale = Names(topics={"orders": 3}, brokers={}, stale=True)
    assert suggest(REGISTRY, "topic describe ", stale)[0].meta == "3 partitions (stale)"


def test_each_suggestion_says_what_it_is():
    assert suggest(REGISTRY, "broker kill ", NAMES)[1].meta == "127.0.0.1:19093 down"
    assert all(suggestion.meta for suggestion in suggest(REGISTRY, "", NAMES))


def test_quotes_keep_words_together():
    assert split_words("produce orders 'a b' \"c") == (["produce", "orders", "a b"], "c")
    assert split_words("topic ") == (["topic"], "")


@pytest.mark.parametrize(
    ("text", "some"),
    [
        ("query ", ["partitions", "count", "no"]),
        ("query part", ["partitions"]),
        ("query partitions ", ["where"]),
        ("query partitions where lea", ["leader", "leader_epoch"]),
        ("query partitions where leader = ", ["1", "2", "none"]),
        ("query partitions where topic = si", ["signups"]),
        ("query 'partitions where lea", ["partitions where leader"]),
        ("topic list --where 'under_r", ["under_replicated"]),
        ("watch --where 'no partitions where off", ["no partitions where offline"]),
    ],
)
def test_conditions_are_completed_word_by_word(text, some):
    assert set(some) <= set(offered(text))


def test_options_follow_a_condition_too():
    assert "--fail-if-any" in offered("query partitions --fail")
