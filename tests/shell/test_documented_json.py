"""Every command that writes data has an example of its JSON, which the reference shows."""

from __future__ import annotations

import json
from dataclasses import asdict, fields

import pytest

from clusters.bundle.model import Bundle
from clusters.operation_results import Destroyed, DownResult
from clusters.phases.host_checks import CheckResult
from shell.commands import all_commands
from tests.shell.golden_shapes import GOLDEN, check_shape, fitting, shape

# Commands without data: what they say is for people. Those of an open surface have its own form.
WITHOUT_DATA = {
    "broker start", "broker unregister", "cluster init", "completion",
    "context add", "context remove", "context use", "dash", "demo", "export", "group delete",
    "group delete-offsets", "help", "topic alter", "topic clone", "topic create", "topic delete",
    "wait",
}  # fmt: skip

# They have examples of their own, with the cases that they are tested with.
ELSEWHERE = ("acl ", "quota ", "user ")


def test_each_command_has_an_example_of_its_json_or_writes_none():
    missing = [
        name
        for name in all_commands().commands
        if name not in WITHOUT_DATA
        and not name.startswith(ELSEWHERE)
        and not (GOLDEN / f"{name.replace(' ', '-')}.json").exists()
    ]
    assert not missing
    assert set(all_commands().commands) >= WITHOUT_DATA


def test_what_takes_long_to_come_has_the_documented_fields():
    check_shape("bundle-build", dict.fromkeys(field.name for field in fields(Bundle)))
    down = DownResult(changed=True, stopped=(1,), killed=()).to_json()
    check_shape("cluster-down", {"event": "result", **down}, last=True)
    check_shape("cluster-destroy", {"event": "result", **asdict(Destroyed())}, last=True)
    check = CheckResult(host="h", broker_id=1, check="c", state="ok", message="m")
    check_shape("cluster-check", [check.to_json()])
    for same in ("restart", "upgrade", "rollback"):
        example = json.loads((GOLDEN / f"cluster-{same}.json").read_text())
        check_shape("cluster-up", example)


@pytest.mark.parametrize(
    ("found", "wanted", "fits"),
    [
        ({"a": 1}, {"a": "x"}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([{"a": None}, {"a": {"b": 1}}], [{"a": {"b": 2}}], True),
        ([{"a": {"c": 1}}], [{"a": {"b": 2}}], False),
        ([], [{"a": 1}], True),
    ],
)
def test_shapes_are_compared_by_their_fields(found, wanted, fits):
    assert fitting(shape(found), shape(wanted)) is fits
