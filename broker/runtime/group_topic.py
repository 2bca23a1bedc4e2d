"""Creates __consumer_offsets when a client first looks for a coordinator.

As in Kafka the topic gets the number of replicas that offsets.topic.replication.factor asks for or
none at all: while there are too few brokers the controller refuses, and clients keep trying. It
must never create the topic twice at a time.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, WireError
from broker.protocol.struct import Struct
from broker.runtime.groups import OFFSETS_TOPIC

if TYPE_CHECKING:
    from broker.api.node import Node

log = logging.getLogger("logd.groups")

CREATE_TIMEOUT_MS = 5_000
KNOWN_HERE_MS = 2_000
_CREATED = (ErrorCode.none, ErrorCode.topic_already_exists)


class OffsetsTopic:
    """The topic's creation; one attempt at a time, shared by everybody who waits for it."""

    def __init__(self) -> None:
        self._attempt: asyncio.Task[bool] | None = None
        self._reported: ErrorCode | int | None = None

    async def ensure(self, node: "Node") -> bool:
        """Whether this broker knows the topic, after an attempt to create it if need be."""
        if OFFSETS_TOPIC in node.image.topics:
            return True
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.create_task(self._create(node), name="groups-topic")
        # A client that goes away must not end what others wait for.
        return await asyncio.shield(self._attempt)

    async def _create(self, node: "Node") -> bool:
        settings = node.settings
        request = Struct(
            topics=[
                Struct(
                    name=OFFSETS_TOPIC,
                    num_partitions=settings.integer("offsets.topic.num.partitions"),
                    replication_factor=settings.integer("offsets.topic.replication.factor"),
                    assignments=[],
                    configs=[
                        Struct(name="cleanup.policy", value="compact"),
                        Struct(name="compression.type", value="producer"),
                        Struct(
                            name="segment.bytes",
                            value=str(settings.integer("offsets.topic.segment.bytes")),
                        ),
                    ],
                )
            ],
            timeout_ms=CREATE_TIMEOUT_MS,
            validate_only=False,
        )
        try:
            response = await node.ask_controller(ApiKey.CREATE_TOPICS, request, CREATE_TIMEOUT_MS)
        except WireError as error:
            log.warning("%s cannot be created: %s", OFFSETS_TOPIC, error)
            return False
        (answer,) = response.topics
        if answer.error_code not in _CREATED:
            self._report(answer)
            return False
        self._reported = None
        return await node.publisher.wait_until(
            lambda image: OFFSETS_TOPIC in image.topics, KNOWN_HERE_MS
        )

    def _report(self, answer: Struct) -> None:
        """Clients ask many times a second: say each reason once."""
        if self._reported != answer.error_code:
            self._reported = answer.error_code
            log.warning(
                "consumer groups cannot be served: %s cannot be created",
                OFFSETS_TOPIC,
                extra={"reason": answer.error_message},
            )
