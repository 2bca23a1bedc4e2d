"""What a supervisor is told at its start. Plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`nofile` None keeps the limit of the caller; `user` None keeps the caller's user."""

    name: str
    run_dir: str
    log: str
    command: tuple[str, ...]
    user: str | None = None
    nofile: int | None = None
    stop_timeout_ms: int = 60_000


class SupervisorError(Exception):
    """Something that the caller must know; the text says what and why."""
