"""What is served, what is announced, and what is said to be missing."""

import re
from pathlib import Path

import pytest

import broker.api
from broker.api.catalogue import served_apis
from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import supported_versions

API_FOLDER = Path(broker.api.__file__).parent
NOT_APIS = {"__init__", "catalogue", "forwarded", "node", "own_resources", "registry"}


def skipped() -> dict[int, str]:
    text = (API_FOLDER / "skipped.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\w+) \|", text, re.MULTILINE)
    assert len(rows) == len(dict(rows)), "a key stands twice in skipped.md"
    return {int(key): name for key, name in rows}


def test_every_api_key_is_either_served_or_listed_as_skipped() -> None:
    served = {int(key) for key in served_apis().apis}
    listed = skipped()
    assert served & set(listed) == set()
    assert served | set(listed) == {int(key) for key in ApiKey}
    assert {key: ApiKey(key).name for key in listed} == listed


def test_every_module_of_the_folder_is_in_the_catalogue_under_its_own_name() -> None:
    modules = {path.stem for path in API_FOLDER.glob("*.py")} - NOT_APIS
    assert modules == {key.name.lower() for key in map(ApiKey, served_apis().apis)}


def test_no_version_is_served_that_the_codec_cannot_read() -> None:
    for key, api in served_apis().apis.items():
        low, high = supported_versions(key)
        assert low <= api.min_version <= api.max_version <= high, ApiKey(key).name


@pytest.mark.parametrize(
    ("key", "versions"),
    [
        (ApiKey.PRODUCE, (0, 13)),
        (ApiKey.FETCH, (4, 18)),
        (ApiKey.LIST_OFFSETS, (1, 11)),
        (ApiKey.METADATA, (0, 13)),
        (ApiKey.API_VERSIONS, (0, 4)),
        (ApiKey.INIT_PRODUCER_ID, (0, 5)),
        (ApiKey.CREATE_TOPICS, (2, 7)),
        (ApiKey.DELETE_TOPICS, (1, 6)),
        (ApiKey.DESCRIBE_CONFIGS, (1, 4)),
        (ApiKey.OFFSET_FOR_LEADER_EPOCH, (2, 4)),
    ],
)
def test_clients_are_told_the_versions_of_kafka(key: ApiKey, versions: tuple[int, int]) -> None:
    assert served_apis().versions("broker")[key] == versions


def test_each_listener_announces_only_its_own_apis() -> None:
    registry = served_apis()
    clients, controllers = registry.versions("broker"), registry.versions("controller")
    internal = {
        ApiKey.VOTE,
        ApiKey.BEGIN_QUORUM_EPOCH,
        ApiKey.END_QUORUM_EPOCH,
        ApiKey.FETCH_SNAPSHOT,
        ApiKey.BROKER_REGISTRATION,
        ApiKey.BROKER_HEARTBEAT,
        ApiKey.ALTER_PARTITION,
        ApiKey.ALLOCATE_PRODUCER_IDS,
    }
    assert internal & set(clients) == set()
    assert internal <= set(controllers)
    assert ApiKey.PRODUCE not in controllers
    assert ApiKey.METADATA not in controllers
    assert registry.find(ApiKey.VOTE, "broker") is None


def test_no_transaction_api_is_announced() -> None:
    announced = set(served_apis().versions("broker"))
    assert announced.isdisjoint({24, 25, 26, 27, 28, 65, 66})
