"""Errors of the admin client, worded for the reader."""

from __future__ import annotations

from collections.abc import Sequence

from broker.protocol.errors import ConnectionFailed, ErrorCode, LogctlError

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
    "non_empty_group": "the group has members; stop them first",
    "unknown_member_id": "the group has members; stop them first",
    "group_subscribed_to_topic": "members of the group read that topic",
    "group_id_not_found": "there is no such group",
    "invalid_group_id": "the name of the group is not allowed",
    "group_authorization_failed": "this user may not do that with the group",
    "coordinator_not_available": "the coordinator is not available",
    "not_coordinator": "the coordinator is just moving; try again",
    "coordinator_load_in_progress": "the coordinator is reading its log; try again",
    "offset_out_of_range": "the offset lies outside of the partition",
    "no_reassignment_in_progress": "no replicas of it are moving",
    "not_leader_or_follower": "the leader is just moving; try again",
    "kafka_storage_error": "its log dir failed",
    "broker_id_not_registered": "no broker of that id is registered",
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


class UnknownGroup(AdminError):
    """There is no group of that name; `group` is the name that was asked for."""

    def __init__(self, group: str, hint: str = "") -> None:
        self.group = group
        super().__init__(
            f'There is no group "{group}"{"; " + hint if hint else ""}',
            code=int(ErrorCode.group_id_not_found),
        )


class WrongCluster(AdminError):
    """Another cluster answers than the one that was pinned."""

    def __init__(self, pinned: str, found: str, address: str) -> None:
        self.pinned, self.found = pinned, found
        super().__init__(
            f"{address} belongs to the cluster {found}, but {pinned} was expected; nothing was "
            "asked or changed"
        )


class ClusterUnreachable(AdminError):
    """No broker answered; `attempts` lists every address that was tried, and why it failed."""

    WORDS = "The cluster is not reachable. Tried"

    def __init__(self, attempts: Sequence[tuple[str, str]]) -> None:
        self.attempts = list(attempts)
        tried = "; ".join(f"{address}: {reason}" for address, reason in self.attempts)
        super().__init__(f"{self.WORDS} {tried or 'no address'}")


class ControllerSilent(ClusterUnreachable):
    """A broker is there and passed on what only a controller can answer, which did not come."""

    WORDS = (
        "No controller answered in time, and only a controller can do this. `cluster status` tells "
        "which brokers are away: most of those that are controllers have to run. Tried"
    )


class AccessRefused(ClusterUnreachable):
    """A broker answered and does not let this user in: asking others or again is of no use."""

    WORDS = "The cluster does not let this client in."


class AuthenticationRefused(ConnectionFailed):
    """A peer that does not take what proves who we are; not to be tried again at once."""
