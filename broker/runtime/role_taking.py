"""Takes the roles that the image gives this broker, few at a time: there may be ten thousand.

Must never hold the loop for long, nor say that it is done while a role is still to be taken.
"""

import asyncio
from collections.abc import Callable

from broker.runtime.replica_table import ReplicaTable

START_POLL_MS = 50


class RoleTaking:
    """Drives ``ReplicaTable.take_roles``. ``on_failed`` hears why it cannot go on."""

    def __init__(self, table: ReplicaTable, on_failed: Callable[[str], None]) -> None:
        self._table = table
        self._on_failed = on_failed
        self._done = asyncio.Event()
        self._wanted = asyncio.Event()
        self._stopped = False

    def noted(self) -> None:
        """The table followed the image: there may be more to do now, or nothing."""
        if self._table.takes_roles:
            if not self._stopped:
                self._done.clear()
            self._wanted.set()
        elif self._table.ready:
            self._done.set()

    def stop(self) -> None:
        """Let those go on who wait for the end."""
        self._stopped = True
        self._done.set()

    async def wait(self) -> None:
        """Return once every role is taken. Stopping ends the wait."""
        await self._done.wait()

    async def run(self, on_started: Callable[[], None]) -> None:
        """Take first roles, then all whenever they have to be compared, until cancelled."""
        while not self._table.try_start():  # noqa: ASYNC110 - the epoch is set elsewhere
            await asyncio.sleep(START_POLL_MS / 1000)
        on_started()
        while True:
            self._wanted.clear()
            try:
                while self._table.take_roles():  # noqa: ASYNC110 - nobody is waited for
                    await asyncio.sleep(0)
            except Exception as error:
                self._on_failed(f"roles cannot be taken: {error!r}")
                raise
            self._done.set()
            await self._wanted.wait()
