"""What Tab offers, without a terminal and without a cluster."""

from __future__ import annotations

import pytest

from shell.commands import all_commands
from shell.completion import Names, inline_help, settings_owner, split_words, suggest
from shell.names import Setting

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


def test_settings_and_their_values_fit_what_has_them():
    names = Names(
        topics={"orders": 3},
        brokers={1: "h:1 up"},
        groups={"billing": "Stable"},
        topic_settings={
            "cleanup.policy": Setting("What happens.", "delete", ("delete", "compact")),
            "retention.ms": Setting("How long.", "7"),
        },
        broker_settings={"log.retention.ms": Setting("Of all topics.", "7")},
    )
    assert offered("topic create x --config cl", names) == ["cleanup.policy="]
    assert offered("topic create x --config cleanup.policy=", names) == [
        "cleanup.policy=delete",
        "cleanup.policy=compact",
    ]
    assert offered("config set topic ", names) == ["orders"]
    assert offered("config set broker ", names) == ["1"]
    assert offered("config set topic orders ret", names)[0] == "retention.ms="
    assert offered("config set broker 1 ", names) == ["log.retention.ms="]
    assert offered("config get topic orders log", names) == []
    assert offered("tail orders --group ", names) == ["billing"]
    meta = suggest(REGISTRY, "topic create x --config ret", names)[0].meta
    assert meta == "How long."


def test_each_command_of_a_line_completes_by_itself_and_programs_do_not():
    assert offered("topic list; broker ki")[0] == "kill"
    assert offered("topic list && topic describe or")[0] == "orders"
    assert offered("topic list | gre") == []
    assert offered("tail orders:0,")[0] == "orders:0,1"


def test_aliases_are_offered_and_seen_through():
    names = Names(topics={"orders": 3}, aliases={"td": "topic describe"})
    assert suggest(REGISTRY, "td", names)[0].meta == "alias: topic describe"
    assert offered("td or", names) == ["orders"]


def told(text: str) -> str:
    return "".join(said for _, said in inline_help(REGISTRY, text, NAMES))


def test_help_follows_what_is_typed():
    assert "Which" in told("completion ") or "shell" in told("completion ")
    assert "needs TOPIC" in told("topic describe ")
    assert "needs" not in told("topic describe orders")
    assert told("topic list --format ").startswith("--format Write data")
    assert told("topic list; tpc x") == "tpc: no such command"
    assert told("topic list | grep ") == ""
    assert told("") == ""


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


OF_ORDERS = Names(
    topics={"orders": 3, "signups": 1},
    brokers={1: "h:1 up"},
    topic_settings={
        "cleanup.policy": Setting("What happens.", "delete", ("delete", "compact")),
        "retention.ms": Setting("How long.", "604800000"),
    },
    broker_settings={"log.retention.ms": Setting("Of all topics.")},
    values={"topic orders": {"cleanup.policy": "compact", "retention.ms": "5"}},
)


def metas(text: str) -> dict[str, str]:
    return {each.text: each.meta for each in suggest(REGISTRY, text, OF_ORDERS)}


@pytest.mark.parametrize("line", ["config set topic orders ", "topic alter orders --config "])
def test_values_are_those_of_the_topic_that_is_named(line):
    assert metas(line)["retention.ms="] == "now 5: How long."
    assert metas(f"{line}retention.ms=") == {
        "retention.ms=5": "as it is now",
        "retention.ms=604800000": "default",
    }
    assert metas(f"{line}cleanup.policy=") == {
        "cleanup.policy=compact": "as it is now",
        "cleanup.policy=delete": "default",
    }


def test_values_of_another_topic_are_never_shown():
    assert metas("config set topic signups ret")["retention.ms="] == "How long."
    assert metas("topic create new --config retention.ms=") == {"retention.ms=604800000": "default"}


def test_the_line_below_tells_of_the_setting_being_typed():
    def said(text: str) -> str:
        return "".join(piece for _, piece in inline_help(REGISTRY, text, OF_ORDERS))

    wanted = "retention.ms  How long.  now 5  default 604800000"
    assert said("config set topic orders retention.ms=1d") == wanted
    assert said("config get topic orders retention.ms") == wanted
    assert said("config set broker 1 log.retention.ms=1") == "log.retention.ms  Of all topics."
    assert "needs SETTINGS" in said("config set topic orders ")


@pytest.mark.parametrize(
    ("line", "owner"),
    [
        ("config set topic orders ", "topic orders"),
        ("config set broker 1 x", "broker 1"),
        ("config unset topic orders ", "topic orders"),
        ("topic alter orders -c ret", "topic orders"),
        ("topic alter orders ", None),
        ("topic create orders -c ", None),
        ("topic list | config set topic orders ", None),
        ("", None),
    ],
)
def test_whose_settings_are_typed(line, owner):
    assert settings_owner(REGISTRY, line, OF_ORDERS) == owner
