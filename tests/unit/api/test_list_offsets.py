"""ListOffsets says in the words of the asked version that the latest offset is not known yet."""

from types import SimpleNamespace

import pytest

from broker.api.list_offsets import API
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct


class JustElected:
    """A leader whose high watermark has not reached the start of its epoch."""

    def list_offset(self, topic: str, partition: int, timestamp: int, **_: object) -> Struct:
        return Struct(
            error=ErrorCode.offset_not_available, timestamp_ms=-1, offset=-1, leader_epoch=-1
        )


@pytest.mark.parametrize(
    ("version", "code"),
    [
        (3, ErrorCode.leader_not_available),
        (4, ErrorCode.leader_not_available),
        (5, ErrorCode.offset_not_available),
        (11, ErrorCode.offset_not_available),
    ],
)
async def test_after_an_election_the_client_is_told_to_ask_again(
    version: int, code: ErrorCode
) -> None:
    asked = Struct(partition_index=0, current_leader_epoch=-1, timestamp=-1)
    request = Struct(
        replica_id=-1, isolation_level=0, topics=[Struct(name="orders", partitions=[asked])]
    )
    answer = await API.handler(
        SimpleNamespace(partitions=JustElected()), SimpleNamespace(api_version=version), request
    )
    told = answer.topics[0].partitions[0].error_code
    assert told == code
    assert told.retriable
