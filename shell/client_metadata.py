"""Keeps a client of aiokafka from creating a topic by asking where it is.

Its requests for metadata let brokers create what they name (auto.create.topics.enable, on by
default in Kafka): a reader that is open while a topic is deleted would bring it back, empty, with
settings that nobody chose. Must leave every other client of the process as it is.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from aiokafka import client
from aiokafka.protocol.metadata import MetadataRequest

_asks_only: ContextVar[bool] = ContextVar("asks_only", default=False)


def only_ask(asking: Any) -> None:
    """Have this client (`AIOKafkaClient`, of a reader or a writer) ask without leave to create."""
    client.MetadataRequest = _request
    update = asking._metadata_update

    async def ask(*args: Any) -> Any:
        token = _asks_only.set(True)
        try:
            return await update(*args)
        finally:
            _asks_only.reset(token)

    asking._metadata_update = ask


def _request(topics: list[str] | None = None) -> MetadataRequest:
    return MetadataRequest(topics, False if _asks_only.get() else None)
