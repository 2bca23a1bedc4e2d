"""A controller with a log in memory: every decision is appended and replayed, as in life."""

import random
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from broker.metadata.controller import Controller
from broker.metadata.decision import ControllerConfig, Decision
from broker.protocol.errors import ErrorCode
from broker.protocol.image import EMPTY_IMAGE, MetadataImage, PartitionState, TopicImage, apply
from broker.protocol.metadata_records import decode_record, encode_record
from broker.protocol.struct import Struct

CLUSTER_ID = "test-cluster"
EPOCH = 3


class World:
    """Requests in Kafka's words; records go through their bytes on the way to the image."""

    def __init__(self, seed: int = 1, **config: Any) -> None:
        self.config = ControllerConfig(cluster_id=CLUSTER_ID, node_id=1, **config)
        self.controller = Controller(self.config, random.Random(seed))
        self.log: list[tuple[int, tuple[Any, ...]]] = []
        self.next_offset = 0
        self.now_ms = 1_000
        self.epochs: dict[int, int] = {}
        self.incarnations: dict[int, uuid.UUID] = {}
        self.controller.activate(EMPTY_IMAGE, self.now_ms)
        self.do(self.controller.bootstrap())

    @property
    def image(self) -> MetadataImage:
        return self.controller.image

    def do(self, decision: Decision) -> Struct:
        records = tuple(decode_record(encode_record(r)) for r in decision.records)
        assert list(records) == decision.records, "a record does not survive its encoding"
        if records:
            self.log.append((self.next_offset, records))
            self.controller.replay(self.next_offset, EPOCH, records, self.now_ms)
            self.next_offset += len(records)
        return decision.reply

    def replayed(self) -> MetadataImage:
        """A follower's image: the log applied from the start."""
        image = EMPTY_IMAGE
        for base_offset, records in self.log:
            image, _ = apply(image, base_offset, EPOCH, records)
        return image

    def pass_ms(self, ms: int) -> None:
        """Let time go by, ticking as often as the controller asks to."""
        end = self.now_ms + ms
        while True:
            wakeup = self.controller.next_wakeup_ms()
            if wakeup is None or wakeup > end:
                break
            self.now_ms = max(self.now_ms, wakeup)
            decision = self.controller.tick(self.now_ms)
            self.do(decision)
            later = self.controller.next_wakeup_ms()
            assert decision.records or later is None or later > self.now_ms, "tick spins"
        self.now_ms = end

    def register(self, broker_id: int, **fields: Any) -> Struct:
        self.incarnations.setdefault(broker_id, uuid.UUID(int=100 + broker_id))
        body = {
            "broker_id": broker_id,
            "cluster_id": CLUSTER_ID,
            "incarnation_id": self.incarnations[broker_id],
            "listeners": [
                Struct(name="PLAINTEXT", host="h", port=9000 + broker_id, security_protocol=0)
            ],
            "features": [],
            "rack": None,
            "log_dirs": [uuid.UUID(int=500 + broker_id)],
            "previous_broker_epoch": -1,
            **fields,
        }
        answer = self.do(
            self.controller.decide_register_broker(Struct(**body), self.now_ms, self.next_offset)
        )
        if answer.error_code == ErrorCode.none:
            self.epochs[broker_id] = answer.broker_epoch
            self.incarnations[broker_id] = body["incarnation_id"]
        return answer

    def beat(self, broker_id: int, **fields: Any) -> Struct:
        body = {
            "broker_id": broker_id,
            "broker_epoch": self.epochs.get(broker_id, -1),
            "current_metadata_offset": self.next_offset - 1,
            "want_fence": False,
            "want_shut_down": False,
            **fields,
        }
        return self.do(
            self.controller.decide_heartbeat(Struct(**body), self.now_ms, self.next_offset)
        )

    def start(self, *broker_ids: int, racks: dict[int, str] | None = None) -> None:
        """Register and unfence brokers."""
        for broker_id in broker_ids:
            answer = self.register(broker_id, rack=(racks or {}).get(broker_id))
            assert answer.error_code == ErrorCode.none
        for broker_id in broker_ids:
            assert not self.beat(broker_id).is_fenced

    def restart(self, broker_id: int) -> Struct:
        """A new process under the same id."""
        self.incarnations[broker_id] = uuid.UUID(int=self.incarnations[broker_id].int + 1000)
        return self.register(broker_id)

    def create(self, name: str, partitions: int = 1, factor: int = 1, **fields: Any) -> Struct:
        validate_only = fields.pop("validate_only", False)
        topic = {
            "name": name,
            "num_partitions": partitions,
            "replication_factor": factor,
            "assignments": [],
            "configs": [],
            **fields,
        }
        return self.create_many(Struct(**topic), validate_only=validate_only).topics[0]

    def create_many(self, *topics: Struct, validate_only: bool = False) -> Struct:
        body = Struct(topics=list(topics), timeout_ms=1000, validate_only=validate_only)
        return self.do(self.controller.decide_create_topics(body, self.now_ms))

    def assigned(self, name: str, *replicas: tuple[int, ...], **configs: str) -> TopicImage:
        """Create a topic on exactly these replicas."""
        row = self.create(
            name,
            -1,
            -1,
            assignments=[
                Struct(partition_index=i, broker_ids=list(r)) for i, r in enumerate(replicas)
            ],
            configs=[Struct(name=n.replace("_", "."), value=v) for n, v in configs.items()],
        )
        assert row.error_code == ErrorCode.none, row
        return self.image.topics[name]

    def state(self, topic: str, index: int = 0) -> PartitionState:
        state = self.image.partition(topic, index)
        assert state is not None
        return state

    def alter(
        self, topic: str, isr: list[int], index: int = 0, *, by: int | None = None, **fields: Any
    ) -> Struct:
        """AlterPartition as the leader sends it; the row of the partition, or the whole answer."""
        image = self.image.topics[topic]
        state = image.partitions[index]
        leader = state.leader if by is None else by
        part = {
            "partition_index": index,
            "leader_epoch": state.leader_epoch,
            "new_isr_with_epochs": [
                Struct(broker_id=b, broker_epoch=self.epochs.get(b, -1)) for b in isr
            ],
            "leader_recovery_state": 0,
            "partition_epoch": state.partition_epoch,
            **fields,
        }
        answer = self.do(
            self.controller.decide_alter_partition(
                Struct(
                    broker_id=leader,
                    broker_epoch=self.epochs[leader],
                    topics=[Struct(topic_id=image.id, partitions=[Struct(**part)])],
                ),
                self.now_ms,
            )
        )
        return answer.topics[0].partitions[0] if answer.topics else answer


@pytest.fixture
def make_world() -> Callable[..., World]:
    return World


@pytest.fixture
def world() -> World:
    """Three brokers, all unfenced."""
    world = World()
    world.start(1, 2, 3)
    return world
