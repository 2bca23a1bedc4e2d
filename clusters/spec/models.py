"""What a cluster file may say, as pydantic models.

Unknown keys are errors everywhere. Checks that need several fields live in checks.py, so that they
can point to a line; these models know one field at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    WithJsonSchema,
)

from clusters.units import parse_duration_ms, parse_size_bytes, setting_text

LOCAL_ADDRESS = "local"
LOOPBACK = "127.0.0.1"
LOG_BYTES_MIN = 16 << 10
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"
CLUSTER_ID_PATTERN = r"^[A-Za-z0-9_-]{22}$"
USER_PATTERN = r"^[a-z_][a-z0-9_-]{0,30}$"
JUMP_PATTERN = r"^([A-Za-z0-9._-]+@)?[A-Za-z0-9]([A-Za-z0-9.:_-]*[A-Za-z0-9])?$"
FINGERPRINT_PATTERN = r"^SHA256:[A-Za-z0-9+/]{43}=?$"

Role = Literal["broker", "controller"]
EngineName = Literal["logd", "apache-kafka"]
Port = Annotated[int, Field(ge=1, le=65535)]
CheckName = Literal[
    "architecture",
    "clock",
    "disk",
    "foreign",
    "limits",
    "machine-id",
    "memory",
    "noexec",
    "ports",
    "reach",
    "reboot",
    "swappiness",
    "thp",
    "tools",
]


def _text(value: Any) -> Any:
    # `rack: 1` and `rack: a` mean the same kind of thing to the person who writes them.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _settings(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    texts: dict[str, str] = {}
    for name, item in value.items():
        try:
            texts[str(name)] = setting_text(str(name), item)
        except ValueError:
            texts[str(name)] = ""  # reported with its line by checks.py
    return texts


def _quantity(value: Any, parse: Callable[[str], Fraction]) -> Any:
    if isinstance(value, str):
        exact = parse(value)
        if exact.denominator != 1:
            raise ValueError(f'"{value}" is too fine; use whole milliseconds or bytes')
        return exact.numerator
    return value


def _duration(value: Any) -> Any:
    return _quantity(value, parse_duration_ms)


def _size(value: Any) -> Any:
    return _quantity(value, parse_size_bytes)


Text = Annotated[str, BeforeValidator(_text)]
Settings = Annotated[
    dict[str, str],
    BeforeValidator(_settings),
    WithJsonSchema(
        {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
    ),
]
_FOLDERS_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
    ]
}
Folders = Annotated[
    list[str],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
    WithJsonSchema(_FOLDERS_SCHEMA),
]


def _quantity_schema(units: str, example: str) -> WithJsonSchema:
    text = {"type": "string", "pattern": rf"^\d+(\.\d+)?\s*({units})$", "examples": [example]}
    return WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, text]})


Duration = Annotated[
    int,
    BeforeValidator(_duration),
    Field(ge=0),
    _quantity_schema("ms|s|m|min|h|d|w", "30s"),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    Field(ge=0),
    _quantity_schema("[KkMmGgTt]?([Ii]?[Bb])?", "512MiB"),
]
Address = Annotated[str, Field(min_length=1, max_length=253)]
Fingerprint = Annotated[str, Field(pattern=FINGERPRINT_PATTERN)]
Fingerprints = Annotated[list[Fingerprint], BeforeValidator(_one_or_many), Field(min_length=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Ssh(_Model):
    """How to reach a host. A value that a host leaves out is the cluster's.

    `host` is where its sshd listens when that is not the host's `address`; `jump` is
    `user@host:port` of a machine on the way; `agent: false` ignores a running SSH agent.
    """

    host: Address | None = None
    user: Text | None = None
    port: Port | None = None
    identity: str | None = None
    become: Literal["none", "sudo"] | None = None
    jump: Annotated[str, Field(pattern=JUMP_PATTERN)] | None = None
    host_keys: Literal["accept-new", "strict"] | None = None
    agent: bool | None = None

    def over(self, other: Ssh) -> Ssh:
        """These values, and the other's where this one says nothing."""
        return Ssh(**{**other.model_dump(), **self.model_dump(exclude_none=True)})


class Paths(_Model):
    """Folders on the hosts. For `address: local` data and logs default to the XDG folders."""

    install: str = "/opt/logctl"
    data: Folders | None = None
    logs: str | None = None


