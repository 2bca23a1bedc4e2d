"""Settings of brokers that change while they run: what is told, and what takes effect at once."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ConnectionFailed, ErrorCode, RequestTimedOut
from broker.protocol.struct import Struct
from broker.runtime.doors import AsyncioNetwork
from tests.unit.server.conftest import Cluster, until

MakeCluster = Callable[..., Cluster]
SET, DELETE = 0, 1
TOPIC, BROKER, LOGGER = 2, 4, 8


@pytest.fixture
async def three(make_cluster: MakeCluster) -> Cluster:
    cluster = make_cluster(3)
    await cluster.start()
    return cluster


async def change(
    cluster: Cluster, kind: int, name: str, node_id: int = 1, **settings: str | None
) -> tuple[ErrorCode, str | None]:
    configs = [
        Struct(
            name=key.replace("__", "."),
            config_operation=DELETE if value is None else SET,
            value=value,
        )
        for key, value in settings.items()
    ]
    answer = await cluster.ask(
        ApiKey.INCREMENTAL_ALTER_CONFIGS,
        node_id,
        resources=[Struct(resource_type=kind, resource_name=name, configs=configs)],
        validate_only=False,
    )
    (row,) = answer.responses
    return row.error_code, row.error_message


async def described(
    cluster: Cluster, kind: int, name: str, key: str, node_id: int = 1
) -> tuple[str | None, list[tuple[str, str, int]]]:
    """The value of one setting, and the places it may come from."""
    answer = await cluster.ask(
        ApiKey.DESCRIBE_CONFIGS,
        node_id,
        resources=[Struct(resource_type=kind, resource_name=name, configuration_keys=[key])],
        include_synonyms=True,
    )
    (result,) = answer.results
    assert result.error_code == ErrorCode.none, result.error_message
    (entry,) = result.configs
    return entry.value, [(s.name, s.value, s.source) for s in entry.synonyms]


async def wait_for(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_a_setting_of_one_broker_and_of_all(three: Cluster) -> None:
    name = "log.retention.ms"
    assert (await change(three, BROKER, "", log__retention__ms="6000"))[0] == ErrorCode.none
    assert (await change(three, BROKER, "1", log__retention__ms="5000"))[0] == ErrorCode.none

    async def arrived() -> bool:
        return (await described(three, BROKER, "2", name, 2))[0] == "6000"

    await wait_for(arrived)
    value, places = await described(three, BROKER, "1", name)
    assert (value, places[:2]) == ("5000", [(name, "5000", 2), (name, "6000", 3)])
    await three.create("t", 1, 3)
    value, places = await described(three, TOPIC, "t", "retention.ms")
    assert (value, places[0]) == ("5000", (name, "5000", 2))
    assert (await described(three, TOPIC, "t", "retention.ms", 2))[0] == "6000"
    log = three.brokers[1].logs.get("t", 0)
    assert log is not None
    assert log.config.retention_ms == 5000
    await change(three, BROKER, "1", log__retention__ms=None)
    await until(lambda: log.config.retention_ms == 6000)
    await change(three, BROKER, "", log__retention__ms=None)
    await until(lambda: log.config.retention_ms == 604_800_000)


async def test_only_the_broker_itself_takes_its_settings(three: Cluster) -> None:
    code, message = await change(three, BROKER, "2", log__retention__ms="1")
    assert (code, message) == (
        ErrorCode.invalid_request,
        "Unexpected broker id, expected 1, but received 2",
    )
    assert (await change(three, BROKER, "x", log__retention__ms="1"))[0] == (
        ErrorCode.invalid_request
    )
    assert (await change(three, BROKER, "2", 2, log__retention__ms="1"))[0] == ErrorCode.none


async def test_what_needs_a_restart_is_refused(three: Cluster) -> None:
    for key in ("node__id", "log__retention__hours", "auto__create__topics__enable"):
        code, message = await change(three, BROKER, "1", **{key: "1"})
        assert code == ErrorCode.invalid_request
        assert message is not None
        assert message.startswith("Cannot update these configs dynamically: [")


async def test_writes_obey_changed_limits_at_once(three: Cluster) -> None:
    topic_id = await three.create("t", 1, 1)
    leader = three.leader("t", 0)

    async def write() -> ErrorCode:
        return ErrorCode((await three.produce(leader, topic_id, 0, b"x" * 500)).error_code)

    assert await write() == ErrorCode.none
    await change(three, BROKER, "", message__max__bytes="300")

    async def too_large() -> bool:
        return await write() == ErrorCode.message_too_large

    await wait_for(too_large)
    await change(three, BROKER, "", message__max__bytes=None)

    async def accepted() -> bool:
        return await write() == ErrorCode.none

    await wait_for(accepted)


async def test_the_number_of_connections_follows_the_setting(three: Cluster) -> None:
    address = "127.0.0.1", three.client_ports[3]

    async def may_come() -> bool:
        try:
            connection = await BrokerConnection.open(AsyncioNetwork(), *address, timeout_ms=2000)
        except (ConnectionFailed, RequestTimedOut):
            return False
        connection.close()
        return True

    async def may_not_come() -> bool:
        return not await may_come()

    for key, value in (
        ("max__connections", "0"),
        ("max__connections__per__ip", "0"),
        ("max__connections__per__ip__overrides", "127.0.0.1:0"),
    ):
        assert await may_come()
        await three.connect(3)
        assert (await change(three, BROKER, "3", 3, **{key: value}))[0] == ErrorCode.none
        await wait_for(may_not_come)
        await change(three, BROKER, "3", 3, **{key: None})
        await wait_for(may_come)
    code, _ = await change(three, BROKER, "3", 3, max__connections__per__ip__overrides="a")
    assert code == ErrorCode.invalid_request


@pytest.fixture
def quiet_logger() -> Iterator[str]:
    name = "logd.test.levels"
    found = logging.getLogger(name)
    yield name
    found.setLevel(logging.NOTSET)


async def test_levels_of_loggers(three: Cluster, quiet_logger: str) -> None:
    key = quiet_logger.replace(".", "__")
    value, _ = await described(three, LOGGER, "1", quiet_logger)
    assert value in ("DEBUG", "INFO", "WARN")
    assert (await change(three, LOGGER, "1", **{key: "ERROR"}))[0] == ErrorCode.none
    assert (await described(three, LOGGER, "1", quiet_logger))[0] == "ERROR"
    assert logging.getLogger(quiet_logger).level == logging.ERROR
    assert (await change(three, LOGGER, "1", **{key: None}))[0] == ErrorCode.none
    assert logging.getLogger(quiet_logger).level == logging.NOTSET
    for name, settings, code in (
        ("1", {key: "LOUD"}, ErrorCode.invalid_config),
        ("1", {"logd__no__such": "INFO"}, ErrorCode.invalid_config),
        ("1", {"root": None}, ErrorCode.invalid_request),
        ("2", {key: "INFO"}, ErrorCode.invalid_request),
        ("", {key: "INFO"}, ErrorCode.invalid_request),
    ):
        assert (await change(three, LOGGER, name, **settings))[0] == code


async def test_resources_with_settings_are_listed(three: Cluster) -> None:
    await three.create("t", 1, 1)
    answer = await three.ask(ApiKey.LIST_CONFIG_RESOURCES, resource_types=[])
    found = [(each.resource_type, each.resource_name) for each in answer.config_resources]
    brokers = [(kind, node) for kind in (BROKER, LOGGER) for node in "123"]
    assert found == [(TOPIC, "t"), *brokers]
    only = await three.ask(ApiKey.LIST_CONFIG_RESOURCES, resource_types=[TOPIC])
    assert [each.resource_name for each in only.config_resources] == ["t"]
    none = await three.ask(ApiKey.LIST_CONFIG_RESOURCES, version=0)
    assert none.config_resources == []
    wrong = await three.ask(ApiKey.LIST_CONFIG_RESOURCES, resource_types=[77])
    assert wrong.error_code == ErrorCode.unsupported_version


async def test_feature_levels_stay_as_they_are(three: Cluster) -> None:
    async def update(feature: str, level: int) -> ErrorCode:
        answer = await three.ask(
            ApiKey.UPDATE_FEATURES,
            timeout_ms=5000,
            feature_updates=[Struct(feature=feature, max_version_level=level, upgrade_type=1)],
            validate_only=False,
        )
        return ErrorCode(answer.error_code)

    level = three.brokers[1].publisher.image.features["metadata.version"]
    assert await update("metadata.version", level) == ErrorCode.none
    assert await update("metadata.version", level + 1) == ErrorCode.invalid_update_version
    assert await update("kraft.version", 1) == ErrorCode.invalid_update_version
