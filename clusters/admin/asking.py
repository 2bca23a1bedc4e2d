"""How the admin client asks: one broker or all, a coordinator, a leader; with retries in time.

Base of the groups of calls in this package. Knows which answers mean "ask elsewhere" or "ask
again"; must never outlive the deadline of a call, and never turn one sick broker into an exception
of a call that asks many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, LogctlError, UnsupportedVersion
from broker.protocol.struct import ZERO_UUID, Struct
from clusters.admin.connections import Connections, Deadline, join_address, why
from clusters.admin.denied import denied_words
from clusters.admin.errors import AdminError, UnknownTopic, code_words
from clusters.admin.gathered import Failure
from clusters.nearest import nearest

RETRY_PAUSE_S = 0.05
LEADER_TRIES = 3
# So old a partition may be that some brokers have not heard of, while others name it.
NEW_PARTITION_MS = 1_000
_NO_PARTITION = "there is no such partition"
# Less than this left is no time to ask once more.
LAST_CHANCE_MS = 100
# What a call gets at least when earlier ones used up the time of all.
LATE_CALL_MS = 500

# Nothing was done, and asking again soon may work.
RETRY_CODES = frozenset(
    {
        ErrorCode.not_controller,
        ErrorCode.coordinator_load_in_progress,
        ErrorCode.leader_not_available,
    }
)
MOVED_CODES = frozenset(
    {
        ErrorCode.not_leader_or_follower,
        ErrorCode.leader_not_available,
        ErrorCode.fenced_leader_epoch,
        ErrorCode.unknown_leader_epoch,
        ErrorCode.unknown_topic_or_partition,
    }
)
COORDINATOR_CODES = frozenset(
    {
        ErrorCode.not_coordinator,
        ErrorCode.coordinator_not_available,
        ErrorCode.coordinator_load_in_progress,
    }
)

# What a coordinator is asked for, as FindCoordinator numbers it.
_KEY_TYPES = {"group": 0, "transactional id": 1}

Partition = tuple[str, int]


class Asking:
    """Connections, a time limit, and the ways to ask that all calls share."""

    _connections: Connections
    _timeout_ms: int
    _end: Deadline | None = None

    @property
    def principal(self) -> str | None:
        """Who the brokers take this client for, or None when only they know."""
        return "User:ANONYMOUS"

    def _words(self, api_key: ApiKey, code: int, name: str = "", told: Struct | None = None) -> str:
        """What a code in an answer means, with who may not do what when rights are lacking."""
        message = None if told is None else told.get("error_message")
        return denied_words(api_key, code, self.principal, name, message)

    def _deadline(self) -> Deadline:
        if self._end is None:
            return Deadline.after(self._timeout_ms)
        left_ms = max(LATE_CALL_MS, self._end.left_ms())
        return Deadline.after(min(self._timeout_ms, left_ms))

    async def _ask(
        self, api_key: ApiKey, body: Struct, deadline: Deadline, max_version: int | None = None
    ) -> Struct:
        try:
            return await self._connections.request_any(
                api_key, body, deadline=deadline, max_version=max_version
            )
        except UnsupportedVersion as error:
            raise AdminError(
                f"The brokers do not support {api_key.name.lower()}: {error}",
                code=int(ErrorCode.unsupported_version),
            ) from None

    async def _change(
        self, api_key: ApiKey, body: Struct, field: str, what: str, deadline: Deadline
    ) -> Struct:
        """Send a change of one thing; ask again while the controller is moving."""
        while True:
            answer = await self._ask(api_key, body, deadline)
            results: list[Struct] = getattr(answer, field)
            if not results:
                raise AdminError(f"{what}: the cluster gave no answer")
            code = results[0].error_code
            if code == ErrorCode.none:
                return results[0]
            if code not in RETRY_CODES or deadline.left_ms() < LAST_CHANCE_MS:
                words = self._words(api_key, code, _name(results[0]), results[0])
                raise AdminError(f"{what}: {words}", code=int(code))
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _change_whole(
        self, api_key: ApiKey, body: Struct, what: str, deadline: Deadline
    ) -> Struct:
        """Send a request that fails as a whole; ask again while the controller is moving."""
        while True:
            answer = await self._ask(api_key, body, deadline)
            code = answer.get("error_code", ErrorCode.none)
            if code == ErrorCode.none:
                return answer
            if code not in RETRY_CODES or deadline.left_ms() < LAST_CHANCE_MS:
                words = self._words(api_key, code, told=answer)
                raise AdminError(f"{what}: {words}", code=int(code))
            await asyncio.sleep(RETRY_PAUSE_S)

    # Topics and brokers as Metadata tells them

    async def _metadata(self, names: Sequence[str] | None, deadline: Deadline) -> Struct:
        topics = None if names is None else [Struct(topic_id=ZERO_UUID, name=n) for n in names]
        body = Struct(topics=topics, allow_auto_topic_creation=False)
        answer = await self._ask(ApiKey.METADATA, body, deadline)
        code = answer.get("error_code", ErrorCode.none)
        if code != ErrorCode.none:
            raise AdminError(f"The brokers do not tell: {code_words(code)}", code=int(code))
        self._connections.learn(join_address(each.host, each.port) for each in answer.brokers)
        return answer

    async def _topic_metadata(self, name: str, deadline: Deadline) -> Struct:
        while True:
            answer = await self._metadata([name], deadline)
            topic: Struct = answer.topics[0]
            if topic.error_code in {ErrorCode.none, ErrorCode.leader_not_available}:
                return topic
            if topic.error_code == ErrorCode.unknown_topic_or_partition:
                raise UnknownTopic(name, await self._hint(name, deadline))
            if topic.error_code not in RETRY_CODES or deadline.left_ms() < LAST_CHANCE_MS:
                words = self._words(ApiKey.METADATA, topic.error_code, name)
                raise AdminError(f'The topic "{name}": {words}', code=int(topic.error_code))
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _hint(self, name: str, deadline: Deadline) -> str:
        try:
            metadata = await self._metadata(None, deadline)
        except LogctlError:
            return ""
        match = nearest(name, [topic.name for topic in metadata.topics if topic.name])
        return f'did you mean "{match}"?' if match else ""

    async def _addresses(self, deadline: Deadline) -> dict[int, str]:
        """Addresses of the running brokers by id."""
        metadata = await self._metadata([], deadline)
        return {each.node_id: join_address(each.host, each.port) for each in metadata.brokers}

    # Many brokers at once

    async def _at_brokers(
        self,
        addresses: Mapping[int, str],
        api_key: ApiKey,
        body: Struct,
        what: str,
        deadline: Deadline,
    ) -> tuple[dict[int, Struct], list[Failure]]:
        """Ask several brokers the same; who does not answer is a Failure."""

        async def one(node: int, address: str) -> Struct | Failure:
            try:
                return await self._connections.request_at(
                    address, api_key, body, timeout_ms=deadline.left_ms()
                )
            except LogctlError as error:
                return Failure(where=f"broker {node} ({address})", what=what, reason=why(error))

        nodes = sorted(addresses)
        answers = await asyncio.gather(*(one(node, addresses[node]) for node in nodes))
        found: dict[int, Struct] = {}
        failures: list[Failure] = []
        for node, answer in zip(nodes, answers, strict=True):
            if isinstance(answer, Failure):
                failures.append(answer)
            else:
                found[node] = answer
        return found, failures

    async def _at_leaders(
        self,
        asked: Iterable[Partition],
        api_key: ApiKey,
        make_body: Callable[[list[Partition], int], Struct],
        read: Callable[[Struct], Mapping[Partition, Struct]],
        what: str,
        deadline: Deadline,
    ) -> tuple[dict[Partition, Struct], list[Failure]]:
        """Ask the leader of each partition; follow leaders that moved, a few times.

        `make_body(partitions, timeout_ms)` makes one leader's request, `read` gives its answer by
        partition, each with `error_code`. Partitions without an answer are Failures.
        """
        missing = list(dict.fromkeys(asked))
        found: dict[Partition, Struct] = {}
        reasons: dict[Partition, str] = {}
        patience = Deadline.after(NEW_PARTITION_MS)
        attempt = -1
        while missing:
            attempt += 1
            if attempt and deadline.left_ms() < LAST_CHANCE_MS:
                break
            if attempt >= LEADER_TRIES and not (
                patience.left_ms() and any(_may_be_new(reasons.get(key, "")) for key in missing)
            ):
                break
            if attempt:
                await asyncio.sleep(RETRY_PAUSE_S)
            try:
                leaders = await self._leaders(missing, reasons, deadline)
            except LogctlError:
                if not attempt:
                    raise
                break  # what was found before counts
            answers = await asyncio.gather(
                *(
                    self._at_leader(place, group, api_key, make_body, read, deadline)
                    for place, group in sorted(leaders.items())
                )
            )
            for place_found, place_reasons in answers:
                found.update(place_found)
                reasons.update(place_reasons)
            missing = [key for key in missing if key not in found]
            if not leaders and not any(_may_be_new(reasons.get(key, "")) for key in missing):
                break
        failures = [
            Failure(
                where=f"{topic}:{partition}",
                what=what,
                reason=reasons.get((topic, partition), "the time was up"),
            )
            for topic, partition in missing
        ]
        return found, failures

    async def _leaders(
        self, wanted: list[Partition], reasons: dict[Partition, str], deadline: Deadline
    ) -> dict[tuple[int, str], list[Partition]]:
        """Partitions by (id, address) of their leader; why not, for those without one."""
        topics = sorted({topic for topic, _ in wanted})
        metadata = await self._metadata(topics, deadline)
        addresses = {each.node_id: join_address(each.host, each.port) for each in metadata.brokers}
        leaders = {
            (topic.name, partition.partition_index): partition.leader_id
            for topic in metadata.topics
            for partition in topic.partitions
        }
        denied = {
            topic.name: self._words(ApiKey.METADATA, topic.error_code, topic.name)
            for topic in metadata.topics
            if topic.error_code == ErrorCode.topic_authorization_failed
        }
        grouped: dict[tuple[int, str], list[Partition]] = {}
        for key in wanted:
            leader = leaders.get(key)
            if leader is None:
                reasons[key] = denied.get(key[0], _NO_PARTITION)
            elif leader < 0:
                reasons[key] = "the partition has no leader"
            elif leader not in addresses:
                reasons[key] = f"its leader, broker {leader}, is not running"
            else:
                grouped.setdefault((leader, addresses[leader]), []).append(key)
        return grouped

    async def _at_leader(
        self,
        place: tuple[int, str],
        partitions: list[Partition],
        api_key: ApiKey,
        make_body: Callable[[list[Partition], int], Struct],
        read: Callable[[Struct], Mapping[Partition, Struct]],
        deadline: Deadline,
    ) -> tuple[dict[Partition, Struct], dict[Partition, str]]:
        node, address = place
        # Half of what is left, so that a leader that hangs leaves time for asking again.
        timeout_ms = max(1, deadline.left_ms() // 2)
        try:
            answer = await self._connections.request_at(
                address, api_key, make_body(partitions, timeout_ms), timeout_ms=timeout_ms
            )
        except LogctlError as error:
            reason = f"its leader, broker {node} ({address}): {why(error)}"
            return {}, dict.fromkeys(partitions, reason)
        found: dict[Partition, Struct] = {}
        moved: dict[Partition, str] = {}
        for key, part in read(answer).items():
            if part.error_code in MOVED_CODES:
                moved[key] = f"broker {node}: {code_words(part.error_code)}"
            else:
                found[key] = part
        return found, moved

    # Coordinators

    async def _coordinator(
        self, group: str, deadline: Deadline, kind: str = "group"
    ) -> tuple[int, str]:
        """(id, address) of the coordinator of a group, or of another of `_KEY_TYPES` (KIP-98).

        Waits while there is none yet.
        """
        body = Struct(key=group, key_type=_KEY_TYPES[kind], coordinator_keys=[group])
        while True:
            answer = await self._ask(ApiKey.FIND_COORDINATOR, body, deadline)
            told = answer.coordinators[0] if answer.get("coordinators") else answer
            if told.error_code == ErrorCode.none:
                return told.node_id, join_address(told.host, told.port)
            if told.error_code not in COORDINATOR_CODES or deadline.left_ms() < 10 * LAST_CHANCE_MS:
                words = self._words(ApiKey.FIND_COORDINATOR, told.error_code, group, told)
                raise AdminError(
                    f'The {kind} "{group}" has no coordinator: {words}', code=int(told.error_code)
                )
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _at_coordinator(
        self,
        group: str,
        api_key: ApiKey,
        body: Struct,
        code_of: Callable[[Struct], int],
        deadline: Deadline,
        max_version: int | None = None,
        kind: str = "group",
    ) -> tuple[int, Struct]:
        """(coordinator's id, its answer); asks again while the coordinator moves or loads."""
        while True:
            node, address = await self._coordinator(group, deadline, kind)
            reason = ""
            try:
                answer = await self._connections.request_at(
                    address,
                    api_key,
                    body,
                    timeout_ms=max(1, deadline.left_ms() // 2),
                    max_version=max_version,
                )
            except UnsupportedVersion as error:
                raise AdminError(
                    f"Broker {node} does not support {api_key.name.lower()}: {error}",
                    code=int(ErrorCode.unsupported_version),
                ) from None
            except LogctlError as error:
                reason = why(error)
            else:
                code = code_of(answer)
                if code not in COORDINATOR_CODES:
                    return node, answer
                reason = code_words(code)
            if deadline.left_ms() < 2 * LAST_CHANCE_MS:
                raise AdminError(
                    f'The coordinator of {kind} "{group}", broker {node} ({address}), '
                    f"does not answer: {reason}"
                )
            await asyncio.sleep(RETRY_PAUSE_S)


def _may_be_new(reason: str) -> bool:
    """Whether a partition did not answer for a reason that passes once brokers know it."""
    unknown = code_words(ErrorCode.unknown_topic_or_partition)
    return reason == _NO_PARTITION or reason.endswith(unknown)


def _name(result: Struct) -> str:
    """The topic or the resource that a result is about."""
    return str(result.get("name") or result.get("resource_name") or "")
