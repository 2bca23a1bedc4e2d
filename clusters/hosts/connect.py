"""Choose the way to a host."""

from __future__ import annotations

from clusters.errors import HostError
from clusters.hosts.base import Connection
from clusters.hosts.local import LocalConnection
from clusters.spec.models import ClusterSpec, HostSpec


async def connect(spec: ClusterSpec, host: HostSpec) -> Connection:
    """Connect to a host of a spec. Raises HostError."""
    if host.is_local:
        return LocalConnection()
    where = spec.source or "the cluster file"
    raise HostError(
        f"Broker {host.id} is to run on {host.address}, but SSH deployment is not available yet: "
        f"nothing was done. Use `address: local` in {where} to run it on this machine."
    )
