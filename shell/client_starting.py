"""Starts a client of the client library, also where the broker that answered is gone by then.

The library is given one broker, which was well a moment ago. When that one has died since, another
one is looked for: of a cluster that lives nobody hears that it cannot be reached.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.errors import KafkaConnectionError

from shell.session import Session

# Brokers may go one after the other; no cluster loses more of them in the time of a start.
_TRIES = 3


async def started(
    session: Session,
    answered: str | None,
    make: Callable[[str | None], Any],
    start: Callable[[Any], Awaitable[None]],
    stop: Callable[[Any], Awaitable[None]],
) -> Any:
    """The client that `make` made for a broker that answers, started.

    Raises what `start` raises, KafkaConnectionError only after some brokers; and
    ClusterUnreachable, with every address and why, when none answers any more.
    """
    for left in reversed(range(_TRIES)):
        client = make(answered)
        try:
            await start(client)
            return client
        except KafkaConnectionError:
            await stop(client)
            if not left:
                raise
        except BaseException:
            await stop(client)
            raise
        async with session.admin() as admin:
            await admin.cluster()
            answered = admin.source
    return None