class RunAs(_Model):
    """How brokers run: the user, what keeps them up, their limits; what they log is rotated.

    Brokers of this machine (`address: local`) take the limits of their log alone from here. There
    are `log_max_files` files of a broker's log, the one that is written among them.
    """

    user: Annotated[Text, Field(pattern=USER_PATTERN)] = "logctl"
    supervisor: Literal["auto", "systemd", "builtin"] = "auto"
    nofile: Annotated[int, Field(ge=1024, le=2**30)] = 100_000
    stop_timeout: Duration = 60_000
    log_max_size: Annotated[Size, Field(ge=LOG_BYTES_MIN)] = 64 << 20
    log_max_files: Annotated[int, Field(ge=2, le=100)] = 5


class Rollout(_Model):
    """How changes are rolled: readings that must agree, the time between them, the patience."""

    stable_readings: Annotated[int, Field(ge=1, le=100)] = 3
    interval: Duration = 500
    timeout: Duration = 300_000
    keep_releases: Annotated[int, Field(ge=1, le=100)] = 3


class CheckRules(_Model):
    """Which checks of hosts are left out, by name, and where the others draw their line."""

    ignore: list[CheckName] = []
    clock_skew: Duration = 500
    disk_free: Size = 1 << 30


class Listeners(_Model):
    """TCP ports: `client` for clients and brokers, `controller` for the quorum."""

    client: Port = 9092
    controller: Port = 9093


class HostListeners(_Model):
    """One host's own ports, instead of the cluster's."""

    client: Port | None = None
    controller: Port | None = None


class HostSpec(_Model):
    """One broker and where it runs."""

    id: Annotated[int, Field(ge=0, le=2**31 - 1)]
    address: Address
    bind: Address | None = None
    rack: Text | None = None
    roles: Annotated[list[Role], Field(min_length=1)] = ["broker", "controller"]
    port_offset: Annotated[int, Field(ge=0, le=65535)] = 0
    listeners: HostListeners = HostListeners()
    settings: Settings = {}
    ssh: Ssh | None = None
    host_key: Fingerprints | None = None
    paths: Paths | None = None

    @property
    def is_local(self) -> bool:
        """Whether the broker runs on this machine, without SSH."""
        return self.address == LOCAL_ADDRESS

    @property
    def reachable_at(self) -> str:
        """The host name or IP address that clients and the other brokers connect to."""
        return LOOPBACK if self.is_local else self.address


class ClusterSpec(_Model):
    """A whole cluster file. `source` is the path that it was read from.

    `bundle` is an archive made by `logctl bundle build`, relative to the file; without it the one
    of this logctl is shipped.
    """

    cluster: Annotated[Text, Field(pattern=NAME_PATTERN)]
    cluster_id: Annotated[str, Field(pattern=CLUSTER_ID_PATTERN)] | None = None
    engine: EngineName = "logd"
    bundle: Annotated[str, Field(min_length=1)] | None = None
    ssh: Ssh = Ssh()
    paths: Paths = Paths()
    run: RunAs = RunAs()
    rollout: Rollout = Rollout()
    checks: CheckRules = CheckRules()
    listeners: Listeners = Listeners()
    settings: Settings = {}
    hosts: Annotated[list[HostSpec], Field(min_length=1)]

    _source: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.cluster

    @property
    def source(self) -> str:
        """Path of the file that this was loaded from, or "" when it was built in memory."""
        return self._source

    def host(self, broker_id: int) -> HostSpec:
        """The host of a broker. Raises KeyError for an unknown id."""
        for host in self.hosts:
            if host.id == broker_id:
                return host
        raise KeyError(broker_id)

    def client_port(self, host: HostSpec) -> int:
        """The port for clients of this host, offset applied."""
        return host.listeners.client or self.listeners.client + host.port_offset

    def controller_port(self, host: HostSpec) -> int:
        """The port of the quorum on this host, offset applied."""
        return host.listeners.controller or self.listeners.controller + host.port_offset

    def ssh_of(self, host: HostSpec) -> Ssh:
        """How to reach a host: its own values over the cluster's."""
        return host.ssh.over(self.ssh) if host.ssh is not None else self.ssh

    @property
    def is_local(self) -> bool:
        """Whether every broker runs on this machine, without SSH."""
        return all(host.is_local for host in self.hosts)

    @property
    def bootstrap(self) -> list[str]:
        """`host:port` of every broker, in the order of the file."""
        return [
            f"{host.reachable_at}:{self.client_port(host)}"
            for host in self.hosts
            if "broker" in host.roles
        ]

    @property
    def voters(self) -> list[tuple[int, str, int]]:
        """(id, host, port) of every quorum voter, in the order of the file."""
        return [
            (host.id, host.reachable_at, self.controller_port(host))
            for host in self.hosts
            if "controller" in host.roles
        ]
