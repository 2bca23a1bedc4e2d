"""Ask any broker where the controllers are.

All addresses are asked at once; the first useful answer wins, so that dead brokers cost nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from broker.protocol.api_keys import METADATA_TOPIC, ApiKey
from broker.protocol.errors import (
    ConnectionFailed,
    ErrorCode,
    LogctlError,
    UnsupportedVersion,
)
from broker.protocol.struct import Struct
from clusters.admin import parse
from clusters.admin.connections import join_address, why
from clusters.admin.denied import denied_words
from clusters.admin.errors import AuthenticationRefused, WrongCluster
from clusters.admin.opening import Opener
from clusters.watch.scouts import patience_ms

# All are asked at once, so that patience with one that is far away delays nothing.
ASK_MS = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What the first broker that answered said. `controllers` may be empty: it cannot tell.

    `lasting` says whether it is of use to ask again soon: a broker that is starting tells later.
    """

    source: str
    controllers: dict[int, str]
    leader_id: int
    leader_epoch: int
    brokers: tuple[str, ...]
    reason: str
    failures: tuple[tuple[str, str], ...]
    lasting: bool = True
    cluster_id: str = ""


class NobodyAnswers(LogctlError):
    """No broker answered; `failures` are (address, reason).

    `refusal` is the error of one that answered and may not be used: the wrong cluster, or one that
    does not let this client in.
    """

    def __init__(
        self, failures: Sequence[tuple[str, str]], refusal: LogctlError | None = None
    ) -> None:
        self.failures = tuple(failures)
        self.refusal = refusal
        super().__init__("; ".join(f"{address}: {reason}" for address, reason in failures))


async def discover(opener: Opener, addresses: Sequence[str]) -> Discovery:
    """Ask all addresses at once. Raises NobodyAnswers."""
    tasks = {asyncio.ensure_future(_ask(opener, each)): each for each in addresses}
    failures: list[tuple[str, str]] = []
    fallback: Discovery | None = None
    refusal: LogctlError | None = None
    try:
        pending = set(tasks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=lambda each: addresses.index(tasks[each])):
                error = task.exception()
                if error is None:
                    found = task.result()
                    if found.controllers:
                        return _with(found, failures)
                    fallback = fallback or found
                elif isinstance(error, LogctlError):
                    failures.append((tasks[task], why(error)))
                    if isinstance(error, (AuthenticationRefused, WrongCluster)):
                        refusal = error
                else:
                    raise error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if fallback is not None:
        return _with(fallback, failures)
    raise NobodyAnswers(failures, refusal)


def _with(found: Discovery, failures: list[tuple[str, str]]) -> Discovery:
    return Discovery(
        source=found.source,
        controllers=found.controllers,
        leader_id=found.leader_id,
        leader_epoch=found.leader_epoch,
        brokers=found.brokers,
        reason=found.reason,
        failures=tuple(failures),
        lasting=found.lasting,
        cluster_id=found.cluster_id,
    )


async def _ask(opener: Opener, address: str) -> Discovery:
    connection = await opener.open(address, patience_ms(opener))
    try:
        try:
            metadata = await connection.request(
                ApiKey.METADATA,
                Struct(topics=[], allow_auto_topic_creation=False),
                timeout_ms=ASK_MS,
            )
        except ConnectionFailed as error:
            raise opener.hint(error) from None
        brokers = tuple(join_address(each.host, each.port) for each in metadata.brokers)
        partition = Struct(topic_name=METADATA_TOPIC, partitions=[Struct(partition_index=0)])
        controllers: dict[int, str] = {}
        leader_id, leader_epoch, reason, lasting = -1, -1, "", True
        try:
            answer = await connection.request(
                ApiKey.DESCRIBE_QUORUM, Struct(topics=[partition]), timeout_ms=ASK_MS
            )
            quorum = parse.quorum(answer)
            leader_id, leader_epoch = quorum.leader_id, quorum.leader_epoch
            controllers = {
                node: join_address(*place) for node, place in sorted(quorum.nodes.items())
            }
            reason = "" if controllers else "the brokers do not tell where the controllers are"
        except LogctlError as error:
            words = why(error)
            if getattr(error, "code", None) == ErrorCode.cluster_authorization_failed:
                words = denied_words(
                    ApiKey.DESCRIBE_QUORUM,
                    ErrorCode.cluster_authorization_failed,
                    opener.principal,
                )
            reason = f"the brokers do not tell where the controllers are: {words}"
            lasting = isinstance(error, UnsupportedVersion) or (
                getattr(error, "code", None) == ErrorCode.cluster_authorization_failed
            )
        return Discovery(
            source=address,
            controllers=controllers,
            leader_id=leader_id,
            leader_epoch=leader_epoch,
            brokers=brokers,
            reason=reason,
            failures=(),
            lasting=lasting,
            cluster_id=metadata.get("cluster_id") or "",
        )
    finally:
        connection.close()
