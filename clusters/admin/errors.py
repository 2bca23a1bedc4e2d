"""Errors of the admin client, worded for the reader."""

from __future__ import annotations

from collections.abc import Sequence

from broker.protocol.errors import ErrorCode, LogctlError

_WORDS: dict[str, str] = {
    "unknown_topic_or_partition": "there is no such topic or partition",
    "unknown_topic_id": "there is no such topic",
    "topic_already_exists": "the topic already exists",
    "invalid_topic_exception": "the topic name is not allowed",
    "invalid_partitions": "the number of partitions is not possible",
    "invalid_replication_factor": "not enough brokers run for that replication factor",
    "invalid_replica_assignment": "the replica assignment is not possible",
    "invalid_config": "a setting is not valid",
    "not_controller": "the controller is just moving; try again",
    "request_timed_out": "the cluster did not finish in time; it may still do it",
    "cluster_authorization_failed": "this user may not do that on the cluster",
    "topic_authorization_failed": "this user may not do that on the topic",
    "topic_deletion_disabled": "the brokers do not allow to delete topics (delete.topic.enable)",
    "policy_violation": "a policy of the cluster forbids it",
    "election_not_needed": "no election is needed",
    "preferred_leader_not_available": "the preferred leader is not in sync or not running",
    "eligible_leaders_not_available": "no replica that could lead is running",
    "unsupported_version": "the broker does not support this request",
    "broker_not_available": "no broker can do it now",
}


def code_name(code: int) -> str:
    """Kafka's name of an error code, in capitals."""
    name = code.name if isinstance(code, ErrorCode) else f"error_{code}"
    return name.upper()


def code_words(code: int, message: str | None = None) -> str:
    """What an error code means, in words; the server's own message wins."""
    name = code_name(code)
    words = (message or "").strip().rstrip(".")
    if not words:
        words = _WORDS.get(name.lower(), name.lower().replace("_", " "))
    return f"{words} ({name})"


class AdminError(LogctlError):
    """The cluster refused or could not do what was asked. `code` is Kafka's error code or None."""

    def __init__(self, text: str, *, code: int | None = None) -> None:
        self.code = code
        super().__init__(text)


class UnknownTopic(AdminError):
    """There is no topic of that name; `topic` is the name that was asked for."""

    def __init__(self, topic: str, hint: str = "") -> None:
        self.topic = topic
        super().__init__(
            f'There is no topic "{topic}"{"; " + hint if hint else ""}',
            code=int(ErrorCode.unknown_topic_or_partition),
        )


class ClusterUnreachable(AdminError):
    """No broker answered; `attempts` lists every address that was tried, and why it failed."""

    def __init__(self, attempts: Sequence[tuple[str, str]]) -> None:
        self.attempts = list(attempts)
        tried = "; ".join(f"{address}: {reason}" for address, reason in self.attempts)
        super().__init__(f"The cluster is not reachable. Tried {tried or 'no address'}")
