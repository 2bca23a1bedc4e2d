"""The JSON schema of runbooks takes what the loader takes, and refuses what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from shell.commands import all_commands
from shell.runbook.schema import runbook_schema

RUNBOOKS = sorted((Path(__file__).parents[2] / "examples" / "runbooks").glob("*.yaml"))


@pytest.fixture(scope="module")
def schema():
    found = json.loads(json.dumps(runbook_schema(all_commands())))
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_the_examples_fit_the_schema(schema, path):
    schema.validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("steps", "fits"),
    [
        (["topic list"], True),
        ([{"run": "topic list", "expect": [0, 3], "save": "found", "retry": 2}], True),
        ([{"run": "topic list", "retry": "${times}"}], True),
        ([{"for_each": "${found}", "steps": ["topic list"], "on_failure": "continue"}], True),
        ([{"run": "topic list", "x-note": [1]}], True),
        ([{"run": "topic list", "message": "of assert alone"}], False),
        ([{"run": "topic list", "retry": "often"}], False),
        ([{"run": "topic list", "on_failure": "explode"}], False),
        ([{"run": "topic list", "expect": "zero"}], False),
        ([{"run": "topic list", "timeout": 30}], False),
        ([{"for_each": "found", "steps": ["topic list"]}], False),
        ([{"name": "does nothing"}], False),
        ([{"say": "a", "confirm": "b"}], False),
        ([{"steps": [{"stepz": []}]}], False),
        ([7], False),
        ([], False),
    ],
)
def test_schema_and_loader_agree_on_a_step(schema, logctl, tmp_path, steps, fits):
    path = tmp_path / "runbook.yaml"
    path.write_text(
        yaml.safe_dump({"runbook": "t", "variables": {"times": 1, "found": "a"}, "steps": steps})
    )
    assert schema.is_valid(yaml.safe_load(path.read_text())) is fits
    assert (logctl("run", "--check", str(path)).code == 0) is fits


def test_the_command_prints_the_schema_and_needs_no_cluster(logctl):
    assert json.loads(logctl("run", "--schema").out) == runbook_schema(all_commands())


def test_without_a_file_it_says_that_one_is_missing(logctl):
    done = logctl("run")
    assert done.code == 2
    assert "A file is missing" in done.err
