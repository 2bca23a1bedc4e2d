"""What the coordinator is asked with, and what it decides. Plain data, nothing else.

A decision's records are appended as they stand and replayed at once; its `replies` go out at once,
and what depends on the records goes out by `after`, once they are committed or have failed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from broker.groups.records import CoordinatorRecord
from broker.protocol.errors import ErrorCode, LogctlError

# Whoever asks hands in something by which the answer finds its way back. The core only keeps it.
Ticket: TypeAlias = Any


class Instant(NamedTuple):
    """Now, on both clocks: the monotonic one for deadlines, the wall clock for what is stored."""

    monotonic_ms: int
    wall_ms: int


class Caller(NamedTuple):
    """Who asks: its client id, its host as Kafka prints it ("/127.0.0.1"), the API version."""

    client_id: str
    host: str
    api_version: int


class Randomness(Protocol):
    """Where member ids come from; `random.Random` is one."""

    def getrandbits(self, k: int, /) -> int:
        """`k` random bits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """The broker settings of the coordinator, with Kafka's defaults."""

    initial_rebalance_delay_ms: int = 3_000
    session_timeout_ms_min: int = 6_000
    session_timeout_ms_max: int = 1_800_000
    members_max: int = 0x7FFFFFFF
    # A new member does not know its id yet and sends no heartbeats, so its join counts as one.
    new_member_join_ms: int = 300_000
    offset_metadata_chars_max: int = 4_096
    offsets_retention_ms: int = 7 * 24 * 3600 * 1000
    retention_check_interval_ms: int = 600_000


class Trace(NamedTuple):
    """Something worth a log line."""

    message: str
    fields: dict[str, Any]


class After(Protocol):
    """What follows once a decision's records are decided."""

    def committed(self, at: Instant) -> "Decision":
        """They are on every in-sync replica."""
        ...

    def failed(self, code: ErrorCode, at: Instant) -> "Decision":
        """They were refused, or it is not known in time whether they survive."""
        ...


@dataclass(slots=True)
class Decision:
    """Records to write, replies to send now, and what to do once the records are decided."""

    records: list[CoordinatorRecord] = field(default_factory=list)
    replies: list[tuple[Ticket, Any]] = field(default_factory=list)
    after: After | None = None
    traces: list[Trace] = field(default_factory=list)

    def reply(self, ticket: Ticket, answer: Any) -> None:
        """Send `answer` to whoever holds `ticket`, now."""
        self.replies.append((ticket, answer))

    def trace(self, message: str, **fields: Any) -> None:
        """Note something for the log."""
        self.traces.append(Trace(message, fields))

    def answer_after(
        self, ticket: Ticket, answer: Any, failure: Callable[[ErrorCode], Any]
    ) -> None:
        """Answer once the records are committed; at once when there are none."""
        assert self.after is None, "a decision has one continuation"
        if self.records:
            self.after = Answer(ticket, answer, failure)
        else:
            self.replies.append((ticket, answer))


@dataclass(frozen=True, slots=True)
class Answer:
    """An After that only answers: `answer` when committed, else `failure(code)`."""

    ticket: Ticket
    answer: Any
    failure: Callable[[ErrorCode], Any]

    def committed(self, at: Instant) -> Decision:
        """See After."""
        del at
        return Decision(replies=[(self.ticket, self.answer)])

    def failed(self, code: ErrorCode, at: Instant) -> Decision:
        """See After."""
        del at
        return Decision(replies=[(self.ticket, self.failure(client_error(code)))])


class GroupError(LogctlError):
    """A request that the coordinator refuses; `code` is the wire error."""

    def __init__(self, code: ErrorCode, message: str = "") -> None:
        super().__init__(message or code.name)
        self.code = code


_NOT_AVAILABLE = frozenset(
    {
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.not_enough_replicas,
        ErrorCode.not_enough_replicas_after_append,
        ErrorCode.request_timed_out,
    }
)
_MOVED = frozenset({ErrorCode.not_leader_or_follower, ErrorCode.kafka_storage_error})
_TOO_LARGE = frozenset(
    {
        ErrorCode.message_too_large,
        ErrorCode.record_list_too_large,
        ErrorCode.invalid_fetch_size,
    }
)


def client_error(code: ErrorCode) -> ErrorCode:
    """What a failed append means to a group's client: retry, look for the coordinator, or give up.

    Source: CoordinatorOperationExceptionHelper of Apache Kafka.
    """
    if code in _NOT_AVAILABLE:
        return ErrorCode.coordinator_not_available
    if code in _MOVED:
        return ErrorCode.not_coordinator
    if code in _TOO_LARGE:
        return ErrorCode.unknown_server_error
    return code
