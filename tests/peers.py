"""What it means that a program of others is not on this machine: told, and in CI a failure."""

import os
from typing import NoReturn

import pytest


def left_out(why: str) -> NoReturn:
    """Skip with the reason; fail with it where peers are required (LOGCTL_REQUIRE_PEERS)."""
    __tracebackhide__ = True
    if os.environ.get("LOGCTL_REQUIRE_PEERS"):
        pytest.fail(f"{why}, and LOGCTL_REQUIRE_PEERS is set")
    pytest.skip(why)
