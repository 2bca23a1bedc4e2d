"""Whether enough voters run to elect a controller, for starting a part of a cluster.

Looks only: it knows the processes of this machine, and knocks at the ports of the others.
"""

from __future__ import annotations

import asyncio
import contextlib

from broker.protocol.network import AsyncioNetwork
from clusters.phases.base import Run
from clusters.spec.models import HostSpec

KNOCK_S = 1.0
# A tunnel takes every connection and closes it when nobody listens at its end.
LINGER_S = 0.3


async def lacking_majority(run: Run) -> str:
    """What is missing for a majority of voters, in words; "" when enough run.

    "" also while those that this run started do not listen yet: they may still fail.
    """
    voters = [host for host in run.spec.hosts if "controller" in host.roles]
    answers = await asyncio.gather(*(_runs(run, host) for host in voters))
    up = [host.id for host, answer in zip(voters, answers, strict=True) if answer]
    down = [host.id for host in voters if host.id not in up]
    if any(host.id in run.started and host.id in down for host in voters):
        return ""
    majority = len(voters) // 2 + 1
    if len(up) >= majority:
        return ""
    wanted = " or ".join(str(each) for each in down)
    return (
        f"{len(up)} of {len(voters)} voters run and {majority} are needed to elect a controller: "
        f"until then the cluster serves nobody. Start broker {wanted}, too"
    )


async def _runs(run: Run, host: HostSpec) -> bool:
    if host.id in run.others_run:
        return run.others_run[host.id]
    network = run.network or AsyncioNetwork()
    ports = [run.spec.controller_port(host)]
    if "broker" in host.roles:
        ports.append(run.spec.client_port(host))  # the other one may be closed to us
    for port in ports:
        with contextlib.suppress(OSError, TimeoutError):
            knock = _Knock()
            async with asyncio.timeout(KNOCK_S):
                transport, _ = await network.connect(host.reachable_at, port, lambda: knock)  # noqa: B023
            if run.network is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_S):
                        await knock.lost.wait()
            transport.close()
            if not knock.lost.is_set():
                return True
    return False


class _Knock(asyncio.Protocol):
    """Notices that the other side hung up."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
