"""Keeps aiokafka's clients from creating a topic by asking where it is.

Its requests for metadata let brokers create what they name (auto.create.topics.enable, on by
default in Kafka): a reader that is open while a topic is deleted would bring it back, empty, with
settings that nobody chose. Imported where its clients are made.
"""

from __future__ import annotations

from functools import partial

from aiokafka import client
from aiokafka.protocol.metadata import MetadataRequest


def only_ask() -> None:
    """Ask without leave to create; doing it again does nothing."""
    if client.MetadataRequest is MetadataRequest:
        client.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)
