"""Logs that grew apart become the same again, by leader epoch and nothing else."""

import random

import pytest

from broker.protocol.errors import ErrorCode
from broker.replication import Applied
from tests.unit.replication.fake_log import batch
from tests.unit.replication.partition_world import World


def test_a_dead_leaders_unreplicated_tail_is_cut() -> None:
    world = World()
    world.elect(1)
    world.append(1, batch("a"))
    world.sync(2, 3, rounds=3)
    world.append(1, batch("lost-1"))
    world.append(1, batch("lost-2"))
    world.elect(2, isr=(2, 3), tell=(2, 3))
    world.append(2, batch("b"))
    world.sync(3)
    world.publish(1)
    assert world.fetch(1) is Applied.TRUNCATED
    world.sync(1)
    assert world[1].log.all_values() == world[2].log.all_values() == ["0:a", "1:b"]
    assert world[1].log.epochs == world[2].log.epochs


def test_records_above_the_followers_watermark_survive_an_election() -> None:
    """KIP-101: truncation by watermark would lose 'a' here, though it was acknowledged."""
    world = World()
    world.elect(1)
    world.append(1, batch("a"))
    for follower in (3, 2, 3, 2):
        world.fetch(follower)
    assert world[1].acknowledged(1, 1) == ErrorCode.none
    assert world[3].high_watermark == 0
    world.elect(2, isr=(2, 3), tell=(2, 3))
    world.sync(3)
    world.elect(3, isr=(3,), tell=(3,))
    assert world[3].log.all_values() == ["0:a"]


def test_an_epoch_that_the_follower_never_saw_takes_another_round() -> None:
    """KIP-279: fast changes of leader leave epochs that the other side does not know."""
    world = World(min_isr=1)
    world.elect(1)
    world.append(1, batch("a"))
    world.sync(2, 3, rounds=3)
    # 1 writes alone in epoch 2, 2 writes alone in epochs 3 and 5, 1 leads 4 alone between.
    world.elect(1, tell=(1,))
    world.append(1, batch("one-2", "one-2b"), acks=1)
    world.elect(2, tell=(2,))
    world.append(2, batch("two-3"), acks=1)
    world.elect(1, tell=(1,))
    world.append(1, batch("one-4"), acks=1)
    world.elect(2, tell=(1, 2, 3))
    world.append(2, batch("two-5"), acks=1)
    rounds = 0
    while world[1].log.all_values() != world[2].log.all_values():
        world.fetch(1)
        rounds += 1
        assert rounds < 8
    assert world[1].log.all_values() == ["0:a", "1:two-3", "2:two-5"]
    assert world[1].log.epochs == world[2].log.epochs


def test_elections_without_writes_end() -> None:
    """KAFKA-10706: epochs noted at the log's end must be cut too, or followers ask for ever."""
    world = World()
    world.elect(1)
    world.append(1, batch("a"))
    world.sync(2, 3, rounds=3)
    for leader in (1, 2, 1, 2, 1):
        world.elect(leader, tell=(leader,))
    world.elect(3)
    world.append(3, batch("b"))
    world.sync(1, 2, rounds=6)
    expected = ["0:a", "1:b"]
    assert world[1].log.all_values() == world[2].log.all_values() == expected


def test_a_diverging_answer_does_not_count_as_progress() -> None:
    world = World()
    world.elect(1)
    world.append(1, batch("a"))
    world.append(1, batch("lost"))
    world.elect(2, tell=(1, 2, 3))
    world.append(2, batch("b"))
    world.append(2, batch("c"))
    assert world.fetch(1) is Applied.TRUNCATED
    assert world[2].leader.followers[1].log_end_offset == -1
    assert world[2].high_watermark == 0


def test_a_follower_older_than_the_leaders_start_begins_there() -> None:
    world = World(min_isr=1)
    world.elect(1)
    world.sync(2, 3, rounds=1)
    for value in "abcdef":
        world.append(1, batch(value))
    world.sync(2, 3, rounds=2)
    world[1].local.advance_start_offset(4)
    fresh = world.partitions[3] = world.new_partition(3)
    fresh.become_follower(world.state)
    asked = fresh.follower.position()
    outcome = world[1].fetch_as_follower(
        3,
        fetch_offset=asked.fetch_offset,
        last_fetched_epoch=asked.last_fetched_epoch,
        current_leader_epoch=asked.leader_epoch,
        log_start_offset=0,
        broker_epoch=103,
        max_bytes=1000,
        min_one=True,
        now_ms=world.now_ms,
    )
    assert outcome.error == ErrorCode.offset_out_of_range
    fresh.follower.out_of_range(4, 6)
    assert (fresh.log.start_offset, fresh.log.end_offset, fresh.high_watermark) == (4, 4, 4)
    world.sync(3)
    assert fresh.log.all_values() == ["4:e", "5:f"]


