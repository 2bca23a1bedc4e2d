"""Who leads a partition, and the record that says so. Pure functions over one partition's state.

It must never empty an ISR: its last member holds every acknowledged record.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from uuid import UUID

from broker.protocol.image import (
    LEADER_UNCHANGED,
    NO_LEADER,
    RECOVERING,
    RECOVERY_UNCHANGED,
    PartitionState,
)
from broker.protocol.metadata_records import PartitionChangeRecord

Active = Callable[[int], bool]


def elect(
    state: PartitionState, active: Active, *, unclean: bool
) -> tuple[int, tuple[int, ...], int]:
    """The leader for ``state``, the ISR it then has, and the recovery state.

    The first active replica in preferred order that is in sync; else, if ``unclean``, the first
    active replica, alone in the ISR and recovering; else none (-1).
    """
    for replica in state.replicas:
        if replica in state.isr and active(replica):
            return replica, state.isr, RECOVERY_UNCHANGED
    if unclean:
        for replica in state.replicas:
            if active(replica):
                return replica, (replica,), RECOVERING
    return NO_LEADER, state.isr, RECOVERY_UNCHANGED


def without_brokers(
    topic_id: UUID,
    index: int,
    state: PartitionState,
    gone: Collection[int],
    active: Active,
    *,
    unclean: bool,
) -> PartitionChangeRecord | None:
    """The change when the brokers in ``gone`` stop: out of the ISR, and no longer the leader.

    None when the partition is not concerned.
    """
    if state.leader not in gone and not any(r in gone for r in state.isr):
        return None
    if state.leader == NO_LEADER and len(state.isr) == 1 and not unclean:
        return None  # the last of its ISR stays in it, and nobody else may lead
    isr = tuple(r for r in state.isr if r not in gone)
    if not isr:
        # All of them go at once: keep one that surely has everything, the leader if it can be.
        isr = (state.leader,) if state.leader in state.isr else state.isr[-1:]
    leader, recovery = LEADER_UNCHANGED, RECOVERY_UNCHANGED
    if state.leader in gone or state.leader == NO_LEADER:
        leader, isr, recovery = elect(
            replace(state, isr=isr), lambda r: r not in gone and active(r), unclean=unclean
        )
        if leader == state.leader == NO_LEADER:
            leader = LEADER_UNCHANGED
    return change(topic_id, index, state, leader=leader, isr=isr, recovery=recovery)


def leaderless(
    topic_id: UUID, index: int, state: PartitionState, active: Active, *, unclean: bool
) -> PartitionChangeRecord | None:
    """The change that gives a partition without leader one; None when it has one or none can."""
    if state.leader != NO_LEADER:
        return None
    leader, isr, recovery = elect(state, active, unclean=unclean)
    if leader == NO_LEADER:
        return None
    return change(topic_id, index, state, leader=leader, isr=isr, recovery=recovery)


def preferred(
    topic_id: UUID, index: int, state: PartitionState, active: Active
) -> PartitionChangeRecord | None:
    """The change that makes the preferred replica leader; None when it is, or cannot be."""
    first = state.preferred_leader
    if state.leader == first or first not in state.isr or not active(first):
        return None
    return change(topic_id, index, state, leader=first)


def change(
    topic_id: UUID,
    index: int,
    state: PartitionState,
    *,
    leader: int = LEADER_UNCHANGED,
    isr: tuple[int, ...] | None = None,
    recovery: int = RECOVERY_UNCHANGED,
    replicas: tuple[int, ...] | None = None,
    adding: tuple[int, ...] | None = None,
    removing: tuple[int, ...] | None = None,
    directories: tuple[UUID, ...] | None = None,
) -> PartitionChangeRecord | None:
    """A change record that names only what differs from ``state``; None when nothing does.

    Naming a leader bumps the leader epoch, so it is named only to appoint one anew.
    """
    if isr == state.isr:
        isr = None
    if recovery == state.leader_recovery_state:
        recovery = RECOVERY_UNCHANGED
    assert isr is None or isr, "an ISR must never be emptied"
    led = leader != LEADER_UNCHANGED or recovery != RECOVERY_UNCHANGED
    if not led and isr is replicas is adding is removing is None:
        return None
    return PartitionChangeRecord(
        partition_id=index,
        topic_id=topic_id,
        isr=isr,
        leader=leader,
        replicas=replicas,
        removing_replicas=removing,
        adding_replicas=adding,
        leader_recovery_state=recovery,
        directories=directories,
    )
