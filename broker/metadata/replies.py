"""The answers that refuse a whole request, in the shape of each API the controller serves.

Pure. It must never leave an item unanswered: a client waits for a row per topic or resource.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from broker.metadata.decision import reply
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import ZERO_UUID, Struct

Refusal = Callable[[Struct, ErrorCode, str], Struct]


def refusal(api_key: int, request: Struct, code: ErrorCode, message: str) -> Struct:
    """The response that says ``code`` for everything that was asked."""
    return _REFUSALS[ApiKey(api_key)](request, code, message)


def _registration(request: Struct, code: ErrorCode, message: str) -> Struct:
    return reply(error_code=code, broker_epoch=-1)


def _heartbeat(request: Struct, code: ErrorCode, message: str) -> Struct:
    return reply(error_code=code, is_caught_up=False, is_fenced=True, should_shut_down=False)


def _unregister(request: Struct, code: ErrorCode, message: str) -> Struct:
    return reply(error_code=code, error_message=message)


def _create_topics(request: Struct, code: ErrorCode, message: str) -> Struct:
    names = dict.fromkeys(topic.name for topic in request.topics)
    rows = [
        Struct(
            name=name,
            topic_id=ZERO_UUID,
            error_code=code,
            error_message=message,
            topic_config_error_code=0,
            num_partitions=-1,
            replication_factor=-1,
            configs=[],
        )
        for name in names
    ]
    return reply(topics=rows)


def _delete_topics(request: Struct, code: ErrorCode, message: str) -> Struct:
    wanted = [(topic.name, topic.topic_id) for topic in request.get("topics") or ()]
    wanted += [(name, ZERO_UUID) for name in request.get("topic_names") or ()]
    rows = [
        Struct(name=name, topic_id=topic_id, error_code=code, error_message=message)
        for name, topic_id in dict.fromkeys(wanted)
    ]
    return reply(responses=rows)


def _create_partitions(request: Struct, code: ErrorCode, message: str) -> Struct:
    names = dict.fromkeys(topic.name for topic in request.topics)
    rows = [Struct(name=name, error_code=code, error_message=message) for name in names]
    return reply(results=rows)


def _alter_partition(request: Struct, code: ErrorCode, message: str) -> Struct:
    return reply(error_code=code, topics=[])


def _elect_leaders(request: Struct, code: ErrorCode, message: str) -> Struct:
    rows = [
        Struct(
            topic=topic.topic,
            partition_result=[
                Struct(partition_id=index, error_code=code, error_message=message)
                for index in topic.partitions
            ],
        )
        for topic in request.topic_partitions or ()
    ]
    return reply(error_code=code, replica_election_results=rows)


def _alter_reassignments(request: Struct, code: ErrorCode, message: str) -> Struct:
    return reply(
        allow_replication_factor_change=request.get("allow_replication_factor_change", True),
        error_code=code,
        error_message=message,
        responses=[],
    )


def _list_reassignments(request: Struct, code: ErrorCode, message: str) -> Struct:
    return reply(error_code=code, error_message=message, topics=[])


def _configs(request: Struct, code: ErrorCode, message: str) -> Struct:
    keys = dict.fromkeys((r.resource_type, r.resource_name) for r in request.resources)
    rows = [
        Struct(error_code=code, error_message=message, resource_type=kind, resource_name=name)
        for kind, name in keys
    ]
    return reply(responses=rows)


def _features(request: Struct, code: ErrorCode, message: str) -> Struct:
    return reply(error_code=code, error_message=message, results=[])


def _producer_ids(request: Struct, code: ErrorCode, message: str) -> Struct:
    return reply(error_code=code, producer_id_start=-1, producer_id_len=0)


_REFUSALS: Final[dict[ApiKey, Refusal]] = {
    ApiKey.BROKER_REGISTRATION: _registration,
    ApiKey.BROKER_HEARTBEAT: _heartbeat,
    ApiKey.UNREGISTER_BROKER: _unregister,
    ApiKey.CREATE_TOPICS: _create_topics,
    ApiKey.DELETE_TOPICS: _delete_topics,
    ApiKey.CREATE_PARTITIONS: _create_partitions,
    ApiKey.ALTER_PARTITION: _alter_partition,
    ApiKey.ELECT_LEADERS: _elect_leaders,
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: _alter_reassignments,
    ApiKey.LIST_PARTITION_REASSIGNMENTS: _list_reassignments,
    ApiKey.INCREMENTAL_ALTER_CONFIGS: _configs,
    ApiKey.ALTER_CONFIGS: _configs,
    ApiKey.UPDATE_FEATURES: _features,
    ApiKey.ALLOCATE_PRODUCER_IDS: _producer_ids,
}
