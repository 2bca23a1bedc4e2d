"""Deadlines: kept in order, cheap to move, none forgotten and none twice."""

import random

from broker.groups.timers import Timers


def due(timers: Timers, now_ms: int) -> list[tuple[str, ...]]:
    found = []
    while (each := timers.pop_due(now_ms)) is not None:
        found.append(each[0])
    return found


def test_deadlines_come_in_order_with_their_actions() -> None:
    timers = Timers()
    timers.set(("b",), 20, "second")
    timers.set(("a",), 10, "first")
    assert timers.next_wakeup_ms() == 10
    assert timers.pop_due(9) is None
    assert timers.pop_due(30) == (("a",), "first")
    assert timers.pop_due(30) == (("b",), "second")
    assert timers.pop_due(30) is None
    assert timers.next_wakeup_ms() is None


def test_a_deadline_moves_both_ways_and_can_be_cancelled() -> None:
    timers = Timers()
    timers.set(("a",), 10)
    timers.set(("a",), 50)
    assert timers.next_wakeup_ms() == 50
    timers.set(("a",), 5)
    assert timers.next_wakeup_ms() == 5
    timers.set(("b",), 7)
    timers.cancel(("a",))
    timers.cancel(("unknown",))
    assert timers.get(("a",)) is None
    assert due(timers, 100) == [("b",)]


def test_random_deadlines_agree_with_a_plain_dictionary() -> None:
    rng = random.Random(9)
    timers, plain, now = Timers(), dict[tuple[str, ...], int](), 0
    for _ in range(20_000):
        key = (str(rng.randrange(40)),)
        match rng.randrange(4):
            case 0 | 1:
                plain[key] = now + rng.randrange(1, 200)
                timers.set(key, plain[key])
            case 2:
                plain.pop(key, None)
                timers.cancel(key)
            case _:
                now += rng.randrange(20)
                expected = sorted(each for each, at in plain.items() if at <= now)
                assert sorted(due(timers, now)) == expected
                for each in expected:
                    del plain[each]
        assert timers.next_wakeup_ms() == min(plain.values(), default=None)
        assert len(timers) == len(plain)


def test_members_that_come_and_go_leave_nothing_behind() -> None:
    timers = Timers()
    for number in range(20_000):
        timers.set((str(number),), 1_000_000 + number)
        timers.cancel((str(number),))
    assert len(timers._heap) < 2_000