def test_a_follower_longer_than_the_leader_is_cut() -> None:
    world = World(min_isr=1)
    world.elect(1)
    for value in "abc":
        world.append(1, batch(value))
    world.sync(2, 3, rounds=2)
    assert world[2].follower.out_of_range(0, 2) is Applied.TRUNCATED
    assert world[2].log.end_offset == 2
    assert world[2].high_watermark <= 2


def test_a_follower_takes_over_the_leaders_log_start() -> None:
    world = World()
    world.elect(1)
    for value in "abc":
        world.append(1, batch(value))
    world.sync(2, 3, rounds=3)
    world[1].local.advance_start_offset(2)
    world.sync(2, 3, rounds=1)
    assert world[2].log.start_offset == world[3].log.start_offset == 2
    world.sync(2, 3, rounds=1)
    assert world[1].leader.low_watermark == 2


class RandomHistory:
    """Random appends, fetches, ISR changes, elections among in-sync replicas, late metadata."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"partition/{seed}")
        self.world = World(min_isr=2, lag_ms=5_000)
        self.world.elect(1)
        self.acknowledged: list[tuple[int, str]] = []
        self.waiting: list[tuple[int, int, int, str]] = []  # leader, epoch, offset, value

    def step(self, number: int) -> None:
        rng, world = self.rng, self.world
        world.now_ms += rng.choice((1, 100, 1_500))
        broker = rng.choice((1, 2, 3))
        actions = (self.produce, self.fetch, self.change_isr, self.elect, self.hear)
        (action,) = rng.choices(actions, weights=(30, 53, 5, 2, 10))
        action(broker, number)
        for each in (1, 2, 3):
            assert world[each].high_watermark <= world[each].log.end_offset
        self.collect()

    def produce(self, broker: int, number: int) -> None:
        partition = self.world[broker]
        if partition.is_leader:
            error, info = self.world.append(broker, batch(f"s{number}"))
            if error == ErrorCode.none:
                entry = (broker, partition.leader_epoch, info.last_offset, f"s{number}")
                self.waiting.append(entry)

    def fetch(self, broker: int, _number: int) -> None:
        partition = self.world[broker]
        if partition.follower is None:
            return
        leader = self.world[partition.follower.leader_id]
        if leader.is_leader and leader.leader_epoch == partition.leader_epoch:
            self.world.fetch(broker, leader.local_id, max_bytes=self.rng.choice((1, 1000)))

    def change_isr(self, _broker: int, _number: int) -> None:
        state = self.world.state
        leader = self.world[state.leader]
        if leader.is_leader and leader.leader_epoch == state.leader_epoch:
            leader.check_isr(self.world.now_ms)
            proposal = leader.isr_proposal
            if proposal and proposal.partition_epoch == state.partition_epoch:
                self.world.decide_isr(state.leader)

    def elect(self, _broker: int, _number: int) -> None:
        leader = self.rng.choice(self.world.state.isr)
        heard = [b for b in (1, 2, 3) if self.rng.random() < 0.6 or b == leader]
        self.world.elect(leader, tell=heard)

    def hear(self, broker: int, _number: int) -> None:
        self.world.publish(broker)

    def collect(self) -> None:
        for entry in list(self.waiting):
            leader, epoch, offset, value = entry
            verdict = self.world[leader].acknowledged(offset + 1, epoch)
            if verdict == ErrorCode.none:
                self.acknowledged.append((offset, value))
            if verdict is not None:
                self.waiting.remove(entry)


@pytest.mark.parametrize("seed", range(150))
def test_any_history_of_clean_elections_converges_without_loss(seed: int) -> None:
    history = RandomHistory(seed)
    for number in range(400):
        history.step(number)
    world = history.world
    world.publish(1, 2, 3)
    world.sync(*(b for b in (1, 2, 3) if b != world.state.leader), rounds=60)
    logs = [world[b].log.all_values() for b in (1, 2, 3)]
    assert logs[0] == logs[1] == logs[2]
    for offset, value in history.acknowledged:
        assert logs[0][offset] == f"{offset}:{value}", "an acknowledged record is lost"
    assert history.acknowledged, "this history acknowledged nothing, so it tests nothing"
