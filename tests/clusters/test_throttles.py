"""Limits on how fast moves copy: which replicas, and that nothing is left of them afterwards."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from clusters.admin import AdminError, ConfigEntry
from clusters.admin.throttles import (
    FOLLOWER_RATE,
    FOLLOWER_REPLICAS,
    LEADER_RATE,
    LEADER_REPLICAS,
    Copying,
    copying,
    hold_back,
    let_go,
    pairs_of,
    remove_all,
    throttles,
    with_copies,
    without_moved,
)

ORDERS = {("orders", 0): Copying((1, 3), (2,))}
RATES = {LEADER_RATE: "1000", FOLLOWER_RATE: "1000"}


class Cluster:
    """Settings of three brokers and of topics, and what moves; `refuses` is a setting's owner."""

    def __init__(self) -> None:
        self.settings: dict[tuple[str, str], dict[str, str]] = {}
        self.moving: list[tuple[str, int]] = []
        self.down: set[int] = set()
        self.refuses: object = None
        # How often an owner is still told with what it had before all was removed.
        self.late: dict[tuple[str, str], int] = {}

    async def topics(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(topic=name) for name in ("orders", "payments")]

    async def brokers(self) -> list[SimpleNamespace]:
        states = {each: "fenced" if each in self.down else "up" for each in (1, 2, 3)}
        return [SimpleNamespace(id=each, state=state) for each, state in states.items()]

    async def configs(self, kind: str, name: str) -> list[ConfigEntry]:
        assert int(name) not in self.down
        of = self.settings.get((kind, name), {})
        if not of and self.late.get((kind, name)):
            self.late[kind, name] -= 1
            of = RATES
        return [
            *(
                ConfigEntry(name=key, value=value, source="dynamic broker")
                for key, value in of.items()
            ),
            ConfigEntry(name="node.id", value=name, source="static broker"),
        ]

    async def topic_settings(self, topics, keys) -> dict[str, dict[str, str]]:
        return {
            name: {key: self.settings.get(("topic", name), {}).get(key, "") for key in keys}
            for name in topics
        }

    async def alter_configs(self, kind, name, set=None, unset=(), *, validate_only=False) -> None:  # noqa: A002
        if (kind, name) == self.refuses and set:
            raise AdminError(f"no, not at {name}", code=40)
        if validate_only:
            return
        of = self.settings.setdefault((kind, name), {})
        of.update(set or {})
        for key in unset:
            of.pop(key, None)

    async def reassignments(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(topic=topic, partition=index) for topic, index in self.moving]

    def held(self) -> dict[tuple[str, str], dict[str, str]]:
        return {owner: of for owner, of in self.settings.items() if of}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_only_what_is_added_is_copied() -> None:
    assert copying((3, 1), (2, 3)) == Copying((3, 1), (2,))
    assert copying((3, 1), (1, 3)) is None
    assert copying((3, 1), (3,)) is None


@pytest.mark.parametrize(
    ("text", "pairs"),
    [("0:1,0:3", {(0, 1), (0, 3)}), (" 4:12 ", {(4, 12)}), ("", set()), ("*", None), ("0", None)],
)
def test_the_lists_of_topics_are_read(text, pairs) -> None:
    assert pairs_of(text) == pairs


def test_another_move_of_the_topic_stays_listed_and_every_replica_is_enough() -> None:
    known = {"orders": {LEADER_REPLICAS: "7:1", FOLLOWER_REPLICAS: "*"}}
    assert with_copies(ORDERS, known) == {"orders": {LEADER_REPLICAS: "0:1,0:3,7:1"}}


def test_what_still_moves_stays_held_back_and_what_was_meant_for_all_time() -> None:
    known = {
        "orders": {LEADER_REPLICAS: "0:1,7:1", FOLLOWER_REPLICAS: "0:2"},
        "payments": {LEADER_REPLICAS: "*"},
    }
    assert without_moved(known, {("orders", 7)}) == {
        "orders": {LEADER_REPLICAS: "7:1", FOLLOWER_REPLICAS: None}
    }


async def test_a_move_is_held_back_and_nothing_is_left_of_it(cluster) -> None:
    await hold_back(cluster, ORDERS, 1000)
    assert cluster.held() == {
        ("broker", "1"): RATES,
        ("broker", "2"): RATES,
        ("broker", "3"): RATES,
        ("topic", "orders"): {LEADER_REPLICAS: "0:1,0:3", FOLLOWER_REPLICAS: "0:2"},
    }
    cluster.moving = [("orders", 0)]
    left, moving = await let_go(cluster, {"orders"}, {1, 2, 3})
    assert left
    assert moving == {("orders", 0)}
    assert len(cluster.held()) == 4
    cluster.moving = []
    left, _ = await let_go(cluster, {"orders"}, {1, 2, 3})
    assert not left
    assert cluster.held() == {}


async def test_a_broker_that_shows_it_later_is_not_said_to_keep_it(cluster) -> None:
    await hold_back(cluster, ORDERS, 1000)
    cluster.late = {("broker", "3"): 4}
    left, _ = await let_go(cluster, {"orders"}, {1, 2, 3})
    assert not left
    assert cluster.late == {("broker", "3"): 0}


async def test_while_others_move_the_rates_stay_for_them(cluster) -> None:
    await hold_back(cluster, ORDERS | {("payments", 1): Copying((1,), (3,))}, 1000)
    cluster.moving = [("payments", 1)]
    left, moving = await let_go(cluster, {"orders"}, {1, 2, 3})
    assert moving == {("payments", 1)}
    assert set(left.rates) == {1, 2, 3}
    assert ("topic", "orders") not in cluster.held()
    assert ("topic", "payments") in cluster.held()


@pytest.mark.parametrize("refuses", [("broker", "2"), ("topic", "orders")])
async def test_what_cannot_be_held_back_leaves_all_as_it_was(cluster, refuses) -> None:
    before = {LEADER_RATE: "50", FOLLOWER_RATE: "60"}
    cluster.settings["broker", "1"] = dict(before)
    cluster.refuses = refuses
    with pytest.raises(AdminError, match="no, not at"):
        await hold_back(cluster, ORDERS, 1000)
    assert cluster.held() == {("broker", "1"): before}


async def test_off_reaches_brokers_that_cannot_tell(cluster) -> None:
    await hold_back(cluster, ORDERS, 1000)
    cluster.down = {3}
    found = await throttles(cluster)
    assert found.unknown == (3,)
    assert set(found.rates) == {1, 2}
    assert set(found.replicas) == {"orders"}
    await remove_all(cluster, found)
    assert cluster.held() == {}
