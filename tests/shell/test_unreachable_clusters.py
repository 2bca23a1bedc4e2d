"""Nobody answers: one line within the timeout, naming each address and why."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from clusters.free_ports import free_ports


def logctl(*words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "LOGCTL" not in name}
    return subprocess.run(
        [sys.executable, "-m", "shell.main", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def closed_port():
    return free_ports(1)[0]


@pytest.fixture
def silent_port():
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    "words", ["topic list", "broker list", "produce orders x", "tail orders --from start"]
)
def test_each_address_is_named_with_its_reason(words, closed_port, silent_port):
    began = time.monotonic()
    addresses = f"127.0.0.1:{closed_port},127.0.0.1:{silent_port}"
    done = logctl(*words.split(), "--bootstrap", addresses, "--timeout", "2s")
    took_s = time.monotonic() - began
    if "refused" not in done.stderr.lower():
        # On a busy machine two seconds are over before a connection can be refused.
        done = logctl(*words.split(), "--bootstrap", addresses, "--timeout", "20s")
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"127.0.0.1:{closed_port}" in done.stderr
    assert f"127.0.0.1:{silent_port}" in done.stderr
    assert "refused" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert took_s < 25, "far from the half minute that a client waits by itself"


def test_watch_ends_when_its_time_is_over_even_if_nobody_answers(closed_port):
    done = logctl("watch", "--for", "1s", "--bootstrap", f"127.0.0.1:{closed_port}")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert done.returncode == 0
