"""What a client proves itself with, read again once somebody did not take it.

Passwords and certificates are changed while a feed or a dashboard runs for days. Where they come
from is read again before the next attempt, at most once a second, and never on the event loop: a
source may be slow. Must never log or show a secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from broker.protocol.errors import ConnectionFailed, LogctlError
from broker.protocol.lazy_dataclass import dataclass
from clusters.admin.errors import AuthenticationRefused

if TYPE_CHECKING:
    from clusters.admin.security import Security

READ_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """Where credentials come from: `read` gives them as they are now, and may take seconds.

    It raises LogctlError. `words` tell the reader what is read again, "" for nothing.
    """

    read: Callable[[], Security | None]
    words: str = ""


class Credentials:
    """The credentials in use; `security` is None for plain connections."""

    def __init__(self, security: Security | None, renewal: Renewal | None = None) -> None:
        self.security = security
        self._renewal = renewal
        # Whether somebody did not take those in use, or may not have.
        self._doubted = False
        self._read_at_s = float("-inf")
        self._problem: LogctlError | None = None
        self._reading: asyncio.Future[None] | None = None

    @property
    def words(self) -> str:
        """What is read again until it is taken, for the reader; "" for nothing."""
        return self._renewal.words if self._renewal is not None else ""

    def taken(self, security: Security | None) -> None:
        """Note that a broker let us in with them."""
        if security is self.security:
            self._doubted, self._problem = False, None

    def failed(self, security: Security | None, error: Exception) -> None:
        """Note that opening a connection failed with them; doubts them where that may be why."""
        if security is not self.security or self._renewal is None:
            return
        if isinstance(error, AuthenticationRefused):
            self._doubted = True
        elif isinstance(error, ConnectionFailed) and not error.refused:
            # A certificate that is over looks like a connection that breaks; so does, to a client
            # without credentials, a broker that has come to want some.
            self._doubted = self._doubted or security is None or security.tls is not None

    async def current(self, address: str) -> Security | None:
        """The credentials for the next attempt. Raises AuthenticationRefused: unreadable now."""
        await self._read_if_doubted()
        if self._problem is not None:
            raise AuthenticationRefused(address, str(self._problem))
        return self.security

    async def changed(self, limit_s: float) -> bool:
        """Wait until others are there than those that were not taken; whether they came."""
        loop, before = asyncio.get_running_loop(), self.security
        end = loop.time() + limit_s
        while self.security is before and loop.time() < end:
            await asyncio.sleep(min(READ_EVERY_S, max(0.0, end - loop.time())))
            await self._read_if_doubted()
        return self.security is not before

    async def _read_if_doubted(self) -> None:
        # At the same time asked for by many; each waits for the one that reads.
        while self._reading is not None:
            await asyncio.wait([self._reading])
        renewal = self._renewal
        due = time.monotonic() - self._read_at_s >= READ_EVERY_S
        if renewal is None or not self._doubted or not due:
            return
        self._reading = asyncio.get_running_loop().create_future()
        try:
            read = await _in_daemon_thread(renewal.read)
            self._problem = None
            if read != self.security:
                self.security, self._doubted = read, False
        except LogctlError as error:
            self._problem = error
        finally:
            self._read_at_s = time.monotonic()
            self._reading.set_result(None)
            self._reading = None


async def _in_daemon_thread(read: Callable[[], Security | None]) -> Security | None:
    """What a function returns, from a thread that nobody waits for at the end of the program."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Security | None] = loop.create_future()

    def tell(found: Security | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(found)

    def work() -> None:
        found, failed = None, None
        try:
            found = read()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, found, failed)

    threading.Thread(target=work, name="credentials", daemon=True).start()
    return await done
