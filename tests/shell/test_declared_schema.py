"""The JSON schema of declared files takes what the loader takes, and refuses what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from clusters.declared import load_declared
from clusters.declared.schema import declared_schema
from clusters.errors import SpecError

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "examples" / "state").glob("*.yaml"))
BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "declared-state.md").read_text(), re.S)


@pytest.fixture(scope="module")
def schema():
    found = json.loads(json.dumps(declared_schema()))
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def plain(text):
    """What the schema sees: keys are text, as an editor has them."""
    return json.loads(json.dumps(yaml.safe_load(text)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_examples_fit_the_schema(schema, path):
    schema.validate(plain(path.read_text()))


@pytest.mark.parametrize("text", BLOCKS, ids=range(len(BLOCKS)))
def test_what_the_guide_shows_fits_the_schema(schema, text):
    schema.validate(plain(text))


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("topics: {a: {partitions: 3, configs: {retention.ms: 7d, cleanup.policy: null}}}", True),
        ("topics: {a: }", True),
        ("variables: {n: 3}\ntopics: {a: {partitions: '${n}', placement: racks}}", True),
        ("topics: {a: {assignment: [[1, 2], [2, 1]], x-owner: [me]}}", True),
        ("groups: {g: {topics: {a: {offsets: {0: 5}}}}}", True),
        ("acls: [{principal: b, allow: DESCRIBE_CONFIGS, topic: a}]", True),
        ("quotas: [{user: <default>, limits: {producer_byte_rate: 1MiB}}]", True),
        ("topics: {a: {partitions: 0}}", False),
        ("topics: {a: {partitions: many}}", False),
        ("topics: {a: {replication: 101}}", False),
        ("topics: {a: {partition: 3}}", False),
        ("topics: {a: {placement: {broker: [1]}}}", False),
        ("topics: {a: {state: gone}}", False),
        ("topics: {a: {protect: maybe}}", False),
        ("groups: {g: {topics: {a: {at: earliest, when: never}}}}", False),
        ("acls: [{principal: b, allow: reed, topic: a}]", False),
        ("users: {b: {password: 'env:P', iterations: 1}}", False),
        ("policies: [{match: '*', replication: {least: 2}}]", False),
        ("tropics: {}", False),
    ],
)
def test_schema_and_loader_agree(schema, tmp_path, text, fits):
    path = tmp_path / "state.yaml"
    path.write_text(text)
    try:
        load_declared([str(path)])
        loads = True
    except SpecError:
        loads = False
    assert (schema.is_valid(plain(text)), loads) == (fits, fits)


def test_the_command_prints_the_schema_and_needs_no_cluster(logctl):
    assert json.loads(logctl("diff", "--schema").out) == declared_schema()


def test_without_a_file_it_says_that_one_is_missing(logctl):
    done = logctl("diff")
    assert done.code == 2
    assert "A file is missing" in done.err
