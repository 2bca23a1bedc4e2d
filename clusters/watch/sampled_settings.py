"""The settings of topics that say how they stand, for a feed that cannot read the metadata log.

Asks for min.insync.replicas alone, of a bounded number of topics at a time: those that are new
first, then those that were asked longest ago. Must never keep the samples themselves waiting for
long, and never fail them: what is refused is not known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ErrorCode, RequestTimedOut, UnsupportedVersion
from broker.protocol.image import RESOURCE_TOPIC, MetadataImage
from broker.protocol.struct import Struct

MIN_ISR = "min.insync.replicas"
TOPICS_AT_ONCE = 200
ASK_EVERY_MS = 10_000
ANSWER_WITHIN_MS = 3_000
PAUSE_MS = 60_000
SET_ON_TOPIC = 1


class SampledSettings:
    """What topics have set themselves, as last told. `look` is its only change."""

    def __init__(self) -> None:
        # None where a topic has the setting of its brokers.
        self._told: dict[str, str | None] = {}
        self._asked_ms: dict[str, int] = {}
        self._paused_until_ms = 0

    async def look(self, connection: BrokerConnection, topics: Collection[str], now_ms: int) -> int:
        """Ask for what is new or old; returns how many topics were asked for (monotonic clock).

        Raises ConnectionFailed when the connection is gone.
        """
        for gone in self._asked_ms.keys() - set(topics):
            del self._asked_ms[gone]
            self._told.pop(gone, None)
        due = [
            name
            for name in topics
            if name not in self._asked_ms or now_ms - self._asked_ms[name] >= ASK_EVERY_MS
        ]
        if not due or now_ms < self._paused_until_ms:
            return 0
        due = sorted(due, key=lambda name: (self._asked_ms.get(name, -1), name))[:TOPICS_AT_ONCE]
        self._asked_ms.update(dict.fromkeys(due, now_ms))
        try:
            answer = await connection.request(
                ApiKey.DESCRIBE_CONFIGS, _question(due), timeout_ms=ANSWER_WITHIN_MS
            )
        except (RequestTimedOut, UnsupportedVersion):
            self._paused_until_ms = now_ms + PAUSE_MS
            return len(due)
        for result in answer.results:
            if result.error_code == ErrorCode.none:
                self._told[result.resource_name] = _own_value(result.configs)
        return len(due)

    def known(self) -> frozenset[str]:
        """Topics that were answered for."""
        return frozenset(self._told)

    def put_into(self, image: MetadataImage) -> MetadataImage:
        """The image with what topics have set."""
        configs: dict[tuple[int, str], Mapping[str, str]] = {
            (RESOURCE_TOPIC, name): {MIN_ISR: value}
            for name, value in self._told.items()
            if value is not None and name in image.topics
        }
        return replace(image, configs=configs)


def _question(topics: Collection[str]) -> Struct:
    return Struct(
        resources=[
            Struct(resource_type=RESOURCE_TOPIC, resource_name=name, configuration_keys=[MIN_ISR])
            for name in topics
        ],
        include_synonyms=False,
        include_documentation=False,
    )


def _own_value(configs: Collection[Struct]) -> str | None:
    for each in configs:
        if each.name == MIN_ISR and each.config_source == SET_ON_TOPIC:
            return str(each.value)
    return None


def as_if_known(before: MetadataImage, after: MetadataImage, new: Collection[str]) -> MetadataImage:
    """`before` with the settings of topics that were answered for only now: none changed."""
    configs = dict(before.configs)
    for name in new:
        key = (RESOURCE_TOPIC, name)
        if key in after.configs:
            configs[key] = after.configs[key]
    return replace(before, configs=configs)
