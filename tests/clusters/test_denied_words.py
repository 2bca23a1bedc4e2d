"""A refusal names who may not do what with what, and the command that allows it."""

from __future__ import annotations

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from clusters.admin.denied import denied_words, without_way

TOPIC, GROUP = ErrorCode.topic_authorization_failed, ErrorCode.group_authorization_failed
CLUSTER = ErrorCode.cluster_authorization_failed


@pytest.mark.parametrize(
    ("api_key", "code", "name", "way"),
    [
        (ApiKey.OFFSET_COMMIT, GROUP, "app", "--group app --operation read"),
        (ApiKey.OFFSET_COMMIT, TOPIC, "orders", "--topic orders --operation read"),
        (ApiKey.OFFSET_DELETE, GROUP, "app", "--group app --operation delete"),
        (ApiKey.OFFSET_DELETE, TOPIC, "orders", "--topic orders --operation read"),
        (ApiKey.PRODUCE, TOPIC, "orders", "--topic orders --operation write"),
        (ApiKey.FETCH, TOPIC, "-o d", "--topic '-o d' --operation read"),
        (ApiKey.JOIN_GROUP, GROUP, "app", "--group app --operation read"),
        (ApiKey.UNREGISTER_BROKER, CLUSTER, "", "--cluster --operation alter"),
    ],
)
def test_the_way_is_a_command_that_can_be_taken_out(api_key, code, name, way) -> None:
    said, command = without_way(denied_words(api_key, code, "User:viewer", name))
    assert command == f"logctl acl add User:viewer {way}"
    assert said.startswith("User:viewer may not ")
    assert said.endswith(f"({code.name.upper()})")


def test_what_is_no_refusal_has_no_way() -> None:
    assert without_way(denied_words(ApiKey.FETCH, ErrorCode.not_leader_or_follower, "x")) == (
        denied_words(ApiKey.FETCH, ErrorCode.not_leader_or_follower, "x"),
        "",
    )
