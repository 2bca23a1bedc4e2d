"""Where one broker keeps its things, computed from the cluster file. Pure apart from $HOME."""

from __future__ import annotations

import os
from dataclasses import dataclass

from clusters.spec.models import ClusterSpec, HostSpec
from clusters.state import cluster_data_dir, cluster_state_dir

MARKER = ".logctl-owner"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerLayout:
    """Paths and addresses of one broker. `data_root` is ours as a whole when it has our marker.

    `given_folders` come from the cluster file and must exist; all others are created.
    """

    host: HostSpec
    listen_host: str
    client_port: int
    controller_port: int
    data_root: str
    data_dirs: tuple[str, ...]
    given_folders: tuple[str, ...]
    config_path: str
    log_path: str

    @property
    def id(self) -> int:
        """The broker's id."""
        return self.host.id

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"{self.host.reachable_at}:{self.client_port}"

    @property
    def is_broker(self) -> bool:
        """Whether it serves clients."""
        return "broker" in self.host.roles

    @property
    def is_controller(self) -> bool:
        """Whether it is a voter of the quorum."""
        return "controller" in self.host.roles

    @property
    def ports(self) -> list[tuple[str, int]]:
        """(name, port) of every port that it binds."""
        ports = [("client", self.client_port)] if self.is_broker else []
        return ports + ([("controller", self.controller_port)] if self.is_controller else [])


def broker_layout(spec: ClusterSpec, host: HostSpec) -> BrokerLayout:
    """The layout of one host of a spec."""
    paths = host.paths or spec.paths
    folder = f"broker-{host.id}"
    state = cluster_state_dir(spec.name)
    given = [os.path.expanduser(path) for path in paths.data or ()]
    roots = [os.path.join(path, spec.name) for path in given] or [cluster_data_dir(spec.name)]
    logs = os.path.expanduser(paths.logs) if paths.logs else None
    if logs is not None:
        given.append(logs)
    log_name = f"{spec.name}-{folder}.log" if logs else f"{folder}.log"
    return BrokerLayout(
        host=host,
        listen_host=host.reachable_at,
        client_port=spec.client_port(host),
        controller_port=spec.controller_port(host),
        data_root=roots[0],
        data_dirs=tuple(os.path.join(root, folder) for root in roots),
        given_folders=tuple(given),
        config_path=os.path.join(state, f"{folder}.properties"),
        log_path=os.path.join(logs or state, log_name),
    )
