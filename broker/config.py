"""A broker's configuration: a properties file with Kafka's names, checked as a whole.

Reads and validates text; never opens a socket, never touches the data folder, never guesses: what
is unknown or contradictory is reported, all at once, with its line and the nearest known name.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from broker.protocol.errors import LogctlError
from broker.settings.broker import BROKER_SETTINGS, BrokerSettings
from broker.settings.definition import InvalidSetting

ROLES = ("broker", "controller")
UNSPECIFIED_HOSTS = ("", "0.0.0.0", "::")  # noqa: S104  these are recognised, not bound
SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

# Names of our own, about the process and not the broker; everything else is in broker.settings.
PROCESS_KEYS = frozenset(
    {"metrics.host", "log.level", "log.file", "log.file.max.bytes", "log.file.max.files"}
)
# Settings whose value is checked here, with a fuller message.
OWN_CHECKS = frozenset({"node.id", "process.roles", "listeners", "metrics.port"})
LOG_FILE_BYTES_MIN = 16 << 10
LOG_LEVELS = ("debug", "info", "warning", "error")


class ConfigError(LogctlError):
    """The configuration cannot be used; `problems` holds one sentence for each reason."""

    def __init__(self, source: str, problems: Iterable[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(f"{source}: " + "; ".join(self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """One listening address: `name://host:port`. Port 0 takes a free one when bound."""

    name: str
    host: str
    port: int
    security_protocol: str = "PLAINTEXT"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """What one process is and where it listens; `static` is the file's text, by setting."""

    node_id: int
    cluster_id: str
    roles: frozenset[str]
    listeners: tuple[ListenerConfig, ...]
    advertised: Mapping[str, ListenerConfig]
    controller_listener_names: tuple[str, ...]
    inter_broker_listener_name: str
    voters: Mapping[int, tuple[str, int]]
    data_dir: str
    rack: str | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    log_level: str = "info"
    log_file: str | None = None
    log_file_max_bytes: int = 64 << 20
    log_file_max_files: int = 5
    static: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> BrokerSettings:
        """Typed values of the file and the defaults, without what is set while brokers run."""
        return BrokerSettings(self.static)

    @property
    def is_broker(self) -> bool:
        """Whether this process serves clients and holds partitions."""
        return "broker" in self.roles

    @property
    def is_controller(self) -> bool:
        """Whether this process votes in the metadata quorum."""
        return "controller" in self.roles

    @property
    def client_listeners(self) -> tuple[ListenerConfig, ...]:
        """The listeners that are not the controllers'."""
        names = self.controller_listener_names
        return tuple(each for each in self.listeners if each.name not in names)

    @property
    def controller_listeners(self) -> tuple[ListenerConfig, ...]:
        """The listeners for quorum peers and registering brokers."""
        names = self.controller_listener_names
        return tuple(each for each in self.listeners if each.name in names)

    @classmethod
    def load(cls, path: str) -> "BrokerConfig":
        """Read and check a properties file; raises ConfigError naming file and lines."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(path, [f"cannot be read: {error.strerror or error}"]) from error
        except UnicodeDecodeError as error:
            raise ConfigError(path, ["is not UTF-8 text"]) from error
        entries, problems = parse_properties(text)
        return _Checker(path, entries, problems).check()

    @classmethod
    def from_properties(
        cls, properties: Mapping[str, str], source: str = "configuration"
    ) -> "BrokerConfig":
        """Check properties that are already in memory; raises ConfigError."""
        entries = {name: (value, 0) for name, value in properties.items()}
        return _Checker(source, entries, []).check()


def parse_properties(text: str) -> tuple[dict[str, tuple[str, int]], list[str]]:
    """Split Java properties text into {name: (value, line number)} and a list of problems."""
    entries: dict[str, tuple[str, int]] = {}
    problems: list[str] = []
    pending, pending_line = "", 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not pending and (not line or line[0] in "#!"):
            continue
        if line.endswith("\\") and not line.endswith("\\\\"):
            pending += line[:-1]
            pending_line = pending_line or number
            continue
        line, start = pending + line, pending_line or number
        pending, pending_line = "", 0
        cut = min((at for at in (line.find("="), line.find(":")) if at >= 0), default=-1)
        if cut <= 0:
            problems.append(f"line {start}: expected name=value, found {line[:60]!r}")
            continue
        name, value = line[:cut].strip(), line[cut + 1 :].strip().replace("\\\\", "\\")
        if name in entries:
            problems.append(f"line {start}: {name} is already set on line {entries[name][1]}")
            continue
        entries[name] = (value, start)
    return entries, problems


def parse_host_port(text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`; raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: write an IPv6 address in brackets, [{host}]:{port}")
    return host, int(port)


class _Checker:
    """Collects every problem before it gives up."""

    def __init__(
        self, source: str, entries: Mapping[str, tuple[str, int]], problems: list[str]
    ) -> None:
        self._source = source
        self._entries = entries
        self._problems = problems

    def check(self) -> BrokerConfig:
        settings = self._settings()
        node_id = self._node_id()
        roles = self._roles()
        controller_names = tuple(self._list("controller.listener.names")) or ("CONTROLLER",)
        listeners = self._listeners("listeners", required=True)
        advertised = self._advertised(listeners, controller_names, roles)
        voters = self._voters()
        self._check_roles(roles, listeners, controller_names, voters, node_id)
        config = BrokerConfig(
            node_id=node_id,
            cluster_id=self._required("cluster.id"),
            roles=roles,
            listeners=listeners,
            advertised=advertised,
            controller_listener_names=controller_names,
            inter_broker_listener_name=self._inter_broker(listeners, controller_names, roles),
            voters=voters,
            data_dir=self._data_dir(),
            rack=self._get("broker.rack") or None,
            metrics_host=self._get("metrics.host") or "127.0.0.1",
            metrics_port=self._metrics_port(),
            log_level=self._log_level(),
            log_file=self._get("log.file") or None,
            log_file_max_bytes=self._at_least("log.file.max.bytes", LOG_FILE_BYTES_MIN, 64 << 20),
            log_file_max_files=self._at_least("log.file.max.files", 2, 5),
            static=settings,
        )
        if self._problems:
            raise ConfigError(self._source, self._problems)
        return config

    def _get(self, name: str) -> str:
        return self._entries.get(name, ("", 0))[0]

    def _required(self, name: str) -> str:
        value = self._get(name)
        if not value:
            self._problems.append(f"{name} is missing")
        return value

    def _list(self, name: str) -> list[str]:
        return [part.strip() for part in self._get(name).split(",") if part.strip()]

    def _problem(self, name: str, text: str) -> None:
        line = self._entries.get(name, ("", 0))[1]
        self._problems.append(f"line {line}: {text}" if line else text)

    def _settings(self) -> dict[str, str]:
        known = sorted({*BROKER_SETTINGS, *PROCESS_KEYS})
        settings: dict[str, str] = {}
        for name, (value, _) in self._entries.items():
            if name in PROCESS_KEYS:
                continue
            setting = BROKER_SETTINGS.get(name)
            if setting is None:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                self._problem(name, f"unknown setting {name}{hint}")
                continue
            try:
                setting.parse(value)
            except InvalidSetting as error:
                if name not in OWN_CHECKS:
                    self._problem(name, str(error))
            settings[name] = value
        return settings

    def _node_id(self) -> int:
        text = self._required("node.id")
        if text and not (text.isascii() and text.isdigit() and int(text) < 2**31):
            self._problem("node.id", f"node.id must be a whole number from 0, not {text!r}")
            return -1
        return int(text) if text else -1

    def _roles(self) -> frozenset[str]:
        roles = frozenset(self._list("process.roles"))
        if not roles:
            self._problems.append("process.roles is missing; use broker, controller or both")
        for role in sorted(roles - set(ROLES)):
            self._problem("process.roles", f"process.roles: {role!r} is not broker or controller")
        return roles

    def _protocol_of(self, name: str) -> str:
        mapping = dict(
            part.split(":", 1)
            for part in self._list("listener.security.protocol.map")
            if ":" in part
        )
        protocol = mapping.get(name, name if name in SECURITY_PROTOCOLS else "PLAINTEXT")
        if protocol not in SECURITY_PROTOCOLS:
            self._problem(
                "listener.security.protocol.map", f"{protocol!r} is not a security protocol"
            )
        elif protocol != "PLAINTEXT":
            self._problem(
                "listeners", f"listener {name}: {protocol} is not served yet, only PLAINTEXT"
            )
        return protocol

    def _listeners(self, key: str, *, required: bool) -> tuple[ListenerConfig, ...]:
        found: list[ListenerConfig] = []
        for text in self._list(key):
            name, separator, address = text.partition("://")
            try:
                if not separator or not name:
                    raise ValueError(f"{text!r} is not NAME://host:port")
                host, port = parse_host_port(address)
            except ValueError as error:
                self._problem(key, f"{key}: {error}")
                continue
            protocol = self._protocol_of(name) if required else "PLAINTEXT"
            found.append(
                ListenerConfig(name=name, host=host, port=port, security_protocol=protocol)
            )
        if required and not self._list(key):
            self._problems.append(f"{key} is missing")
        names = [each.name for each in found]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self._problem(key, f"{key}: {name} is given twice")
        ports = [(each.host, each.port) for each in found if each.port]
        for host, port in sorted({at for at in ports if ports.count(at) > 1}):
            self._problem(key, f"{key}: {host}:{port} is given twice")
        return tuple(found)

    def _advertised(
        self,
        listeners: tuple[ListenerConfig, ...],
        controller_names: tuple[str, ...],
        roles: frozenset[str],
    ) -> dict[str, ListenerConfig]:
        given = {
            each.name: each for each in self._listeners("advertised.listeners", required=False)
        }
        known = {each.name for each in listeners}
        for name in sorted(set(given) - known):
            self._problem("advertised.listeners", f"advertised.listeners: no listener named {name}")
        advertised: dict[str, ListenerConfig] = {}
        for each in listeners:
            chosen = given.get(each.name, each)
            advertised[each.name] = chosen
            if each.name in controller_names or "broker" not in roles:
                continue
            if chosen.host in UNSPECIFIED_HOSTS:
                self._problem(
                    "listeners",
                    f"listener {each} has no address that clients could reach; "
                    f"set advertised.listeners={each.name}://HOST:PORT",
                )
        return advertised

    def _voters(self) -> dict[int, tuple[str, int]]:
        key = "controller.quorum.voters"
        voters: dict[int, tuple[str, int]] = {}
        for text in self._list(key):
            node, separator, address = text.partition("@")
            try:
                if not separator or not node.isdigit():
                    raise ValueError(f"{text!r} is not ID@host:port")
                host, port = parse_host_port(address)
                if not host or not port:
                    raise ValueError(f"{text!r} needs a host and a port")
            except ValueError as error:
                self._problem(key, f"{key}: {error}")
                continue
            if int(node) in voters:
                self._problem(key, f"{key}: {node} is given twice")
            voters[int(node)] = (host, port)
        if not self._list(key):
            self._problems.append(f"{key} is missing; use ID@host:port,...")
        return voters

    def _check_roles(
        self,
        roles: frozenset[str],
        listeners: tuple[ListenerConfig, ...],
        controller_names: tuple[str, ...],
        voters: Mapping[int, tuple[str, int]],
        node_id: int,
    ) -> None:
        names = {each.name for each in listeners}
        is_controller = "controller" in roles
        if is_controller and not names & set(controller_names):
            self._problem(
                "listeners", f"the controller role needs a listener named {controller_names[0]}"
            )
        if roles and not is_controller and names & set(controller_names):
            self._problem("listeners", "a controller listener needs the controller role")
        if "broker" in roles and not names - set(controller_names):
            self._problem("listeners", "the broker role needs a listener for clients")
        if voters and is_controller and node_id >= 0 and node_id not in voters:
            self._problem(
                "controller.quorum.voters", f"controller.quorum.voters does not name node {node_id}"
            )
        if voters and roles == {"broker"} and node_id in voters:
            self._problem(
                "process.roles", f"node {node_id} is a quorum voter but has no controller role"
            )

    def _inter_broker(
        self,
        listeners: tuple[ListenerConfig, ...],
        controller_names: tuple[str, ...],
        roles: frozenset[str],
    ) -> str:
        names = [each.name for each in listeners if each.name not in controller_names]
        wanted = self._get("inter.broker.listener.name")
        if wanted and wanted not in names and "broker" in roles:
            self._problem(
                "inter.broker.listener.name",
                f"inter.broker.listener.name: no client listener named {wanted}",
            )
        if wanted:
            return wanted
        return "PLAINTEXT" if "PLAINTEXT" in names or not names else names[0]

    def _data_dir(self) -> str:
        folders = self._list("log.dirs") or self._list("log.dir")
        if not folders:
            self._problems.append("log.dirs is missing; name the data folder")
            return ""
        if len(folders) > 1:
            self._problem("log.dirs", "log.dirs: one data folder is served, several are given")
        if self._get("metadata.log.dir") not in ("", folders[0]):
            self._problem(
                "metadata.log.dir", "metadata.log.dir: the metadata log lives in log.dirs"
            )
        return folders[0]

    def _metrics_port(self) -> int | None:
        text = self._get("metrics.port")
        if not text or text == "-1":
            return None
        if not (text.isascii() and text.isdigit() and int(text) <= 65535):
            self._problem("metrics.port", f"metrics.port must be a port number, not {text!r}")
            return None
        return int(text)

    def _at_least(self, name: str, minimum: int, default: int) -> int:
        text = self._get(name)
        if not text:
            return default
        if not text.isascii() or not text.isdigit() or int(text) < minimum:
            self._problem(name, f"{name} must be a whole number from {minimum}, not {text!r}")
            return default
        return int(text)

    def _log_level(self) -> str:
        level = (self._get("log.level") or "info").lower()
        if level not in LOG_LEVELS:
            self._problem("log.level", f"log.level must be one of {', '.join(LOG_LEVELS)}")
            return "info"
        return level
