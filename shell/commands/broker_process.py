"""The processes of brokers that logctl runs: stop, start, kill."""

from __future__ import annotations

from typing import Any

from shell.deploying import open_operations
from shell.exits import Failed
from shell.registry import Argument, Command, Kind
from shell.session import Session

_ID = Argument("ID", "The broker's id.", kind=Kind.BROKER)


async def _stop(session: Session, *, id: int) -> None:  # noqa: A002
    result = await open_operations(session, None).stop_broker(id)
    if not result.changed:
        session.output.say(f"Broker {id} was not running.")
    elif result.killed:
        session.output.warn(f"broker {id} did not stop in time and was killed.")
    else:
        session.output.say(f"Broker {id} stopped.")


async def _start(session: Session, *, id: int) -> None:  # noqa: A002
    result = await open_operations(session, None).start_broker(id)
    if result.changed:
        session.output.say(f"Broker {id} started in {result.elapsed_ms} ms.")
    else:
        session.output.say(f"Broker {id} was already running.")


async def _kill(session: Session, *, id: int) -> None:  # noqa: A002
    if not await open_operations(session, None).kill_broker(id):
        raise Failed(f"Broker {id} was not running, so it was not killed.")
    session.output.say(f"Broker {id} killed (kill -9). Start it with `broker start {id}`.")


def _changing(verb: str, summary: str, run: Any) -> Command:
    return Command(
        name=f"broker {verb}",
        summary=summary,
        arguments=(_ID,),
        examples=(f"broker {verb} 2",),
        run=run,
        changes=True,
    )


COMMANDS = (
    _changing("stop", "Stop a broker: it hands its partitions over first.", _stop),
    _changing("start", "Start a broker that was stopped or killed.", _start),
    _changing("kill", "Kill a broker as a crash would (kill -9), for drills.", _kill),
)
