"""Where one broker keeps its things, computed from the cluster file. Pure apart from $HOME.

A broker has a folder of its own with `generations/<digest>/` (settings, and a link to the release
that goes with them); `current` points to the one in use, so that both change in one step.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from clusters.spec.models import ClusterSpec, HostSpec
from clusters.state import cluster_data_dir, cluster_state_dir

MARKER = ".logctl-owner"
KEPT = ".logctl-kept"
DATA_DEFAULT = "/var/lib/logctl"
LOGS_DEFAULT = "/var/log/logctl"
UNIT_FOLDER = "/etc/systemd/system"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerLayout:
    """Paths and addresses of one broker. A data root is ours as a whole when it has our marker.

    `given_folders` come from the cluster file: on this machine they must exist, on others they are
    made. `cluster_root` holds what the brokers of one machine share: its releases.
    """

    cluster: str
    host: HostSpec
    listen_host: str
    client_port: int
    controller_port: int
    data_roots: tuple[str, ...]
    data_dirs: tuple[str, ...]
    given_folders: tuple[str, ...]
    cluster_root: str
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

    @property
    def node_dir(self) -> str:
        """The broker's own folder: generations, run files, manifest."""
        return os.path.join(self.cluster_root, f"broker-{self.id}")

    @property
    def current(self) -> str:
        """The link to the generation in use."""
        return os.path.join(self.node_dir, "current")

    @property
    def previous(self) -> str:
        """The link to the generation used before."""
        return os.path.join(self.node_dir, "previous")

    @property
    def config_path(self) -> str:
        """The settings file in use."""
        return os.path.join(self.current, "server.properties")

    @property
    def change_path(self) -> str:
        """When the generation in use came, and with which state of the whole cluster."""
        return os.path.join(self.node_dir, "change")

    @property
    def run_dir(self) -> str:
        """Where the built-in supervisor notes what it runs."""
        return os.path.join(self.node_dir, "run")

    @property
    def host_manifest_path(self) -> str:
        """The list of what was made on the host for this broker."""
        return os.path.join(self.node_dir, "manifest.json")

    @property
    def kept_path(self) -> str:
        """What is still to be removed once kept data goes, noted beside that data."""
        return os.path.join(self.data_roots[0], KEPT)

    @property
    def releases(self) -> str:
        """Folder of releases."""
        return os.path.join(self.cluster_root, "releases")

    @property
    def audit_path(self) -> str:
        """The host's own record of runs."""
        return os.path.join(self.cluster_root, "audit.log")

    @property
    def unit(self) -> str:
        """Name of the systemd unit."""
        return f"logctl-{self.cluster}-{self.id}.service"

    @property
    def unit_path(self) -> str:
        """Where the unit file lies."""
        return os.path.join(UNIT_FOLDER, self.unit)

    def generation_dir(self, digest: str) -> str:
        """Folder of one generation."""
        return os.path.join(self.node_dir, "generations", digest)


def broker_layout(spec: ClusterSpec, host: HostSpec, home: str | None = None) -> BrokerLayout:
    """The layout of one host of a spec; `home` stands for `~` on another machine."""
    return _local(spec, host) if host.is_local else _remote(spec, host, home or "~")


def _local(spec: ClusterSpec, host: HostSpec) -> BrokerLayout:
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
        cluster=spec.name,
        host=host,
        listen_host=host.bind or host.reachable_at,
        client_port=spec.client_port(host),
        controller_port=spec.controller_port(host),
        data_roots=tuple(roots),
        data_dirs=tuple(os.path.join(root, folder) for root in roots),
        given_folders=tuple(given),
        cluster_root=state,
        log_path=os.path.join(logs or state, log_name),
    )


def _remote(spec: ClusterSpec, host: HostSpec, home: str) -> BrokerLayout:
    paths = host.paths or spec.paths

    def there(path: str) -> str:
        return home + path[1:] if path.startswith("~/") else path

    folder = f"broker-{host.id}"
    given = [there(path) for path in paths.data or (DATA_DEFAULT,)]
    roots = [os.path.join(path, spec.name) for path in given]
    logs = there(paths.logs or LOGS_DEFAULT)
    return BrokerLayout(
        cluster=spec.name,
        host=host,
        listen_host=host.bind or host.reachable_at,
        client_port=spec.client_port(host),
        controller_port=spec.controller_port(host),
        data_roots=tuple(roots),
        data_dirs=tuple(os.path.join(root, folder) for root in roots),
        given_folders=(*given, logs),
        cluster_root=os.path.join(there(paths.install), spec.name),
        log_path=os.path.join(logs, spec.name, f"{folder}.log"),
    )
