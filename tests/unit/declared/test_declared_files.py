"""Files of declared state: what they mean, and everything that is wrong in them at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.declared import (
    Declared,
    DeclaredTopic,
    Setting,
    World,
    WorldTopic,
    load_declared,
    parse_selection,
    plan,
)
from clusters.declared.exporting import exported, to_yaml
from clusters.errors import SpecError


def load(folder: Path, text: str, **given_values: Any) -> Declared:
    path = folder / "state.yaml"
    path.write_text(text, encoding="utf-8")
    return load_declared([str(path)], given=given_values, environ={"TEAM": "crm"})


def problems(folder: Path, text: str, **given_values: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(folder, text, **given_values)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_units_defaults_and_variables(tmp_path: Path) -> None:
    declared = load(
        tmp_path,
        """
variables: {parts: 3, name: orders}
defaults: {replication: 2, configs: {min.insync.replicas: 2}, labels: {team: "${env:TEAM}"}}
topics:
  ${name}.v1:
    partitions: ${parts}
    configs: {retention.ms: 7d, max.message.bytes: 2MiB, x: "$${y}", cleanup.policy: null}
""",
        parts=5,
    )
    topic = declared.topics["orders.v1"]
    assert (topic.partitions, topic.replication) == (5, 2)
    assert topic.labels == {"team": "crm"}
    assert topic.configs == {
        "min.insync.replicas": "2",
        "retention.ms": "604800000",
        "max.message.bytes": str(2 << 20),
        "x": "${y}",
        "cleanup.policy": None,
    }
    assert topic.where.line == 5
    assert topic.at("configs.retention.ms").line == 7


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """topics:
  orders:
    partitons: 3
    replication: many
    placement: rakcs
  Bad/name: {partitions: 0}
  gone: {state: absent, partitions: 3}
  fixed: {assignment: [[1, 1], [2]], partitions: 3}
  timed: {configs: {retention.ms: 3x}}
  unknown: {partitions: "${partz}"}
groups:
  g: {topics: {orders: {}}}
  h: {topics: {orders: {at: noon}}}
policy: []
""",
    )
    text = "\n".join(found)
    for words in (
        'state.yaml:3: topics.orders.partitons: unknown key; did you mean "partitions"?',
        'state.yaml:4: topics.orders.replication: must be a whole number, not "many"',
        'state.yaml:5: topics.orders.placement: "rakcs" is not possible',
        "state.yaml:6: topics.Bad/name: a topic's name",
        "state.yaml:6: topics.Bad/name.partitions: 0 is out of range",
        "state.yaml:7: topics.gone.partitions: an absent topic has no partitions",
        "state.yaml:8: topics.fixed.assignment[0]: must be a list of broker ids",
        "state.yaml:9: topics.timed.configs.retention.ms:",
        'state.yaml:10: topics.unknown.partitions: there is no variable "partz"',
        'state.yaml:13: groups.h.topics.orders.at: "noon" is no position',
        'state.yaml:14: policy: unknown key; did you mean "policies"?',
    ):
        assert words in text, found


def test_includes_are_relative_and_nearer_values_win(tmp_path: Path) -> None:
    (tmp_path / "teams").mkdir()
    (tmp_path / "teams" / "a.yaml").write_text(
        "variables: {size: 1, only: 2}\ntopics: {a: {partitions: '${size}'}}\n"
        "include: [../state.yaml]\n"
    )
    declared = load(
        tmp_path,
        "include: ['teams/*.yaml']\nvariables: {size: 4}\ntopics: {b: {partitions: '${only}'}}\n",
    )
    assert {name: topic.partitions for name, topic in declared.topics.items()} == {"a": 4, "b": 2}
    found = problems(tmp_path, "include: [nothing.yaml]\ntopics: {a: {}}\n")
    assert found == ['state.yaml:1: include[0]: "nothing.yaml" names no file']


def test_a_topic_of_two_files_is_refused_with_both_places(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("topics:\n  orders: {}\n")
    found = problems(tmp_path, "include: [more.yaml]\ntopics:\n  orders: {}\n")
    assert any("is declared twice" in problem and "state.yaml:3" in problem for problem in found)


def test_a_mistyped_set_is_told(tmp_path: Path) -> None:
    found = problems(tmp_path, "variables: {parts: 1}\ntopics: {a: {}}\n", part=3)
    assert 'did you mean "parts"?' in found[0]


def test_policies_refuse_with_the_line_of_the_topic(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """policies:
  - name: "^[a-z.]+$"
    replication: {min: 3}
    partitions: {max: 10}
    labels: [team]
    configs:
      retention.ms: {max: 30d}
      cleanup.policy: {allowed: [delete]}
      segment.bytes: {forbidden: true}
      min.insync.replicas: {required: true}
