"""Users, access rules and quotas in files: what is read, planned, refused, and written down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.admin.acl_model import OPERATIONS, RESOURCE_TYPES, Acl
from clusters.admin.quota_model import DEFAULT, entity, limits_of
from clusters.declared import Declared, Step, World, load_declared, parse_selection, plan
from clusters.declared.access_executing import read_passwords
from clusters.declared.access_model import AccessWorld
from clusters.declared.exporting import exported, to_yaml
from clusters.declared.steps import Kind, Progress, entity_of, progress
from clusters.errors import SpecError

NOTHING = AccessWorld(users={}, acls=frozenset(), quotas={})


def load(folder: Path, text: str, **given_values: Any) -> Declared:
    path = folder / "s.yaml"
    path.write_text(text, encoding="utf-8")
    return load_declared([str(path)], given=given_values, environ={})


def world(access: AccessWorld = NOTHING, **more: Any) -> World:
    return World(cluster_id="c", access=replace(access, **more))


def refusals(declared: Declared, there: World, **more: Any) -> list[str]:
    return [str(each).rpartition("s.yaml:")[2] for each in plan(declared, there, **more).refusals]


def rule(principal: str = "User:a", operation: str = "read", **more: Any) -> Acl:
    given_values = {"permission": "allow", "resource": "topic", "name": "t"} | more
    return Acl(principal=principal, operation=operation, **given_values)


def done(step: Step, there: World) -> World:
    """The world after a step, as brokers would have it."""
    access = there.access
    if step.section == "users":
        own = dict((access.users or {}).get(step.name, {}))
        for mechanism, iterations in step.after["mechanisms"].items():
            if iterations is None:
                del own[mechanism]
            else:
                own[mechanism] = iterations
        users = {**(access.users or {}), step.name: own}
        access = replace(access, users={name: each for name, each in users.items() if each})
    elif step.section == "acls":
        rules = frozenset(map(Acl.from_json, step.after["acls"]))
        acls = access.acls or frozenset()
        access = replace(access, acls=acls | rules if step.kind is Kind.ADD_ACLS else acls - rules)
    else:
        limits = dict((access.quotas or {}).get(entity_of(step), {}))
        for name, value in step.after["limits"].items():
            if value is None:
                del limits[name]
            else:
                limits[name] = value
        quotas = {**(access.quotas or {}), entity_of(step): limits}
        access = replace(access, quotas={who: each for who, each in quotas.items() if each})
    return replace(there, access=access)


def test_everything_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load(
            tmp_path,
            "users:\n"
            "  a: {password: hunter2}\n"
            "  b: {mechanisms: SCRAM-SHA-1}\n"
            "  c: {iterations: 100}\n"
            "  d: {state: absent, rotate: true}\n"
            "acls:\n"
            "  - {principal: a, allow: reed, topic: t}\n"
            "  - {principal: a, topic: t}\n"
            "  - {principal: a, allow: read}\n"
            "  - {principal: 'User:', allow: read, topic: t}\n"
            "  - {principal: a, allow: read, topics: t}\n"
            "  - {principal: b, allow: write, topic: t}\n"
            "  - {principal: b, allow: write, topic: t, state: absent}\n"
            "quotas:\n"
            "  - {user: a, limits: {consumer_byt_rate: 1}}\n"
            "  - {user: a, ip: 10.0.0.1, limits: {consumer_byte_rate: 1}}\n"
            "  - {ip: 10.0.0.1, limits: {connection_creation_rate: 0}}\n"
            "  - {client-id: x}\n",
        )
    told = str(caught.value)
    for line, words in (
        (2, "must name the source of the password"),
        (3, '"SCRAM-SHA-1" is no mechanism'),
        (4, "100 is out of range"),
        (5, "what is absent has no rotate"),
        (7, 'did you mean "read"?'),
        (8, "give either `allow` or `deny`"),
        (9, "names no resource"),
        (10, "names nobody"),
        (11, 'did you mean "topic"?'),
        (13, "is declared the other way at"),
        (15, 'did you mean "consumer_byte_rate"?'),
        (16, "has no user and no client-id"),
        (17, "greater than 0"),
        (18, "names no limits"),
    ):
        assert any(f"s.yaml:{line}:" in each and words in each for each in told.splitlines()), (
            line,
            words,
            told,
        )
    # What stands where a source should be may be the password.
    assert "hunter2" not in told


def test_a_password_is_asked_for_only_where_one_must_be_set(tmp_path: Path) -> None:
    text = "users:\n  a: {password: 'env:PW'}\n  b: {}\n"
    declared = load(tmp_path, text)
    there = {"a": {"SCRAM-SHA-512": 4096}, "b": {"SCRAM-SHA-512": 8192}}
    assert plan(declared, world(users=there)).steps == ()
    found = plan(declared, world(users={"b": there["b"]}))
    assert [(step.kind, step.name) for step in found.steps] == [("set user", "a")]
    assert found.steps[0].after == {"mechanisms": {"SCRAM-SHA-512": 8192}, "password": "env:PW"}
    assert read_passwords(found.steps, None, {"PW": "x"}) == {"env:PW": "x"}
    with pytest.raises(SpecError, match=r"s\.yaml:2: user a: .*PW is not set"):
        read_passwords(found.steps, None, {})
    # What is done already needs none.
    assert (
        read_passwords(found.steps, world(users=there | {"a": {"SCRAM-SHA-512": 8192}}), {}) == {}
    )
    assert "no password is named" in refusals(declared, world(users={"a": there["a"]}))[0]


def test_a_password_is_set_anew_only_when_that_is_asked_for(tmp_path: Path) -> None:
    text = "users:\n  a: {password: 'env:PW', rotate: \"${rotate:-false}\"}\n"
    there = world(users={"a": {"SCRAM-SHA-512": 4096}})
    assert plan(load(tmp_path, text), there).steps == ()
    (step,) = plan(load(tmp_path, text, rotate=True), there).steps
    assert step.after["mechanisms"] == {"SCRAM-SHA-512": 4096}
    assert progress(step, there)[0] is Progress.PENDING
    changed = load(tmp_path, "users:\n  a: {password: 'env:PW', iterations: 8192}\n")
    (step,) = plan(changed, there).steps
    assert step.reasons == ("SCRAM-SHA-512 has 4096 iterations, 8192 declared",)


def test_pruning_is_for_sections_that_files_have(tmp_path: Path) -> None:
    there = world(
        users={"b": {"SCRAM-SHA-512": 4096}},
        acls=frozenset({rule("User:b")}),
        quotas={entity({"ip": None}): {"connection_creation_rate": 1.0}},
    )
    assert plan(load(tmp_path, "topics: {}\n"), there, prune=True).steps == ()
    whole = load(tmp_path, "users: {}\nacls: []\nquotas: []\n")
    assert plan(whole, there).steps == ()
    found = [step.kind for step in plan(whole, there, prune=True).steps]
    assert found == ["set quota", "remove acls", "delete user"]
    only = plan(whole, there, prune=True, selection=parse_selection(["kind=acl,principal=User:b"]))
    assert [step.kind for step in only.steps] == ["remove acls"]
    assert plan(whole, there, prune=True, selection=parse_selection(["user=c"])).steps == ()


@pytest.mark.parametrize(
    ("own", "protect", "told"),
    [
        ("User:b", "", ["3: pruning would remove rules of User:b, and this is applied as User:b"]),
        (None, "", ["3: pruning would remove rules of User:b, and only the brokers know"]),
        ("User:b", "protect_principals: ['User:b']\n", []),
        (None, "protect_principals: ['User:b']\n", []),
    ],
)
def test_pruning_never_takes_the_rules_of_whom_it_is_done_for(
    tmp_path: Path, own: str | None, protect: str, told: list[str]
) -> None:
    there = world(acls=frozenset({rule("User:b"), rule("User:b", "write")}), principal=own)
    first = protect or "topics: {}\n"
    declared = load(tmp_path, f"{first}users: {{}}\nacls: []\n")
    found = plan(declared, there, prune=True)
    assert found.steps == ()
    assert len(found.refusals) == len(told)
    for refusal, words in zip(found.refusals, told, strict=True):
        assert words in str(refusal)
    if protect:
        assert "left alone" in found.notes[0]


def test_rules_for_everybody_may_be_what_lets_one_in(tmp_path: Path) -> None:
    there = world(acls=frozenset({rule("User:*"), rule("User:*", permission="deny")}))
    found = plan(load(tmp_path, "acls: []\n"), there, prune=True)
    assert "lock yourself out" in str(found.refusals[0])
    named = "acls:\n  - {principal: 'User:*', allow: read, topic: t, state: absent}\n"
    found = plan(load(tmp_path, named), there)
    assert found.refusals == ()
    assert [step.after["acls"] for step in found.steps] == [[rule("User:*").to_json()]]


def test_what_is_declared_absent_of_oneself_is_refused(tmp_path: Path) -> None:
    there = world(
        users={"me": {"SCRAM-SHA-512": 4096}},
        acls=frozenset({rule("User:me")}),
        principal="User:me",
    )
    text = "users:\n  me: {state: absent}\nacls:\n"
    text += "  - {principal: me, allow: read, topic: t, state: absent}\n"
    assert [each.split(":")[0] for each in refusals(load(tmp_path, text), there)] == ["2", "4"]


def test_a_cluster_without_them_refuses_at_the_section(tmp_path: Path) -> None:
    there = World(cluster_id="c", access=AccessWorld(unserved={"acls": "There are none here."}))
    declared = load(tmp_path, "topics: {}\nacls:\n  - {principal: a, allow: read, topic: t}\n")
    assert refusals(declared, there) == [
        "2: acls cannot be declared for this cluster. There are none here."
    ]
    assert refusals(declared, there, selection=parse_selection(["kind=topic"])) == []
    unknown = World(cluster_id="c")
    assert plan(declared, unknown).unknown == ("acls: not known",)


NAMES = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters=":"),
    min_size=1,
    max_size=8,
).filter(lambda text: text.strip() == text and text not in {DEFAULT, "me"})


@st.composite
def rules(draw: st.DrawFn) -> Acl:
    resource = draw(st.sampled_from(sorted(RESOURCE_TYPES)))
    cluster = resource == "cluster"
    return Acl(
        principal=f"User:{draw(NAMES)}",
        permission=draw(st.sampled_from(["allow", "deny"])),
        operation=draw(st.sampled_from(sorted(OPERATIONS))),
        resource=resource,
        name="kafka-cluster" if cluster else draw(NAMES | st.just("*")),
        pattern="literal" if cluster else draw(st.sampled_from(["literal", "prefixed"])),
        host=draw(st.sampled_from(["*", "10.0.0.1", "::1"])),
    )


@st.composite
def quotas(draw: st.DrawFn) -> tuple[Any, dict[str, float]]:
    name = st.none() | NAMES
    parts = draw(
        st.fixed_dictionaries({"ip": name})
        | st.fixed_dictionaries({"user": name}, optional={"client-id": name})
        | st.fixed_dictionaries({"client-id": name})
    )
    who = entity(parts)
    limits = draw(
        st.dictionaries(st.sampled_from(limits_of(who)), st.integers(1, 2**40), min_size=1)
    )
    return who, {key: float(value) for key, value in limits.items()}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    mechanisms = st.dictionaries(
        st.sampled_from(["SCRAM-SHA-256", "SCRAM-SHA-512"]), st.integers(4096, 16384), min_size=1
    )
    users = draw(st.dictionaries(NAMES.filter(lambda n: not n.startswith("User")), mechanisms))
    return world(
        users=users,
        acls=frozenset(draw(st.sets(rules(), max_size=6))),
        quotas=dict(draw(st.lists(quotas(), max_size=3, unique_by=lambda each: each[0]))),
        principal="User:me",
    )


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_what_is_exported_applies_back(
    tmp_path_factory: pytest.TempPathFactory, there: World
) -> None:
    declared = load(tmp_path_factory.mktemp("exported"), to_yaml(exported(there)))
    found = plan(declared, there, prune=True)
    assert (found.steps, found.refusals, found.unknown) == ((), (), ())


@settings(max_examples=60, deadline=None)
@given(worlds(), worlds())
def test_doing_a_plan_leaves_no_difference(
    tmp_path_factory: pytest.TempPathFactory, wanted: World, there: World
) -> None:
    """From any world to any other, by a plan that went through a file, step by step."""
    data = exported(wanted)
    for user in data.get("users", {}).values():
        user["password"] = "env:PW"
    for section in ("users", "acls", "quotas"):
        data.setdefault(section, {} if section == "users" else [])
    declared = load(tmp_path_factory.mktemp("wanted"), to_yaml(data))
    found = plan(declared, there, prune=True)
    assert found.refusals == () or any(
        each.principal == "User:*" for each in there.access.acls or ()
    )
    steps = [Step.from_json(json.loads(json.dumps(step.to_json()))) for step in found.steps]
    assert steps == list(found.steps)
    now = there
    for step in steps:
        assert progress(step, now)[0] is Progress.PENDING
        now = done(step, now)
        assert progress(step, now)[0] is Progress.DONE
    if not found.refusals:
        assert plan(declared, now, prune=True).steps == ()
        assert now.access == wanted.access
