"""The in-sync replicas: what the controller committed, and the one change that waits for it.

The controller decides; the leader proposes. Until an answer is known the leader must assume the
worst: a proposed member already counts for the high watermark, a removed one still does.
"""

from broker.protocol.errors import ErrorCode
from broker.protocol.image import PartitionState
from broker.replication.ports import IsrProposal

# The controller said no for certain: nothing of the proposal can have happened.
_REFUSED = frozenset({ErrorCode.ineligible_replica, ErrorCode.operation_not_attempted})
# Our picture is out of date. A newer partition state is on its way in the metadata log.
_OUTDATED = frozenset(
    {
        ErrorCode.invalid_update_version,
        ErrorCode.fenced_leader_epoch,
        ErrorCode.new_leader_elected,
        ErrorCode.unknown_topic_id,
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.invalid_request,
    }
)


class IsrState:
    """The ISR of a partition that is led here.

    Order of news does not matter: an AlterPartition answer and the metadata image carry the
    partition epoch, and only a higher one changes what is committed.
    """

    __slots__ = ("_awaits_metadata", "committed", "maximal", "partition_epoch", "pending")

    def __init__(self, state: PartitionState) -> None:
        self.committed: tuple[int, ...] = state.isr
        self.partition_epoch = state.partition_epoch
        self.pending: IsrProposal | None = None
        self._awaits_metadata = False
        # Invariant: committed and everything proposed, in a fixed order.
        self.maximal: tuple[int, ...] = state.isr

    @property
    def sendable(self) -> IsrProposal | None:
        """The proposal to send (again), or None."""
        return None if self._awaits_metadata else self.pending

    def propose(self, proposal: IsrProposal) -> None:
        """Start a change. Only one may be in flight."""
        assert self.pending is None
        self.pending = proposal
        self._awaits_metadata = False
        added = tuple(member for member in proposal.members if member not in self.committed)
        self.maximal = self.committed + added

    def commit(self, isr: tuple[int, ...], partition_epoch: int) -> bool:
        """The controller committed ``isr`` at ``partition_epoch``; whether that was news."""
        if partition_epoch < self.partition_epoch:
            return False
        if partition_epoch == self.partition_epoch and isr != self.committed:
            return False
        # An equal epoch with a proposal pending: the controller found nothing to change.
        changed = partition_epoch > self.partition_epoch or self.pending is not None
        self.committed = isr
        self.partition_epoch = partition_epoch
        self._clear()
        return changed

    def committed_by_metadata(self, isr: tuple[int, ...], partition_epoch: int) -> bool:
        """As ``commit``, for the metadata image: its epoch must be higher to be news."""
        if partition_epoch <= self.partition_epoch:
            return False
        return self.commit(isr, partition_epoch)

    def failed(self, proposal: IsrProposal, error: ErrorCode | int) -> bool:
        """The proposal was answered with an error; whether it is to be sent again."""
        if proposal is not self.pending:
            return False
        if error in _REFUSED:
            self._clear()
            return False
        if error in _OUTDATED:
            self._awaits_metadata = True
            return False
        return True

    def resume(self) -> bool:
        """Send a proposal again whose newer metadata never came; whether there is one.

        Safe at any time: the controller compares epochs before it changes anything.
        """
        resumed = self._awaits_metadata
        self._awaits_metadata = False
        return resumed

    def _clear(self) -> None:
        self.pending = None
        self._awaits_metadata = False
        self.maximal = self.committed
