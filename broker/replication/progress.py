"""What the leader knows about one follower."""

from broker.replication.ports import UNKNOWN_OFFSET

NEVER_MS = -(1 << 60)


class FollowerProgress:
    """One follower, as of its last fetch in this leader epoch."""

    __slots__ = (
        "broker_epoch",
        "last_caught_up_ms",
        "last_fetch_leader_end_offset",
        "last_fetch_ms",
        "log_end_offset",
        "log_start_offset",
        "replica_id",
    )

    def __init__(self, replica_id: int, *, in_sync: bool, now_ms: int) -> None:
        self.replica_id = replica_id
        # Unknown until its first fetch in this epoch: what it had in an older one may have been
        # truncated by a leader in between.
        self.log_end_offset = UNKNOWN_OFFSET
        self.log_start_offset = UNKNOWN_OFFSET
        self.last_fetch_leader_end_offset = UNKNOWN_OFFSET
        self.last_fetch_ms = NEVER_MS
        self.last_caught_up_ms = now_ms if in_sync else NEVER_MS
        self.broker_epoch = -1

    def fetched(
        self,
        *,
        fetch_offset: int,
        log_start_offset: int,
        broker_epoch: int,
        leader_end_offset: int,
        now_ms: int,
    ) -> None:
        """Note a valid fetch: everything below ``fetch_offset`` is in the follower's log.

        The follower was caught up now if it has all that we have, or at its previous fetch if it
        has all that we had then. Plain lag would punish a follower that is merely one round trip
        behind a busy leader.
        """
        if fetch_offset >= leader_end_offset:
            self.last_caught_up_ms = max(self.last_caught_up_ms, now_ms)
        elif self.log_end_offset != UNKNOWN_OFFSET and (
            fetch_offset >= self.last_fetch_leader_end_offset
        ):
            self.last_caught_up_ms = max(self.last_caught_up_ms, self.last_fetch_ms)
        self.log_end_offset = fetch_offset
        self.log_start_offset = log_start_offset
        self.broker_epoch = broker_epoch
        self.last_fetch_leader_end_offset = max(
            self.last_fetch_leader_end_offset, leader_end_offset
        )
        self.last_fetch_ms = now_ms

    def seen_again(self, leader_end_offset: int, now_ms: int) -> None:
        """Note a fetch like the one before, of a follower that has all that we have."""
        self.last_caught_up_ms = max(self.last_caught_up_ms, now_ms)
        self.last_fetch_leader_end_offset = leader_end_offset
        self.last_fetch_ms = now_ms

    def is_caught_up(self, leader_end_offset: int, now_ms: int, lag_time_max_ms: int) -> bool:
        """Whether it has everything, or had so within the allowed lag."""
        return (
            self.log_end_offset == leader_end_offset
            or now_ms - self.last_caught_up_ms <= lag_time_max_ms
        )
