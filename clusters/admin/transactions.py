"""Calls on transactions: which are open, which hang, and how either is ended (KIP-664, KIP-98)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, LogctlError, UnsupportedVersion
from broker.protocol.struct import Struct
from clusters.admin.asking import LAST_CHANCE_MS, RETRY_PAUSE_S, Partition
from clusters.admin.connections import Deadline, why
from clusters.admin.errors import AdminError
from clusters.admin.gathered import Failure, Gathered
from clusters.admin.not_served import not_offered
from clusters.admin.placement import PlacementCalls
from clusters.admin.placement_model import ActiveProducer
from clusters.admin.transaction_model import TransactionInfo

# For a producer that is fenced: it sets its own when it comes back.
FENCED_TIMEOUT_MS = 60_000


class TransactionCalls(PlacementCalls):
    """What the admin client can do with transactions."""

    async def transactions(
        self, states: Iterable[str] = (), producer_ids: Iterable[int] = ()
    ) -> Gathered[TransactionInfo]:
        """Transactional ids that running brokers coordinate, sorted; only those in `states`, or of
        `producer_ids`, if given. Raises NotServed where there are no transactions."""
        deadline = self._deadline()
        addresses = await self._addresses(deadline)
        body = Struct(
            state_filters=list(states),
            producer_id_filters=list(producer_ids),
            duration_filter=-1,
            transactional_id_pattern=None,
        )
        parts = await asyncio.gather(
            *(self._coordinated(node, addresses[node], body, deadline) for node in addresses)
        )
        found = [each for items, _ in parts for each in items]
        failures = [failure for _, some in parts for failure in some]
        found.sort(key=lambda each: each.transactional_id)
        return Gathered(tuple(found), tuple(failures))

    async def _coordinated(
        self, node: int, address: str, body: Struct, deadline: Deadline
    ) -> tuple[list[TransactionInfo], list[Failure]]:
        """What one broker coordinates, and what it does not tell."""
        where = f"broker {node} ({address})"

        async def ask(api_key: ApiKey, question: Struct) -> Struct:
            try:
                return await self._connections.request_at(
                    address, api_key, question, timeout_ms=deadline.left_ms()
                )
            except UnsupportedVersion:
                raise not_offered(api_key, address) from None
            except LogctlError as error:
                raise _Untold(why(error)) from None

        try:
            listed = await ask(ApiKey.LIST_TRANSACTIONS, body)
            if listed.error_code != ErrorCode.none:
                raise _Untold(self._words(ApiKey.LIST_TRANSACTIONS, listed.error_code))
            ids = [each.transactional_id for each in listed.transaction_states]
            if not ids:
                return [], []
            told = await ask(ApiKey.DESCRIBE_TRANSACTIONS, Struct(transactional_ids=ids))
        except _Untold as untold:
            return [], [Failure(where=where, what="transactions", reason=str(untold))]
        described = {each.transactional_id: each for each in told.transaction_states}
        found, failures = [], []
        for each in listed.transaction_states:
            more = described.get(each.transactional_id)
            if more is not None and more.error_code != ErrorCode.none:
                if more.error_code == ErrorCode.transactional_id_not_found:
                    continue  # gone since
                code, name = more.error_code, each.transactional_id
                reason = self._words(ApiKey.DESCRIBE_TRANSACTIONS, code, name)
                failures.append(
                    Failure(where=f"transactional id {name}", what="details", reason=reason)
                )
                more = None
            found.append(_info(node, each, more))
        return found, failures

    async def hanging_transactions(
        self, partitions: Iterable[Partition], older_than_ms: int, now_ms: int
    ) -> Gathered[ActiveProducer]:
        """Open transactions of partitions that no coordinator will end, sorted.

        Only those whose last record is older than a time: what is being ended just now is none.
        While a coordinator does not answer nothing can be said, and nothing is.
        """
        told = await self.producers(partitions)
        failures = [*told.failures]
        open_ = [
            each
            for each in told.items
            if each.txn_start_offset is not None
            and each.last_timestamp_ms <= now_ms - older_than_ms
        ]
        if not open_:
            return Gathered((), tuple(failures))
        known = await self.transactions(producer_ids={each.producer_id for each in open_})
        failures += known.failures
        if known.failures:
            return Gathered((), tuple(failures))
        ending = {
            (each.producer_id, place)
            for each in known.items
            if each.is_open
            for place in each.partitions
        }
        hanging = [e for e in open_ if (e.producer_id, (e.topic, e.partition)) not in ending]
        return Gathered(tuple(hanging), tuple(failures))

    async def abort_hanging(self, producer: ActiveProducer) -> None:
        """Write the marker that ends a producer's transaction in one partition. Raises AdminError.

        Only for one that hangs: with a coordinator that knows it, it is `fence` that ends it.
        """
        key = producer.topic, producer.partition
        marker = Struct(
            producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch,
            transaction_result=False,
            topics=[Struct(name=key[0], partition_indexes=[key[1]])],
            # Leaders that have seen no marker of the producer say -1.
            coordinator_epoch=max(0, producer.coordinator_epoch),
            transaction_version=0,
        )
        answers, failures = await self._at_leaders(
            [key],
            ApiKey.WRITE_TXN_MARKERS,
            lambda asked, timeout_ms: Struct(markers=[marker]),
            _marked,
            "answer to the marker",
            self._deadline(),
        )
        what = f"The transaction in {key[0]}:{key[1]} was not aborted"
        if failures:
            raise AdminError(f"{what}: {failures[0].reason}")
        code = answers[key].error_code
        if code != ErrorCode.none:
            raise AdminError(
                f"{what}: {self._words(ApiKey.WRITE_TXN_MARKERS, code)}", code=int(code)
            )

    async def fence(self, transactional_id: str) -> None:
        """Fence whoever writes with a transactional id; its open transaction is aborted (KIP-98).

        Returns when it is aborted in every partition. Raises AdminError.
        """
        deadline = self._deadline()
        body = Struct(
            transactional_id=transactional_id,
            transaction_timeout_ms=FENCED_TIMEOUT_MS,
            producer_id=-1,
            producer_epoch=-1,
            enable2_pc=False,
            keep_prepared_txn=False,
        )
        while True:
            _, answer = await self._at_coordinator(
                transactional_id,
                ApiKey.INIT_PRODUCER_ID,
                body,
                lambda answer: int(answer.error_code),
                deadline,
                kind="transactional id",
            )
            code = answer.error_code
            if code == ErrorCode.none:
                return
            # It is fenced, and what it had begun is being aborted.
            if code != ErrorCode.concurrent_transactions or deadline.left_ms() < LAST_CHANCE_MS:
                words = self._words(ApiKey.INIT_PRODUCER_ID, code, transactional_id)
                raise AdminError(
                    f'The transaction of "{transactional_id}" was not aborted: {words}',
                    code=int(code),
                )
            await asyncio.sleep(RETRY_PAUSE_S)


class _Untold(Exception):
    """Why a broker did not tell; never leaves this module."""


def _info(node: int, listed: Struct, described: Struct | None) -> TransactionInfo:
    places: Sequence[Partition] = ()
    if described is not None:
        places = sorted((each.topic, n) for each in described.topics for n in each.partitions)
    return TransactionInfo(
        transactional_id=listed.transactional_id,
        state=listed.transaction_state if described is None else described.transaction_state,
        producer_id=listed.producer_id,
        producer_epoch=None if described is None else described.producer_epoch,
        coordinator=node,
        timeout_ms=None if described is None else described.transaction_timeout_ms,
        started_ms=(
            described.transaction_start_time_ms
            if described is not None and described.transaction_start_time_ms >= 0
            else None
        ),
        partitions=tuple(places),
    )


def _marked(answer: Struct) -> Mapping[Partition, Struct]:
    return {
        (topic.name, each.partition_index): each
        for marker in answer.markers
        for topic in marker.topics
        for each in topic.partitions
    }
