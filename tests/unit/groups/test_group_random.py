"""Members join, leave, fall silent and commit at random, appends fail, coordinators die.

After every step the invariants of a group hold; at the end, when the faults are over, every group
settles. A failure prints its seed, which repeats the run exactly.
"""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from broker.groups import GroupState
from broker.groups.group import Group
from broker.groups.records import GroupRecord, OffsetRecord
from broker.protocol.errors import ErrorCode
from tests.unit.groups.group_world import SESSION_MS, World

GROUPS = ("a", "b")
STEPS = 400
FAILURES = (
    ErrorCode.not_enough_replicas,
    ErrorCode.request_timed_out,
    ErrorCode.kafka_storage_error,
)


@dataclass
class Actor:
    """A client: what it believes, and what it waits for."""

    group: str
    instance: str | None
    member_id: str = ""
    generation: int = -1
    assignment: bytes | None = None
    waits_for: tuple[str, int] | None = None
    is_leader: bool = False
    members: list[str] = field(default_factory=list)
    silent: bool = False


class Run:
    """One seed: its world, its actors, and what was promised to them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.world = World(seed, initial_rebalance_delay_ms=500, new_member_join_ms=30_000)
        self.actors: list[Actor] = []
        # What the cluster acknowledged: (group, partition) -> the highest position in the log.
        self.acknowledged: dict[tuple[str, int], int] = {}
        self.commits: dict[int, tuple[str, int, int]] = {}
        self.generations: dict[str, int] = {}
        # (group, generation, member) for every assignment that a leader brought.
        self.given: set[tuple[str, int, str]] = set()
        self.next_offset = 0
        self.instances = 0

    # -- what happens

    def step(self) -> None:
        rng, world = self.rng, self.world
        roll = rng.random()
        if roll < 0.10 and len(self.actors) < 8:
            self.arrive()
        elif roll < 0.13 and self.actors:
            self.depart()
        elif roll < 0.16:
            world.hold = not world.hold
            if not world.hold:
                world.commit()
        elif roll < 0.18:
            world.refuse = rng.choice(FAILURES)
        elif roll < 0.20:
            self.fail_over()
        elif roll < 0.22:
            world.fail_waiting(rng.choice(FAILURES))
        elif roll < 0.40:
            world.pass_ms(rng.choice((1, 100, 1_000, 3_000)))
        elif roll < 0.41:
            world.pass_ms(SESSION_MS)
        elif self.actors:
            self.act(rng.choice(self.actors))
        self.read_answers()

    def fail_over(self) -> None:
        world = self.world
        world.fail_over(self.rng.randint(world.committed, len(world.log)))
        # Only soft state may be ahead of the log: a generation that was never stored is lost.
        self.generations = {name: g.generation for name, g in world.core.groups.items()}

    def arrive(self) -> None:
        instance = None
        if self.rng.random() < 0.4:
            # Sometimes one that is there already: then the older one is fenced.
            instance = f"static-{self.rng.randrange(3)}"
        self.actors.append(Actor(self.rng.choice(GROUPS), instance))

    def depart(self) -> None:
        actor = self.actors.pop(self.rng.randrange(len(self.actors)))
        if self.rng.random() < 0.5 and actor.member_id:
            named = (actor.member_id, actor.instance or "")
            asked: Any = actor.member_id if actor.instance is None else named
            self.world.leave(asked, group=actor.group)

    def act(self, actor: Actor) -> None:
        rng, world = self.rng, self.world
        if actor.waits_for is not None or actor.silent:
            actor.silent = actor.silent and rng.random() < 0.9
            return
        if rng.random() < 0.02:
            actor.silent = True
        elif actor.generation < 0:
            self.join(actor)
        elif actor.assignment is None:
            self.sync(actor)
        elif rng.random() < 0.4:
            self.commit(actor)
        elif rng.random() < 0.03:
            self.join(actor)
        else:
            code = world.heartbeat(
                actor.member_id, actor.generation, group=actor.group, instance=actor.instance
            )
            self.heard(actor, code)

    def join(self, actor: Actor) -> None:
        actor.assignment, actor.generation = None, -1
        data = b"x" if self.rng.random() < 0.8 else b"%d" % self.rng.randrange(10)
        ticket = self.world.join(
            actor.member_id,
            group=actor.group,
            instance=actor.instance,
            version=self.rng.choice((3, 9)) if actor.instance is None else 9,
            protocols={"range": data},
            rebalance_ms=5_000,
        )
        actor.waits_for = ("join", ticket)

    def sync(self, actor: Actor) -> None:
        assignments = None
        if actor.is_leader:
            assignments = {each: f"{actor.generation}/{each}".encode() for each in actor.members}
            self.given |= {(actor.group, actor.generation, each) for each in actor.members}
        ticket = self.world.sync(
            actor.member_id,
            actor.generation,
            assignments,
            group=actor.group,
            instance=actor.instance,
        )
        actor.waits_for = ("sync", ticket)

    def commit(self, actor: Actor) -> None:
        self.next_offset += 1
        partition = self.rng.randrange(2)
        ticket = self.world.commit_offset(
            self.next_offset,
            group=actor.group,
            partition=partition,
            member_id=actor.member_id,
            generation=actor.generation,
            instance=actor.instance,
        )
        self.commits[ticket] = (actor.group, partition, self.next_offset)
        actor.waits_for = ("commit", ticket)

    # -- what comes of it

    def read_answers(self) -> None:
        for actor in self.actors:
            if actor.waits_for is None or actor.waits_for[1] not in self.world.answers:
                continue
            kind, ticket = actor.waits_for
            actor.waits_for = None
            answer = self.world.answers[ticket]
            if kind == "commit":
                self.heard(actor, answer[0])
                continue
            if self.heard(actor, answer.error_code, answer.get("member_id", "")):
                if kind == "join":
                    self.joined(actor, answer)
                else:
                    self.assigned(actor, answer)
        for ticket in [each for each in self.commits if each in self.world.answers]:
            group, partition, offset = self.commits.pop(ticket)
            if self.world.answers[ticket][0] is ErrorCode.none:
                known = self.acknowledged.get((group, partition), 0)
                self.acknowledged[group, partition] = max(known, offset)

    def joined(self, actor: Actor, answer: Any) -> None:
        actor.member_id, actor.generation = answer.member_id, answer.generation_id
        actor.members = [each.member_id for each in answer.members]
        actor.is_leader = answer.leader == actor.member_id and not answer.skip_assignment
        if actor.is_leader:
            assert actor.member_id in actor.members

    def assigned(self, actor: Actor, answer: Any) -> None:
        if answer.assignment:
            # Whose it is stands in it; a static member takes over what its former self had.
            generation, _, member = answer.assignment.decode().partition("/")
            assert int(generation) == actor.generation, "an assignment of another generation"
            assert (actor.group, actor.generation, member) in self.given
            if actor.instance is None:
                assert member == actor.member_id, "an assignment of somebody else"
        actor.assignment = answer.assignment

    def heard(self, actor: Actor, code: ErrorCode | int, member_id: str = "") -> bool:
        """Do what clients do after an error; whether there was none."""
        match code:
            case ErrorCode.none:
                return True
            case ErrorCode.member_id_required:
                actor.member_id = member_id
            case ErrorCode.unknown_member_id:
                actor.member_id = ""
            case ErrorCode.fenced_instance_id:
                self.actors.remove(actor)
            case (
                ErrorCode.rebalance_in_progress
                | ErrorCode.illegal_generation
                | ErrorCode.not_coordinator
                | ErrorCode.coordinator_not_available
                | ErrorCode.group_id_not_found
            ):
                pass
            case _:
                raise AssertionError(f"a client would give up: {code!r}")
        actor.generation, actor.assignment = -1, None
        return False

    # -- what must hold

    def check(self) -> None:
        core = self.world.core
        for name, group in core.groups.items():
            self.check_group(group)
            before = self.generations.get(name, 0)
            assert group.generation >= before, "a generation went back"
            self.generations[name] = group.generation
        for (name, partition), offset in self.acknowledged.items():
            seen = self.world.offset(partition=partition, group=name)
            assert seen is not None, "an acknowledged offset is gone"
            assert seen >= offset, "an acknowledged offset went back"
        stored: dict[str, Any] = {}
        offsets: dict[str, dict[Any, Any]] = {}
        for record in self.world.records:
            if isinstance(record, GroupRecord):
                stored[record.group] = record.value
            elif isinstance(record, OffsetRecord):
                key = (record.topic, record.partition)
                offsets.setdefault(record.group, {})[key] = record.value
        assert core.durable_state() == {
            "stored": dict(sorted(stored.items())),
            "offsets": dict(sorted(offsets.items())),
        }

    def check_group(self, group: Group) -> None:
        joins = [m for m in group.members.values() if m.join_ticket is not None]
        syncs = [m for m in group.members.values() if m.sync_ticket is not None]
        assert group.awaiting_joins == len(joins)
        assert (group.leader is None) == (not group.members)
        assert group.leader is None or group.leader in group.members
        instances = {m.instance_id: m.id for m in group.members.values() if m.instance_id}
        assert instances == group.static_members
        assert not set(group.pending_joins) & set(group.members)
        match group.state:
            case GroupState.EMPTY:
                assert not group.members
            case GroupState.PREPARING_REBALANCE:
                assert not syncs
            case GroupState.COMPLETING_REBALANCE:
                assert group.members
                assert not joins
                assert group.protocol is not None
            case GroupState.STABLE:
                assert group.members
                assert not syncs
            case GroupState.DEAD:
                raise AssertionError("a dead group is kept")

    def settle(self) -> None:
        """No more faults: whoever is alive must get somewhere."""
        world = self.world
        world.hold, world.refuse = False, None
        world.commit()
        for _ in range(2_000):
            for actor in list(self.actors):
                actor.silent = False
                if actor in self.actors:
                    self.act_well(actor)
                self.read_answers()
                self.check()
            world.pass_ms(200)
            self.read_answers()
            if self.is_settled():
                return
        raise AssertionError(f"the groups do not settle: {world.core.groups}")

    def act_well(self, actor: Actor) -> None:
        if actor.waits_for is not None:
            return
        if actor.generation < 0:
            self.join(actor)
        elif actor.assignment is None:
            self.sync(actor)
        else:
            code = self.world.heartbeat(
                actor.member_id, actor.generation, group=actor.group, instance=actor.instance
            )
            self.heard(actor, code)

    def is_settled(self) -> bool:
        for name in GROUPS:
            alive = {actor.member_id for actor in self.actors if actor.group == name}
            group = self.world.core.groups.get(name)
            if not alive and group is None:
                continue
            if group is None or set(group.members) != alive:
                return False
            if alive and group.state is not GroupState.STABLE:
                return False
        return all(actor.assignment is not None for actor in self.actors)


@pytest.mark.parametrize("seed", range(60))
def test_invariants_hold_whatever_happens(seed: int) -> None:
    run = Run(seed)
    for _ in range(STEPS):
        run.step()
        run.check()
    run.settle()


def test_the_same_seed_is_the_same_run() -> None:
    logs = []
    for _ in range(2):
        run = Run(7)
        for _ in range(STEPS):
            run.step()
        logs.append(run.world.log)
    assert logs[0] == logs[1]
    assert logs[0]
