"""A node made of fakes: a real image, settings and registry, no quorum and no logs."""

import random
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from broker.api.catalogue import served_apis
from broker.api.node import Node
from broker.api.registry import RequestContext
from broker.config import BrokerConfig
from broker.protocol import metadata_records as rec
from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import decode_request, decode_response, encode_request, encode_response
from broker.protocol.headers import decode_response_header
from broker.protocol.image import EMPTY_IMAGE, MetadataImage, apply
from broker.protocol.struct import Struct
from broker.runtime.doors import SystemClock
from broker.runtime.publisher import MetadataPublisher

ORDERS_ID = UUID(int=0xA0)
EVENTS_ID = UUID(int=0xE0)


def broker_record(broker_id: int, *, fenced: bool = False, names: Sequence[str] = ("PLAINTEXT",)):  # type: ignore[no-untyped-def]
    return rec.RegisterBrokerRecord(
        broker_id=broker_id,
        incarnation_id=UUID(int=broker_id),
        broker_epoch=broker_id,
        end_points=tuple(
            rec.BrokerEndpoint(
                name=name, host=f"b{broker_id}.{name.lower()}", port=9000 + broker_id
            )
            for name in names
        ),
        features=(),
        rack=f"r{broker_id}",
        fenced=fenced,
    )


def partition(topic_id: UUID, index: int, leader: int, replicas: Sequence[int], **more: Any) -> Any:
    return rec.PartitionRecord(
        topic_id=topic_id,
        partition_id=index,
        replicas=tuple(replicas),
        isr=tuple(replicas),
        leader=leader,
        leader_epoch=5,
        partition_epoch=6,
        **more,
    )


def image_of(records: Sequence[Any]) -> MetadataImage:
    image, _ = apply(EMPTY_IMAGE, 0, 1, records)
    return image


STANDARD = [
    rec.FeatureLevelRecord(name="metadata.version", feature_level=25),
    broker_record(1, names=("PLAINTEXT", "OUTSIDE")),
    broker_record(2),
    broker_record(3, fenced=True),
    rec.TopicRecord(name="orders", topic_id=ORDERS_ID),
    partition(ORDERS_ID, 0, 1, [1, 2, 3]),
    partition(ORDERS_ID, 1, 2, [2, 3, 1]),
    partition(ORDERS_ID, 2, 3, [3]),
    rec.TopicRecord(name="events", topic_id=EVENTS_ID),
    partition(EVENTS_ID, 0, -1, [3]),
]


class FakeChannel:
    """Answers what the test says, and notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[ApiKey, Struct]] = []
        self.answer: Callable[[Struct], Struct] | None = None

    async def send(self, api_key: ApiKey, request: Struct, timeout_ms: int) -> Struct:
        self.asked.append((api_key, request))
        assert self.answer is not None, "the controller was asked unexpectedly"
        return self.answer(request)


class Caller:
    """Calls handlers the way a connection does: through the codec, at a version."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.channel: FakeChannel = node.channel  # type: ignore[assignment]

    async def __call__(
        self,
        key: ApiKey,
        version: int,
        *,
        listener: str = "PLAINTEXT",
        role: str = "broker",
        **body: Any,
    ) -> Struct:
        api = self.node.registry.find(key, role)
        assert api is not None
        assert api.accepts(version)
        request = decode_request(key, version, encode_request(key, version, Struct(**body)))
        context = RequestContext(
            api_key=key,
            api_version=version,
            correlation_id=1,
            client_id="test",
            listener=listener,
            role=role,
            peer="test:1",
            connection=None,
        )
        reply = await api.handler(self.node, context, request)
        if isinstance(reply, list):
            frame = b"".join(bytes(each) for each in reply)[4:]
            _, offset = decode_response_header(key, version, frame)
            return decode_response(key, version, frame, offset)
        assert isinstance(reply, Struct)
        return decode_response(key, version, encode_response(key, version, reply))


@pytest.fixture
def call() -> Caller:
    config = BrokerConfig.from_properties(
        {
            "node.id": "1",
            "process.roles": "broker,controller",
            "listeners": "PLAINTEXT://127.0.0.1:9001,CONTROLLER://127.0.0.1:9101",
            "controller.quorum.voters": "1@127.0.0.1:9101,2@127.0.0.1:9102",
            "log.dirs": "/data",
            "cluster.id": "test-cluster",
            "num.partitions": "4",
        }
    )
    publisher = MetadataPublisher(lambda reason: None)
    publisher.image = image_of(STANDARD)
    leader = SimpleNamespace(leader_id=2, epoch=3)
    fakes: dict[str, Any] = {
        "clock": SystemClock(),
        "disk": None,
        "quorum": SimpleNamespace(leader=leader),
        "controller": None,
        "logs": None,
        "channel": FakeChannel(),
    }
    node = Node(
        config=config,
        registry=served_apis(),
        rng=random.Random(1),
        publisher=publisher,
        **fakes,
    )
    return Caller(node)
