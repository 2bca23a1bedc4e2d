"""Members of consumer groups for simulated clusters, written to be checked.

A member joins, takes its share, reads how far its partitions are, and commits one step after the
other, as a consumer would that handles one record at a time. So for each partition of a group the
committed offset must never go back, and nobody but its owner in the present generation may move
it. The leader's assignment deals the partitions out in turn.
"""

import asyncio
import random
from dataclasses import dataclass, field

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, WireError
from broker.protocol.struct import Struct
from broker.runtime.groups import OFFSETS_TOPIC, group_hash
from broker.simulation.violations import SafetyViolation
from broker.simulation.workload import Address, Client

SESSION_MS = 1_500
REBALANCE_MS = 1_500
STEP_S = 0.1
RETRY_S = 0.05
PROTOCOL = "in-turn"

# After these a member keeps its id and joins again; after these it is nobody any more.
_JOIN_AGAIN = frozenset(
    {
        ErrorCode.rebalance_in_progress,
        ErrorCode.illegal_generation,
        ErrorCode.not_coordinator,
        ErrorCode.coordinator_not_available,
        ErrorCode.coordinator_load_in_progress,
        ErrorCode.group_id_not_found,
        ErrorCode.member_id_required,
    }
)
_NOBODY = frozenset({ErrorCode.unknown_member_id, ErrorCode.fenced_instance_id})


@dataclass
class Ledger:
    """What the cluster has promised to the members of one group."""

    group: str
    topic: str
    partitions: int
    # The newest leader epoch of the group's partition that any client has heard of. A deposed
    # coordinator that has not heard of it yet may answer reads with what was committed until then,
    # as in Kafka; so, as with leaders, nobody here goes back to an older one.
    epoch: int = -1
    # The highest offset of each partition whose commit was acknowledged.
    acknowledged: dict[int, int] = field(default_factory=dict)
    # (generation, leader) -> {member: its partitions} as that leader dealt them out.
    dealt: dict[tuple[int, str], dict[str, list[int]]] = field(default_factory=dict)
    commits: int = 0

    def check_read(self, partition: int, offset: int, floor: int) -> None:
        """A committed offset was read; `floor` was acknowledged before it was asked for."""
        if offset < floor:
            raise SafetyViolation(
                f"{self.group}: the offset of {self.topic}-{partition} was acknowledged or read "
                f"as {floor}, and is read as {offset}"
            )

    def check_assignment(self, generation: int, leader: str, member: str, mine: list[int]) -> None:
        """A member got its share: it must be what its leader gave to it, and to nobody else."""
        dealt = self.dealt.get((generation, leader))
        if dealt is None or dealt.get(member) != mine:
            raise SafetyViolation(
                f"{self.group}: {member} got {mine} in generation {generation}, but its leader "
                f"{leader} gave {dealt}"
            )


class Rejoin(Exception):
    """The member has to join again."""


