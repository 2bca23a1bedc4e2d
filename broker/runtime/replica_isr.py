"""Sends ISR changes to the controller: AlterPartition, one request in flight per broker.

Partitions that wait share a request, up to a number that the controller decides on quickly: after a
restart there are thousands. It must never have two proposals of a partition in
flight; a failed request is sent again after a growing pause, an answer is applied by its epochs.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random
from uuid import UUID

from broker.protocol.errors import ErrorCode, LogctlError
from broker.protocol.struct import Struct
from broker.replication import IsrProposal
from broker.runtime.backoff import Backoff
from broker.runtime.replica_waits import HostedPartition

log = logging.getLogger("logd.replicas")

REQUEST_TIMEOUT_S = 10.0
# The controller decides on a request in one turn of its loop: some ten milliseconds.
PARTITIONS_A_REQUEST = 200
Sent = dict[tuple[UUID, int], tuple[HostedPartition, IsrProposal]]
ResultSink = Callable[[HostedPartition, IsrProposal, Struct | None, ErrorCode | int], bool]


class IsrSender:
    """The queue of partitions with something to propose."""

    def __init__(
        self,
        node_id: int,
        rng: Random,
        alter_partition: Callable[[Struct], Awaitable[Struct]],
        broker_epoch: Callable[[], int],
        on_result: ResultSink,
    ) -> None:
        self._node_id = node_id
        self._alter_partition = alter_partition
        self._broker_epoch = broker_epoch
        self._on_result = on_result
        self._waiting: dict[tuple[str, int], HostedPartition] = {}
        self._something = asyncio.Event()
        self._backoff = Backoff(rng, first_ms=50, most_ms=1000)

    def notice(self, hosted: HostedPartition) -> None:
        """The partition may have a proposal to send."""
        if hosted.partition.isr_proposal is not None:
            self._waiting[hosted.key] = hosted
            self._something.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._something.wait()
            self._something.clear()
            sent = self._take()
            if sent and not await self._send(sent):
                await asyncio.sleep(self._backoff.next_s())
            else:
                self._backoff.reset()

    def _take(self) -> Sent:
        taken: Sent = {}
        for key in sorted(self._waiting):
            if len(taken) == PARTITIONS_A_REQUEST:
                self._something.set()
                break
            hosted = self._waiting.pop(key)
            proposal = hosted.partition.isr_proposal
            if proposal is not None and not hosted.deleted:
                taken[hosted.partition.topic_id, hosted.partition.index] = hosted, proposal
        return taken

    async def _send(self, sent: Sent) -> bool:
        """One request; whether nothing has to be sent again."""
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                response = await self._alter_partition(self._request(sent))
        except (LogctlError, OSError, TimeoutError) as error:
            log.info("AlterPartition was not answered: %s", error)
            return self._finish(sent, {}, ErrorCode.request_timed_out)
        if response.error_code:
            log.info("AlterPartition was refused: %s", response.error_code)
            return self._finish(sent, {}, response.error_code)
        answers = {
            (topic.topic_id, partition.partition_index): partition
            for topic in response.topics
            for partition in topic.partitions
        }
        return self._finish(sent, answers, ErrorCode.unknown_server_error)

    def _finish(
        self, sent: Sent, answers: dict[tuple[UUID, int], Struct], missing: ErrorCode | int
    ) -> bool:
        clean = True
        for key, (hosted, proposal) in sent.items():
            answer = answers.get(key)
            error = missing if answer is None else answer.error_code
            if answer is None and missing == ErrorCode.stale_broker_epoch:
                # Our registration is being renewed; the proposal itself may be fine.
                error = ErrorCode.request_timed_out
            if self._on_result(hosted, proposal, answer, error):
                clean = False
            self.notice(hosted)
        return clean

    def _request(self, sent: Sent) -> Struct:
        topics: dict[UUID, list[Struct]] = {}
        for (topic_id, index), (_, proposal) in sent.items():
            partition = Struct(
                partition_index=index,
                leader_epoch=proposal.leader_epoch,
                new_isr=list(proposal.members),
                new_isr_with_epochs=[
                    Struct(broker_id=broker, broker_epoch=epoch) for broker, epoch in proposal.isr
                ],
                leader_recovery_state=proposal.leader_recovery_state,
                partition_epoch=proposal.partition_epoch,
            )
            topics.setdefault(topic_id, []).append(partition)
        return Struct(
            broker_id=self._node_id,
            broker_epoch=self._broker_epoch(),
            topics=[Struct(topic_id=t, partitions=p) for t, p in topics.items()],
        )
