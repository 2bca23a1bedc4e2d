"""The comparison itself: a difference is found, generated values and order are not one."""

from typing import Any
from uuid import UUID

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.batch import iter_batches
from broker.protocol.codec import decode_request, encode_request
from tests.differential import bodies
from tests.differential.cases import BadCase, Versions, read_cases
from tests.differential.compare import (
    MISSING,
    Allowance,
    Difference,
    Normaliser,
    Rules,
    differences,
    judge,
)
from tests.differential.play import pick

NOW = 1_700_000_000_000


def compared(api: str, kafka: Any, logd: Any) -> list[Difference]:
    rules = Rules.load()
    sides = [Normaliser(rules, NOW).answer(api, plain) for plain in (kafka, logd)]
    return list(differences(sides[0], sides[1], api))


def test_a_field_that_differs_is_named() -> None:
    found = compared("HEARTBEAT", {"error_code": 25}, {"error_code": 22})
    assert found == [Difference("HEARTBEAT.error_code", 25, 22)]
    assert str(found[0]) == "HEARTBEAT.error_code: Apache Kafka 25, logd 22"


def test_messages_and_throttling_do_not_count() -> None:
    kafka = {"throttle_time_ms": 5, "error_message": "no", "error_code": 1}
    assert compared("HEARTBEAT", kafka, {**kafka, "throttle_time_ms": 0, "error_message": ""}) == []


def topics(*rows: tuple[str, int, int]) -> dict[str, Any]:
    return {
        "topics": [
            {"name": name, "topic_id": UUID(int=number), "error_code": code}
            for name, number, code in rows
        ]
    }


def test_order_and_generated_ids_do_not_count_but_which_is_which_does() -> None:
    kafka = topics(("diff-a", 1, 0), ("diff-b", 2, 3))
    assert compared("CREATE_TOPICS", kafka, topics(("diff-b", 8, 3), ("diff-a", 9, 0))) == []
    same_id = compared("CREATE_TOPICS", kafka, topics(("diff-a", 9, 0), ("diff-b", 9, 3)))
    assert [each.path for each in same_id] == ["CREATE_TOPICS.topics[diff-b].topic_id"]
    fewer = compared("CREATE_TOPICS", kafka, topics(("diff-a", 1, 0)))
    assert [(each.path, each.logd) for each in fewer] == [("CREATE_TOPICS.topics[diff-b]", MISSING)]


def test_topics_of_nobody_do_not_count() -> None:
    kafka = topics(("diff-a", 1, 0), ("__consumer_offsets", 5, 0))
    assert compared("METADATA", kafka, topics(("diff-a", 3, 0))) == []


def test_an_allowance_covers_its_case_and_its_values_alone() -> None:
    allowance = Allowance(paths=["FETCH.*.code"], reason="because", cases=["one*"], kafka=1)
    found = [Difference("FETCH.a.code", 1, 2), Difference("FETCH.a.code", 3, 2)]
    assert judge("one-case", found, [allowance]) == [found[1]]
    assert judge("another", found, [allowance]) == found
    assert allowance.used == 1


@pytest.mark.parametrize(
    ("text", "versions"),
    [("all", [2, 3, 4, 5]), (3, [3]), ("4-", [4, 5]), ("-3", [2, 3]), ([2, "5-9"], [2, 5])],
)
def test_versions(text: Any, versions: list[int]) -> None:
    assert Versions.read(text).of(2, 5) == versions


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{name: a, api: FETCH, body: {}, extra: 1}", "unknown keys extra"),
        ("{name: a, api: FETHC, body: {}}", "FETHC"),
        ("{name: a, api: FETCH}", "either body or steps"),
        ("{name: a, api: FETCH, body: {}, versions: x-y}", "no range"),
        ("{name: a, api: FETCH, steps: [{bdoy: {}}]}", "unknown keys bdoy"),
    ],
)
def test_a_wrong_entry_is_named(entry: str, problem: str) -> None:
    with pytest.raises(BadCase, match=problem) as raised:
        read_cases(f"- {entry}", "some.yaml")
    assert str(raised.value).startswith("some.yaml: a")


def test_bodies_are_filled_and_turned_into_what_the_schema_wants() -> None:
    entry = {
        "acks": 1,
        "topic_data": [
            {
                "topic_id": "$id",
                "partition_data": [
                    {
                        "index": "$at",
                        "records": [{"records": ["a", ["k", "$word"]], "timestamp": "${at+4}"}],
                    }
                ],
            }
        ],
    }
    values = {"id": UUID(int=7), "at": 1, "word": "x"}
    body = bodies.body(ApiKey.PRODUCE, 13, entry, values)
    sent = decode_request(ApiKey.PRODUCE, 13, encode_request(ApiKey.PRODUCE, 13, body))
    topic = sent.topic_data[0]
    assert topic.topic_id == UUID(int=7)
    assert topic.partition_data[0].index == 1
    (_, header), *rest = iter_batches(topic.partition_data[0].records)
    assert (header.records_count, header.base_timestamp_ms, rest) == (2, 5, [])
    with pytest.raises(KeyError, match="no variable is called nobody"):
        bodies.body(ApiKey.PRODUCE, 13, {"acks": "$nobody"}, values)
    with pytest.raises(KeyError, match="no fields ack"):
        bodies.body(ApiKey.PRODUCE, 13, {"ack": 1}, values)


def test_paths() -> None:
    value = {"configs": [{"name": "a.b", "value": 1}, {"name": "c", "value": 2}]}
    assert pick(value, "configs.1.value") == 2
    assert pick(value, "configs.{name=a.b}.value") == 1
