"""The lag of all groups at once: few questions, in bounded time, and nothing that one costs all."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from broker.protocol.errors import LogctlError
from clusters.admin import Gathered
from clusters.admin.group_model import CommittedOffset, GroupDetail, GroupMember
from clusters.polls import Questions, questions


class Admin:
    """Groups that have read `orders` up to an offset; `slow` ones never answer."""

    def __init__(self, groups: Mapping[str, int], *, slow: set[str] | None = None) -> None:
        self.read = groups
        self.slow = slow or set()
        self.asked: list[str] = []

    group_lag = None

    async def groups(self) -> Gathered:
        return Gathered(tuple(SimpleNamespace(group=name) for name in self.read))

    async def group(self, name: str) -> GroupDetail:
        self.asked.append(name)
        if name in self.slow:
            await asyncio.Event().wait()
        if name == "refused":
            raise LogctlError("not allowed to read it")
        member = GroupMember(
            member_id=f"{name}-1",
            instance_id=None,
            client_id="c",
            host="h",
            partitions=(("orders", 0), ("orders", 1)),
        )
        return GroupDetail(
            group=name,
            state="Stable",
            protocol_type="consumer",
            assignor="range",
            coordinator=1,
            generation=None,
            members=(member,),
        )

    async def group_offsets(self, name: str) -> list[CommittedOffset]:
        offset = self.read[name]
        return [
            CommittedOffset(topic="orders", partition=0, offset=offset, leader_epoch=0, metadata="")
        ]

    async def offsets(self, partitions, timestamp: int) -> dict:
        self.asked.append("ends")
        return dict.fromkeys(partitions, 100)


def lags_of(admin: Admin):
    return Questions(admin, lambda _: ()).kinds()["lags"]


def lag(rows) -> list[tuple[int, int | None, int | None, str | None]]:
    return [(each.partition, each.end, each.lag, each.member) for each in rows]


async def test_where_partitions_end_is_asked_once_for_all_groups() -> None:
    admin = Admin({f"team-{n}": n for n in range(50)})
    told = await lags_of(admin).ask("")
    assert admin.asked.count("ends") == 1
    assert len(told) == 50
    assert lag(told["team-7"]) == [(0, 100, 93, "team-7-1"), (1, 100, None, "team-7-1")]


async def test_one_that_is_refused_says_why_and_the_others_are_counted() -> None:
    told = await lags_of(Admin({"billing": 40, "refused": 1})).ask("")
    assert told["refused"] == "not allowed to read it"
    assert lag(told["billing"])[0] == (0, 100, 60, "billing-1")


async def test_what_does_not_come_in_time_costs_nobody_else_and_comes_first_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(questions, "GROUPS_WAIT_S", 0.05)
    admin = Admin({f"team-{n:02}": n for n in range(20)} | {"zeta": 1}, slow={"zeta"})
    poll = lags_of(admin)
    told = await poll.ask("")
    assert told["zeta"] == questions.NOT_IN_TIME
    assert lag(told["team-03"])[0] == (0, 100, 97, "team-03-1")
    admin.slow.clear()
    admin.asked.clear()
    told = await poll.ask("")
    assert admin.asked[0] == "zeta"
    assert lag(told["zeta"])[0] == (0, 100, 99, "zeta-1")


async def test_without_groups_nothing_is_asked() -> None:
    admin = Admin({})
    assert await lags_of(admin).ask("") == {}
    assert admin.asked == []