topics:
  Orders1:
    partitions: 12
    replication: 2
    configs: {retention.ms: -1, cleanup.policy: compact, segment.bytes: 1GiB}
""",
    )
    text = "\n".join(found)
    assert len(found) == 8
    assert 'state.yaml:12: topic Orders1: the name does not match "^[a-z.]+$"' in text
    assert "state.yaml:14: topic Orders1: replication 2 is less than 3 (policy at" in text
    assert "state.yaml:13: topic Orders1: partitions 12 is more than 10" in text
    assert "at most 2592000000 is allowed" in text
    assert "cleanup.policy is compact, allowed: delete" in text


def world(**topics: WorldTopic) -> World:
    return World(cluster_id="c", topics=topics, racks={1: None, 2: None, 3: None})


def existing(own: dict[str, str] | None = None, **more: Any) -> WorldTopic:
    settings_found = {"retention.ms": Setting("604800000", own=False)}
    settings_found |= {name: Setting(value, own=True) for name, value in (own or {}).items()}
    return WorldTopic(id="i", assignment=((1, 2), (2, 3)), settings=settings_found, **more)


def test_what_equals_the_default_is_no_difference(tmp_path: Path) -> None:
    declared = load(tmp_path, "topics: {a: {configs: {retention.ms: 7d}}}")
    assert plan(declared, world(a=existing())).steps == ()
    unset = load(tmp_path, "topics: {a: {configs: {retention.ms: null}}}")
    assert plan(unset, world(a=existing())).steps == ()
    own = existing({"retention.ms": "1000"})
    assert plan(unset, world(a=own)).steps[0].after == {"configs": {"retention.ms": None}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("topics: {a: {partitions: 1}}", "has 2 partitions and cannot shrink to 1"),
        ("topics: {a: {replication: 4}}", "4 replicas need 4 brokers, and 3 fit"),
        ("topics: {a: {assignment: [[1, 9], [2, 3]]}}", "broker 9 does not run"),
        ("topics: {b: {replication: 5}}", "replication 5, but 3 brokers run"),
        ("protect: [a]\ntopics: {a: {state: absent}}", "is protected from deletion by"),
        ("topics: {__x: {state: absent}}", "is the cluster's own"),
        ("groups: {g: {topics: {nope: {at: earliest}}}}", "there is no topic nope"),
        ("groups: {busy: {topics: {a: {offsets: {0: 3}}}}}", "has members"),
        ("groups: {g: {topics: {a: {offsets: {7: 3}}}}}", "has no partition 7"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is(
    tmp_path: Path, text: str, words: str
) -> None:
    declared = load(tmp_path, text)
    there = World(
        cluster_id="c",
        topics={"a": existing(), "__x": existing(internal=True)},
        racks={1: None, 2: None, 3: None},
        active=frozenset({"busy"}),
    )
    refusals = plan(declared, there).refusals
    assert any(words in str(refusal) for refusal in refusals), refusals
    assert all(refusal.line > 0 for refusal in refusals)


def test_what_nobody_could_tell_is_not_compared(tmp_path: Path) -> None:
    declared = load(
        tmp_path,
        "topics: {a: {configs: {retention.ms: 1d}}}\ngroups: {g: {topics: {a: {offsets: {0: 1}}}}}",
    )
    there = World(
        cluster_id="c",
        topics={"a": WorldTopic(id="i", assignment=((1,),), settings=None)},
        racks={1: None},
        unknown=frozenset({"group g"}),
        problems=("settings of a: broker 1 did not answer",),
    )
    found = plan(declared, there)
    assert found.steps == ()
    assert len(found.unknown) == 3


def test_selectors(tmp_path: Path) -> None:
    declared = load(
        tmp_path,
        "topics:\n  orders.a: {labels: {team: x}}\n  orders.b: {}\n  mail: {labels: {team: x}}\n",
    )

    def chosen(*texts: str) -> list[str]:
        return [
            step.topic for step in plan(declared, world(), selection=parse_selection(texts)).steps
        ]

    assert chosen("topic=orders*") == ["orders.a", "orders.b"]
    assert chosen("topic=orders*,label.team=x") == ["orders.a"]
    assert chosen("label.team=x") == ["mail", "orders.a"]
    assert chosen("topic=mail", "topic=orders.b") == ["mail", "orders.b"]
    assert chosen("kind=offsets") == []


TOPIC_NAMES = st.from_regex(r"[a-zA-Z0-9._-]{1,12}", fullmatch=True).filter(
    lambda name: name not in {".", ".."}
)
VALUES = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    lambda text: text.strip() == text
)


@st.composite
def exported_worlds(draw: st.DrawFn) -> World:
    topics = {}
    for name in draw(st.sets(TOPIC_NAMES, max_size=4)):
        replicas = st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True).map(tuple)
        own = draw(st.dictionaries(st.sampled_from(["cleanup.policy", "other"]), VALUES))
        topics[name] = WorldTopic(
            id="i",
            assignment=tuple(draw(st.lists(replicas, min_size=1, max_size=3))),
            settings={key: Setting(value, own=True) for key, value in own.items()},
        )
    offsets = {
        "g": {(name, 0): draw(st.integers(0, 2**40)) for name in topics if draw(st.booleans())}
    }
    racks = {1: "a", 2: None, 3: "b"}
    return World(cluster_id="c", topics=topics, racks=racks, offsets=offsets)


@settings(max_examples=60, deadline=None)
@given(exported_worlds(), st.booleans())
def test_what_is_exported_applies_back_with_no_difference(
    tmp_path_factory: pytest.TempPathFactory, there: World, placement: bool
) -> None:
    folder = tmp_path_factory.mktemp("exported")
    declared = load(folder, to_yaml(exported(there, placement=placement)))
    found = plan(declared, there, prune=True)
    assert (found.steps, found.refusals, found.unknown) == ((), (), ())


KEYS = ["topics", "groups", "policies", "defaults", "variables", "protect", "include"]
KEYS += ["users", "acls", "quotas", "protect_principals"]
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("${x}"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "partitions", "configs", "offsets", "at", "match", "${x}"])
            | st.sampled_from(["principal", "allow", "topic", "cluster", "host", "state"])
            | st.sampled_from(["password", "mechanisms", "user", "ip", "limits"])
            | st.text(max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=120, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), PLAIN) | PLAIN)
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    folder = tmp_path_factory.mktemp("any")
    try:
        declared = load(folder, yaml.safe_dump(data))
    except SpecError:
        return
    assert all(isinstance(topic, DeclaredTopic) for topic in declared.topics.values())
    plan(declared, world(a=existing()), prune=True)


@pytest.mark.parametrize("text", ["", "topics:\n", "protect: [x]\n", "users: {}\n"])
def test_a_file_without_topics_prunes_no_topic(tmp_path: Path, text: str) -> None:
    declared = load(tmp_path, text)
    found = plan(declared, world(a=existing()), prune=True)
    assert found.steps == ()
    assert "no file has a section `topics`, so no topic is pruned" in found.notes
    assert declared.is_empty == (text in {"", "topics:\n"})


def test_an_empty_section_prunes_all(tmp_path: Path) -> None:
    declared = load(tmp_path, "topics: {}\n")
    assert not declared.is_empty
    assert [step.topic for step in plan(declared, world(a=existing()), prune=True).steps] == ["a"]
