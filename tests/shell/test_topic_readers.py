"""Which groups read a topic: also those that have not committed, whatever others do not answer."""

from __future__ import annotations

from types import SimpleNamespace

from clusters.admin import AdminError, CommittedOffset, GroupSummary
from shell.topic_readers import readers_of


def group(name: str) -> GroupSummary:
    return GroupSummary(
        group=name, state="Stable", protocol_type="consumer", group_type="classic", coordinator=1
    )


class Cluster:
    """The topics orders (two partitions that end at 10) and others; groups as a test says."""

    def __init__(self, assigned, committed, silent=()):
        self.assigned, self.committed, self.silent = assigned, committed, silent

    async def topic(self, name):
        partitions = [SimpleNamespace(partition=n, end_offset=10) for n in (0, 1)]
        return SimpleNamespace(partitions=partitions)

    async def group(self, name):
        if name in self.silent:
            raise AdminError("no answer within 10 ms")
        owned = self.assigned.get(name, ())
        members = [SimpleNamespace(member_id=f"m{n}", partitions=p) for n, p in enumerate(owned)]
        return SimpleNamespace(members=members)

    async def group_offsets(self, name):
        return [
            CommittedOffset(
                topic=topic, partition=partition, offset=offset, leader_epoch=None, metadata=""
            )
            for (topic, partition), offset in self.committed.get(name, {}).items()
        ]


async def found(cluster, *names):
    readers, failures = await readers_of(cluster, "orders", [group(name) for name in names])
    rows = [(r.summary.group, r.members, r.partitions, r.lag, r.whole) for r in readers]
    return rows, [str(failure) for failure in failures]


async def test_the_one_furthest_behind_comes_first_and_others_are_left_out():
    cluster = Cluster(
        {"a": [[("orders", 0)], [("orders", 1), ("signups", 0)]], "c": [[("signups", 0)]]},
        {
            "a": {("orders", 0): 9, ("orders", 1): 10, ("signups", 0): 0},
            "b": {("orders", 1): 3},
            "c": {("signups", 0): 1},
        },
    )
    rows, failures = await found(cluster, "a", "b", "c")
    assert rows == [("b", 0, 1, 7, True), ("a", 2, 2, 1, True)]
    assert failures == []


async def test_a_member_that_committed_nothing_reads_all_the_same():
    cluster = Cluster({"new": [[("orders", 0), ("orders", 1)]]}, {"new": {("orders", 0): 4}})
    assert (await found(cluster, "new"))[0] == [("new", 1, 2, 6, False)]


async def test_a_group_that_does_not_answer_costs_its_own_row():
    cluster = Cluster({}, {"a": {("orders", 0): 10}}, silent={"mute"})
    rows, failures = await found(cluster, "a", "mute")
    assert rows == [("a", 0, 1, 0, True)]
    assert failures == ["group mute: no offsets: no answer within 10 ms"]
