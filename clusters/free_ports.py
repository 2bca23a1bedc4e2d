"""Ports for brokers that are started here for a while: nobody else on this machine is given them.

They lie below the range from which the kernel takes the near end of outgoing connections. A port
out of that range may be lost to any client while its broker is down, and a client that keeps trying
to reach a broker that is down may there even connect to itself. Listens on nothing itself.
"""

import random
import socket
from collections.abc import Iterator
from pathlib import Path

LOWEST = 14_000
EPHEMERAL_LOWEST = 32_768
BLOCK = 64
_TRIES = 2_000
_HOST = "127.0.0.1"
# Held until the process ends: the first port of a block says that all of it is taken.
_claims: list[socket.socket] = []
_left: list[int] = []


def free_ports(count: int) -> list[int]:
    """That many ports that nobody uses, never given twice in one process. Raises OSError."""
    given: list[int] = []
    while len(given) < count:
        if not _left:
            _left.extend(_claimed_block())
        port = _left.pop(0)
        if is_free(port):
            given.append(port)
    return given


def _claimed_block() -> Iterator[int]:
    """The ports of a block that no other process has."""
    highest = _lowest_ephemeral()
    for _ in range(_TRIES):
        first = random.SystemRandom().randrange(LOWEST, highest - BLOCK, BLOCK)
        claim = socket.socket()
        try:
            claim.bind((_HOST, first))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return iter(range(first + 1, first + BLOCK))
    raise OSError(f"no ports are left between {LOWEST} and {highest}")


def _lowest_ephemeral() -> int:
    try:
        low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return EPHEMERAL_LOWEST
    # A machine that lends out nearly all of its ports leaves no better choice.
    return low if low >= LOWEST + 20 * BLOCK else EPHEMERAL_LOWEST


def is_free(port: int) -> bool:
    """Whether a broker could listen there now: one that just ended does not stand in its way."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True
