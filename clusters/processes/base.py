"""One broker's process, whatever keeps it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

# running; stopped (never started, or stopped on request); stale (it ended by itself);
# unreachable (its machine did not answer).
ProcessState = Literal["running", "stopped", "stale", "unreachable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessView:
    """A process as seen at one moment. `detail` says in words what its supervisor tells."""

    state: ProcessState
    pid: int | None = None
    uptime_ms: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """How a request to stop went."""

    was_running: bool
    killed: bool = False


def restarted_words(times: int) -> str:
    """How often a supervisor started a broker again, in words."""
    return "restarted once" if times == 1 else f"restarted {times} times"


class BrokerProcess(Protocol):
    """Starts, stops and looks at exactly one broker. Raises HostError."""

    @property
    def kind(self) -> str:
        """`direct`, `systemd` or `builtin`."""

    @property
    def unit(self) -> str | None:
        """The text of its unit file, when it has one."""

    async def look(self) -> ProcessView:
        """What runs now."""

    async def start(self, command: Sequence[str]) -> str:
        """Start it, and have it started again after a crash; returns words such as `pid 7`."""

    async def stop(self, timeout_ms: int) -> Stopped:
        """Ask it to stop, insist after a limit; it stays stopped, also after a reboot."""

    async def kill(self) -> bool:
        """Kill the process at once, as a crash would; False when it did not run."""

    async def remove(self) -> None:
        """Forget it: no unit, no run files. It must be stopped."""

    async def explain(self) -> str:
        """For a failure: what its supervisor knows, in one line or more."""
