"""Calls something a little later, and does so for sure.

A timer of Textual that is to go off once does not go off at all when more than its time passes
before it has begun to wait: on a busy machine, or on a laptop that slept, a few milliseconds are
gone before it looks at the clock. What waits for that call waits for ever. Use this for what must
not be lost; a timer that repeats loses one turn only.
"""

import asyncio
from collections.abc import Callable

from textual.message_pump import MessagePump


def call_after(node: MessagePump, seconds: float, callback: Callable[[], object]) -> None:
    """Have `node` call it in a turn of its own, `seconds` from now; never once it is closed."""
    asyncio.get_running_loop().call_later(max(0.0, seconds), node.call_next, callback)