class GroupMember:
    """One member, from its first join until `stop`."""

    def __init__(self, client: Client, name: str, ledger: Ledger, rng: random.Random) -> None:
        self.name = name
        self.ledger = ledger
        # What it owns at present, and in which generation; empty while it joins.
        self.owned: list[int] = []
        self.generation = -1
        self.member_id = ""
        self._client = client
        self._rng = rng
        self._leader = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Be a member until `stop` is set. Raises SafetyViolation."""
        while not stop.is_set():
            try:
                await self._join()
                positions = await self._read_positions()
                while not stop.is_set():
                    await self._step(positions)
                    await asyncio.sleep(self._rng.uniform(0, 2 * STEP_S))
            except (Rejoin, WireError):
                self.owned, self.generation = [], -1
                await asyncio.sleep(RETRY_S)

    async def _ask(self, key: ApiKey, body: Struct, version: int) -> Struct:
        address = await find_coordinator(self._client, self.ledger)
        if address is None:
            raise Rejoin
        return await self._client.ask(address, key, body, version)

    def _heard(self, code: ErrorCode | int) -> None:
        if code == ErrorCode.none:
            return
        if code in _NOBODY:
            self.member_id = ""
        elif code not in _JOIN_AGAIN:
            raise SafetyViolation(f"{self.ledger.group}: {self.name} was answered {code!r}")
        raise Rejoin

    # -- membership

    async def _join(self) -> None:
        ledger = self.ledger
        while True:
            body = Struct(
                group_id=ledger.group,
                session_timeout_ms=SESSION_MS,
                rebalance_timeout_ms=REBALANCE_MS,
                member_id=self.member_id,
                protocol_type="simulated",
                protocols=[Struct(name=PROTOCOL, metadata=self.name.encode())],
            )
            joined = await self._ask(ApiKey.JOIN_GROUP, body, 9)
            if joined.error_code != ErrorCode.member_id_required:
                break
            self.member_id = joined.member_id
        self._heard(joined.error_code)
        self.member_id, self._leader = joined.member_id, joined.leader
        shares: dict[str, list[int]] = {}
        if joined.members:
            ids = sorted(each.member_id for each in joined.members)
            shares = {each: [] for each in ids}
            for partition in range(ledger.partitions):
                shares[ids[partition % len(ids)]].append(partition)
            # Noted before it is sent: it may take effect although nobody hears of it.
            ledger.dealt[joined.generation_id, joined.leader] = shares
        await self._sync(joined.generation_id, shares)

    async def _sync(self, generation: int, shares: dict[str, list[int]]) -> None:
        body = Struct(
            group_id=self.ledger.group,
            generation_id=generation,
            member_id=self.member_id,
            protocol_type="simulated",
            protocol_name=PROTOCOL,
            assignments=[
                Struct(member_id=each, assignment=bytes(mine)) for each, mine in shares.items()
            ],
        )
        synced = await self._ask(ApiKey.SYNC_GROUP, body, 5)
        self._heard(synced.error_code)
        mine = list(bytes(synced.assignment))
        self.ledger.check_assignment(generation, self._leader, self.member_id, mine)
        self.owned, self.generation = mine, generation

    async def _step(self, positions: dict[int, int]) -> None:
        if self.owned and self._rng.random() < 0.7:
            await self._commit(self._rng.choice(self.owned), positions)
            return
        body = Struct(
            group_id=self.ledger.group, generation_id=self.generation, member_id=self.member_id
        )
        self._heard((await self._ask(ApiKey.HEARTBEAT, body, 4)).error_code)

    # -- offsets

    async def _read_positions(self) -> dict[int, int]:
        if not self.owned:
            return {}
        ledger = self.ledger
        floors = {each: ledger.acknowledged.get(each, -1) for each in self.owned}
        found = await read_offsets(self._client, ledger, self.owned)
        if found is None:
            raise Rejoin
        for partition, offset in found.items():
            ledger.check_read(partition, offset, floors[partition])
        return found

    async def _commit(self, partition: int, positions: dict[int, int]) -> None:
        offset = positions[partition] + 1
        entry = Struct(partition_index=partition, committed_offset=offset, committed_metadata="")
        body = Struct(
            group_id=self.ledger.group,
            generation_id_or_member_epoch=self.generation,
            member_id=self.member_id,
            topics=[Struct(name=self.ledger.topic, partitions=[entry])],
        )
        answer = await self._ask(ApiKey.OFFSET_COMMIT, body, 9)
        self._heard(answer.topics[0].partitions[0].error_code)
        positions[partition] = offset
        known = self.ledger.acknowledged.get(partition, -1)
        if offset <= known:
            raise SafetyViolation(
                f"{self.ledger.group}: {self.name} commits {offset} for partition {partition} in "
                f"generation {self.generation}, but {known} was acknowledged to somebody already"
            )
        self.ledger.acknowledged[partition] = offset
        self.ledger.commits += 1


class OffsetReader:
    """A tool that looks at the offsets of groups all the time: none may ever go back."""

    def __init__(self, client: Client, ledgers: list[Ledger], rng: random.Random) -> None:
        self._client = client
        self._ledgers = ledgers
        self._rng = rng

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set. Raises SafetyViolation."""
        seen: dict[tuple[str, int], int] = {}
        while not stop.is_set():
            ledger = self._rng.choice(self._ledgers)
            partitions = list(range(ledger.partitions))
            floors = {
                each: max(seen.get((ledger.group, each), -1), ledger.acknowledged.get(each, -1))
                for each in partitions
            }
            found = await read_offsets(self._client, ledger, partitions, stable=False)
            for partition, offset in (found or {}).items():
                ledger.check_read(partition, offset, floors[partition])
                seen[ledger.group, partition] = offset
            await asyncio.sleep(self._rng.uniform(0, STEP_S))


async def find_coordinator(client: Client, ledger: Ledger) -> Address | None:
    """Where a group is coordinated, by the newest word; None while nobody knows."""
    body = Struct(topics=[Struct(name=OFFSETS_TOPIC)], allow_auto_topic_creation=False)
    metadata = await client.ask_any(ApiKey.METADATA, body, 8)
    partitions = metadata.topics[0].partitions
    if not partitions:
        find = Struct(key_type=0, coordinator_keys=[ledger.group])
        await client.ask_any(ApiKey.FIND_COORDINATOR, find, 4)
        return None
    index = group_hash(ledger.group) % len(partitions)
    brokers = {each.node_id: (each.host, each.port) for each in metadata.brokers}
    (state,) = [each for each in partitions if each.partition_index == index]
    if state.leader_epoch < ledger.epoch:
        return None
    ledger.epoch = state.leader_epoch
    return brokers.get(state.leader_id)


async def read_offsets(
    client: Client, ledger: Ledger, partitions: list[int], *, stable: bool = True
) -> dict[int, int] | None:
    """The committed offsets of some partitions, -1 where there is none; None without an answer."""
    asked = Struct(name=ledger.topic, partition_indexes=partitions)
    group = Struct(group_id=ledger.group, topics=[asked])
    body = Struct(groups=[group], require_stable=stable)
    try:
        address = await find_coordinator(client, ledger)
        if address is None:
            return None
        answer = (await client.ask(address, ApiKey.OFFSET_FETCH, body, 9)).groups[0]
    except WireError:
        return None
    if answer.error_code != ErrorCode.none:
        return None
    return {
        each.partition_index: each.committed_offset
        for told in answer.topics
        for each in told.partitions
    }
