"""Random runs of the quorum core: one seed, one run; and proof that the checks can fail."""

from random import Random

import pytest

from tests.unit.raft.quorum_world import Faults, InvariantBroken, World

SEEDS = 240


def swarm(seed: int, bugs: frozenset[str] = frozenset(), *, lax: bool = False) -> World:
    """A world whose size and faults are drawn from the seed."""
    rng = Random(f"swarm {seed}")
    faults = Faults(
        loss=rng.choice([0.0, 0.02, 0.1, 0.3]),
        duplicate=rng.choice([0.0, 0.05]),
        delay_ms_max=rng.choice([2, 10, 60]),
        slow=rng.choice([0.0, 0.02, 0.1]),
        flush_ms_max=rng.choice([1, 10, 80]),
        persist_ms_max=rng.choice([1, 10, 60]),
        reply_before_persist=lax,
    )
    return World(
        seed,
        voters=3 if seed % 2 else 5,
        observers=seed % 3 == 0,
        faults=faults,
        bugs=bugs,
    )


def disturb(world: World, rng: Random, crash: float, cut: float, away_ms_max: int) -> None:
    """One random act: crash, restart, cut, heal, append, snapshot."""
    draw = rng.random()
    nodes = list(world.nodes.values())
    node = rng.choice(nodes)
    if draw < crash:
        if rng.random() < 0.5 and (leader := world.leader()) is not None:
            node = leader
        if node.core is not None:
            node.crash()
            world.after(rng.randint(1, away_ms_max), _boot, node, node.life)
    elif draw < crash + cut:
        if world.cut:
            world.heal()
        elif rng.random() < 0.5:
            world.isolate(node.id)
        else:
            world.cut.add((node.id, rng.choice(nodes).id))
    elif draw < crash + cut + 0.03:
        node.take_snapshot()
    else:
        for leading in nodes:
            if leading.core is not None and leading.core.is_leader:
                world.append(leading, rng.randint(1, 4))


def _boot(node, life) -> None:
    if node.life == life and node.core is None:
        node.boot()


def run_seed(seed: int, bugs: frozenset[str] = frozenset(), *, lax: bool = False) -> World:
    """Faults with checks after every event; then heal and demand progress."""
    world = swarm(seed, bugs, lax=lax)
    rng = Random(f"acts {seed}")
    crash, cut = rng.choice([0.02, 0.1, 0.25]), rng.choice([0.0, 0.05, 0.15])
    away_ms_max, pause_ms_max = 1500, 130
    if lax:  # nodes that come back at once, in the middle of elections
        crash, cut, away_ms_max, pause_ms_max = 0.5, 0.2, 10, 60
    world.boot_all()
    for _ in range(90):
        world.run(rng.randint(5, pause_ms_max))
        disturb(world, rng, crash, cut, away_ms_max)
    world.heal()
    world.faults = Faults()
    for node in world.nodes.values():
        if node.core is None:
            node.boot()
    committed = len(world.canonical)
    if not world.run(15_000, until=lambda: world.leader() is not None):
        raise InvariantBroken("Liveness: no leader after healing")

    def progressed() -> bool:
        if (leader := world.leader()) is not None and leader.core is not None:
            if leader.disk.end == leader.high_watermark and world.appended == before:
                world.append(leader)
            return world.caught_up() and len(world.canonical) > committed
        return False

    before = world.appended
    if not world.run(15_000, until=progressed):
        raise InvariantBroken("Liveness: not everybody caught up after healing")
    world.check_all()
    return world


@pytest.mark.parametrize("first", range(0, SEEDS, 40))
def test_random_runs_keep_every_rule(first: int) -> None:
    for seed in range(first, first + 40):
        try:
            run_seed(seed)
        except AssertionError as problem:
            pytest.fail(f"seed {seed}: {problem!r}\nrepro: run_seed({seed}) in {__file__}")


def test_a_seed_always_gives_the_same_run() -> None:
    def trace(seed: int) -> list[object]:
        world = run_seed(seed)
        return [world.now, world.canonical, [n.traces for n in world.nodes.values()]]

    assert trace(7) == trace(7)


BUGS = [
    "count_unflushed",
    "hw_over_old_epoch",
    "vote_twice",
    "vote_for_short_log",
    "skip_truncation",
    "elect_without_majority",
]


# Where to begin with a bug that few seeds show: the first ones are known not to.
SELDOM_SEEN = {"vote_twice": 176}


@pytest.mark.parametrize("bug", BUGS)
def test_a_deliberate_bug_is_found(bug: str) -> None:
    for seed in range(SELDOM_SEEN.get(bug, 0), SEEDS):
        try:
            run_seed(seed, frozenset({bug}))
        except AssertionError:
            return
    pytest.fail(f"no seed finds {bug}")


def test_answering_before_the_vote_is_durable_is_found() -> None:
    for seed in range(SEEDS):
        try:
            run_seed(seed, lax=True)
        except AssertionError:
            return
    pytest.fail("no seed finds an answer before the vote is durable")
