"""Changes of settings are answered once the broker that answers has applied them itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.protocol import metadata_records as rec
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.image import RESOURCE_TOPIC
from broker.protocol.struct import Struct
from tests.own_time import own_s
from tests.unit.api.conftest import Caller

SET, DELETE, APPEND, SUBTRACT = range(4)
STORED = [("retention.ms", "1000"), ("cleanup.policy", "compact")]


class Batch:
    """What the quorum delivers."""

    epoch = 1

    def __init__(self, offset: int, records: list[Any]) -> None:
        self.base_offset, self.records = offset, records
        self.last_offset = offset + len(records) - 1


def commit(call: Caller, *settings: tuple[str, str | None]) -> None:
    publisher = call.node.publisher
    records = [
        rec.ConfigRecord(resource_type=RESOURCE_TOPIC, resource_name="orders", name=n, value=v)
        for n, v in settings
    ]
    publisher.on_committed(Batch(publisher.image.offset + 1, records))


@pytest.fixture
def stored(call: Caller) -> Caller:
    """A broker that knows settings of `orders`, and a controller that agrees to any change."""
    call.node.publisher._applied = call.node.publisher.image
    commit(call, *STORED)
    call.channel.answer = lambda request: Struct(
        responses=[
            Struct(
                error_code=ErrorCode.none,
                error_message=None,
                resource_type=each.resource_type,
                resource_name=each.resource_name,
            )
            for each in request.resources
        ]
    )
    return call


def altering(call: Caller, *changes: tuple[str, int, str | None], only: bool = False):
    configs = [Struct(name=n, config_operation=o, value=v) for n, o, v in changes]
    resource = Struct(resource_type=RESOURCE_TOPIC, resource_name="orders", configs=configs)
    return asyncio.create_task(
        call(ApiKey.INCREMENTAL_ALTER_CONFIGS, 1, resources=[resource], validate_only=only)
    )


async def still_waits(call: Caller, task: asyncio.Task[Struct]) -> None:
    """The controller has answered, and the client has not been."""
    async with asyncio.timeout(60):
        while not call.channel.asked:
            await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()


async def answered(task: asyncio.Task[Struct]) -> None:
    async with asyncio.timeout(60):
        (row,) = (await task).responses
    assert row.error_code == ErrorCode.none


@pytest.mark.parametrize(
    ("change", "record"),
    [
        (("retention.ms", SET, "2000"), ("retention.ms", "2000")),
        (("retention.ms", DELETE, None), ("retention.ms", None)),
        (("cleanup.policy", APPEND, "delete"), ("cleanup.policy", "compact,delete")),
        (("cleanup.policy", SUBTRACT, "compact"), ("cleanup.policy", "")),
    ],
)
async def test_an_operation_is_answered_once_it_is_known_here(stored, change, record) -> None:
    task = altering(stored, change)
    await still_waits(stored, task)
    commit(stored, ("segment.bytes", "1048576"))
    await still_waits(stored, task)
    commit(stored, record)
    await answered(task)


async def test_a_replacement_is_answered_once_all_of_it_is_known_here(stored) -> None:
    configs = [Struct(name="segment.bytes", value="1048576")]
    resource = Struct(resource_type=RESOURCE_TOPIC, resource_name="orders", configs=configs)
    task = asyncio.create_task(
        stored(ApiKey.ALTER_CONFIGS, 2, resources=[resource], validate_only=False)
    )
    await still_waits(stored, task)
    commit(stored, ("segment.bytes", "1048576"))
    await still_waits(stored, task)
    commit(stored, ("retention.ms", None), ("cleanup.policy", None))
    await answered(task)


@pytest.mark.parametrize(
    "change",
    [
        ("retention.ms", SET, "1000"),
        ("segment.ms", DELETE, None),
        ("cleanup.policy", APPEND, "compact"),
        ("cleanup.policy", SUBTRACT, "delete"),
    ],
)
async def test_what_changes_nothing_or_is_only_checked_is_answered_at_once(stored, change) -> None:
    begun = own_s()
    await answered(altering(stored, change))
    await answered(altering(stored, ("retention.ms", SET, "3000"), only=True))
    assert own_s() - begun < 0.9


async def test_a_broker_that_lags_answers_in_the_end(stored) -> None:
    await answered(altering(stored, ("retention.ms", SET, "2000")))
