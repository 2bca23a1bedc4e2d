"""Asking again: a question that is under way may have been asked too early, and is put once more."""

import asyncio
import contextlib

from clusters.polls import Poll, Poller, PollKind

WAIT_S = 30.0


async def test_again_while_it_is_being_asked_asks_once_more() -> None:
    asked, go = 0, asyncio.Event()

    async def ask(_: str) -> int:
        nonlocal asked
        asked += 1
        number = asked
        await go.wait()
        return number

    poll, told = Poll("settings"), asyncio.Queue()
    poller = Poller(
        {"settings": PollKind(ask, 3_600_000)}, on_answer=lambda _, a: told.put_nowait(a)
    )
    poller.want([poll])
    task = asyncio.create_task(poller.run())
    try:
        async with asyncio.timeout(WAIT_S):
            while asked == 0:
                await asyncio.sleep(0)
            poller.again(poll)
            poller.again(poll)
            go.set()
            assert [(await told.get()).value, (await told.get()).value] == [1, 2]
        for _ in range(100):
            await asyncio.sleep(0)
        assert asked == 2
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
