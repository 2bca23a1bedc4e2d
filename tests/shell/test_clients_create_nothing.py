"""Readers and writers ask where topics are, and never make one by asking."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer

from benchmarks.peers import Logd
from clusters.admin import AdminClient
from shell import group_reading, producing, reading
from shell.client_metadata import only_ask
from tests.real_kafka import until_up

GONE = "gone"


@pytest.mark.parametrize("module", [reading, group_reading, producing])
def test_what_reads_and_writes_has_its_client_only_ask(module) -> None:
    assert module.only_ask is only_ask


async def asks_for_what_is_gone(bootstrap: list[str], admin: AdminClient, *, only: bool) -> bool:
    """Whether the topic is there again after a reader of it has asked three times."""
    await admin.create_topic(GONE, 1, 1)
    consumer = AIOKafkaConsumer(
        GONE, bootstrap_servers=bootstrap, group_id=None, metadata_max_age_ms=100
    )
    if only:
        only_ask(consumer._client)
    await consumer.start()
    try:
        await admin.delete_topic(GONE)
        for _ in range(3):
            await asyncio.wait_for(consumer._client.force_metadata_update(), 30)
        return GONE in [each.topic for each in await admin.topics()]
    finally:
        await consumer.stop()


@pytest.mark.interop
async def test_an_open_reader_does_not_bring_a_deleted_topic_back() -> None:
    with Logd(1) as cluster:
        bootstrap = cluster.bootstrap.split(",")
        await until_up(bootstrap, 1)
        async with AdminClient(bootstrap, timeout_ms=30_000) as admin:
            assert not await asks_for_what_is_gone(bootstrap, admin, only=True)
            # Other clients of the process keep the leave that they have.
            assert await asks_for_what_is_gone(bootstrap, admin, only=False)
