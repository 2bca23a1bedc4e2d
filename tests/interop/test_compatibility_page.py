"""docs/compatibility.md says what the tests and the catalogue say, and nothing of its own."""

import json

import pytest

from benchmarks.peers import kafka_libs
from docs import compatibility
from tests.interop.conftest import absent
from tests.interop.console_tools import CLASSES
from tests.interop.roster import CLIENTS

pytestmark = pytest.mark.interop


def test_the_page_is_what_was_recorded() -> None:
    assert compatibility.disagreements() == []


def test_every_client_and_tool_has_its_row() -> None:
    assert set(compatibility.CLIENTS) == {client.name for client in CLIENTS} | {"kcat"}
    named = {word for row in compatibility.TOOLS for word in row.replace(",", " ").split()}
    assert set(CLASSES) <= named


def test_a_test_that_did_not_pass_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    kept = json.loads(compatibility.RECORD.read_text())
    test = compatibility.needed()[0]
    kept["tests"][test] = "failure"
    path = compatibility.Path(str(tmp_path)) / "kept.json"
    path.write_text(json.dumps(kept))
    monkeypatch.setattr(compatibility, "RECORD", path)
    assert compatibility.disagreements() == [f"failure: {test}"]


def test_the_versions_of_apache_kafka_are_those_of_its_jar() -> None:
    libs = kafka_libs()
    if libs is None or not libs.is_dir():
        absent("Apache Kafka's jars")
    assert libs is not None
    kept = json.loads(compatibility.KAFKA_APIS.read_text())
    assert compatibility.kafka_apis_of(libs) == kept
