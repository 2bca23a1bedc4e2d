"""Readers and writers ask where topics are, and never make one by asking."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, client
from aiokafka.protocol.metadata import MetadataRequest_v4, MetadataRequest_v5

from benchmarks.peers import Logd
from clusters.admin import AdminClient
from shell import group_reading, producing, reading
from tests.real_kafka import until_up

GONE = "gone"


@pytest.mark.parametrize("module", [reading, group_reading, producing])
def test_a_request_for_metadata_gives_no_leave_to_create(module) -> None:
    assert module
    for version in (MetadataRequest_v4, MetadataRequest_v5):
        request = client.MetadataRequest(["orders"]).build(version)
        assert request.allow_auto_topic_creation is False


@pytest.mark.interop
async def test_an_open_reader_does_not_bring_a_deleted_topic_back() -> None:
    with Logd(1) as cluster:
        bootstrap = cluster.bootstrap.split(",")
        await until_up(bootstrap, 1)
        async with AdminClient(bootstrap, timeout_ms=30_000) as admin:
            await admin.create_topic(GONE, 1, 1)
            consumer = AIOKafkaConsumer(
                GONE, bootstrap_servers=bootstrap, group_id=None, metadata_max_age_ms=100
            )
            await consumer.start()
            try:
                await admin.delete_topic(GONE)
                # It has asked for the topic again, and again after that answer.
                for _ in range(3):
                    await asyncio.wait_for(consumer._client.force_metadata_update(), 30)
                assert GONE not in [each.topic for each in await admin.topics()]
            finally:
                await consumer.stop()
