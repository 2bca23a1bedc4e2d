"""Checks of a cluster file that need more than one field. They read raw data, so that they can
report even when other parts are wrong. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from clusters.spec.document import Document, Path
from clusters.spec.models import LOCAL_ADDRESS, LOOPBACK, Listeners
from clusters.spec.settings_names import RESERVED, mistyped
from clusters.units import setting_text

_ADDRESS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:_-]*[A-Za-z0-9])?")
_SETTING_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")


def check_document(document: Document) -> None:
    """Add every problem between fields to the document."""
    data = document.data
    if not isinstance(data, dict):
        return
    _check_settings(document, ("settings",), data.get("settings"))
    hosts = list(_hosts(data))
    for index, host in hosts:
        _check_settings(document, ("hosts", index, "settings"), host.get("settings"))
        _check_address(document, index, host)
    _check_ids(document, hosts)
    _check_mixture(document, hosts)
    _check_ports(document, data, hosts)
    _check_roles(document, hosts)
    _check_replication(document, data, hosts)
    _check_folders(document, data, hosts)


def _hosts(data: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    hosts = data.get("hosts")
    if isinstance(hosts, list):
        for index, host in enumerate(hosts):
            if isinstance(host, dict):
                yield index, host


def _check_settings(document: Document, path: Path, settings: Any) -> None:
    if not isinstance(settings, dict):
        return
    for name, value in settings.items():
        where = (*path, name)
        if name in RESERVED:
            document.problem(where, f"is set from {RESERVED[name]} of this file; remove it here")
            continue
        if not _SETTING_NAME.fullmatch(name):
            document.problem(where, "is not the name of a setting")
            continue
        known = mistyped(name)
        if known is not None:
            document.problem(where, f'unknown setting; did you mean "{known}"?')
        try:
            setting_text(name, value)
        except ValueError as error:
            document.problem(where, str(error))


def _check_address(document: Document, index: int, host: dict[str, Any]) -> None:
    address = host.get("address")
    if isinstance(address, str) and address and not _ADDRESS.fullmatch(address):
        document.problem(
            ("hosts", index, "address"),
            f'"{address}" is no host name or IP address; write one without port, or "local"',
        )
    ssh = host.get("ssh")
    places: list[tuple[Path, Any]] = [(("hosts", index, "bind"), host.get("bind"))]
    if isinstance(ssh, dict):
        places.append((("hosts", index, "ssh", "host"), ssh.get("host")))
    for path, place in places:
        if isinstance(place, str) and place != "::" and not _ADDRESS.fullmatch(place):
            document.problem(path, f'"{place}" is no host name or IP address')


def _check_ids(document: Document, hosts: list[tuple[int, dict[str, Any]]]) -> None:
    seen: dict[int, int] = {}
    for index, host in hosts:
        number = host.get("id")
        if not isinstance(number, int) or isinstance(number, bool):
            continue
        path = ("hosts", index, "id")
        if number in seen:
            line = document.line_of(("hosts", seen[number], "id"))
            document.problem(path, f"id {number} is already used on line {line}")
        else:
            seen[number] = index


def _check_mixture(document: Document, hosts: list[tuple[int, dict[str, Any]]]) -> None:
    local = [index for index, host in hosts if host.get("address") == LOCAL_ADDRESS]
    remote = [
        index
        for index, host in hosts
        if isinstance(host.get("address"), str) and host["address"] != LOCAL_ADDRESS
    ]
    if local and remote:
        document.problem(
            ("hosts", remote[0], "address"),
            f"brokers on other machines cannot reach the local ones at {LOOPBACK}; "
            "make all addresses local, or none",
        )


def _check_ports(
    document: Document, data: dict[str, Any], hosts: list[tuple[int, dict[str, Any]]]
) -> None:
    cluster = data.get("listeners")
    taken: dict[tuple[str, int], tuple[int, str]] = {}
    for index, host in hosts:
        own = host.get("listeners")
        offset = host.get("port_offset", 0)
        for kind in ("client", "controller"):
            port = _whole(own.get(kind)) if isinstance(own, dict) else None
            path: Path = ("hosts", index, "listeners", kind)
            if port is None:
                default = Listeners.model_fields[kind].default
                base = _whole(cluster.get(kind, default) if isinstance(cluster, dict) else default)
                if base is None or not 1 <= base <= 65535 or _whole(offset) is None:
                    continue
                port = base + offset
                path = ("hosts", index, "port_offset" if "port_offset" in host else "address")
                if port > 65535:
                    document.problem(path, f"makes the {kind} port {port}; the highest is 65535")
                    continue
            _claim(document, taken, host, index, kind, port, path)


def _claim(
    document: Document,
    taken: dict[tuple[str, int], tuple[int, str]],
    host: dict[str, Any],
    index: int,
    kind: str,
    port: int,
    path: Path,
) -> None:
    address = host.get("address")
    if not isinstance(address, str):
        return
    machine = LOOPBACK if address in {LOCAL_ADDRESS, "localhost"} else address
    first = taken.setdefault((machine, port), (index, kind))
    if first != (index, kind):
        other = document.line_of(("hosts", first[0]))
        document.problem(
            path,
            f"the {kind} port {port} on {machine} is already the {first[1]} port of the host on "
            f"line {other}; give each host on one machine its own port_offset",
        )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _roles(host: dict[str, Any]) -> list[Any]:
    roles = host.get("roles", ["broker", "controller"])
    return roles if isinstance(roles, list) else []


def _check_roles(document: Document, hosts: list[tuple[int, dict[str, Any]]]) -> None:
    for index, host in hosts:
        roles = [role for role in _roles(host) if isinstance(role, str)]
        if len(set(roles)) != len(roles):
            document.problem(("hosts", index, "roles"), "names a role twice")
    for role in ("broker", "controller"):
        if hosts and not any(role in _roles(host) for _, host in hosts):
            document.problem(("hosts",), f"no host has the role {role}; the cluster needs one")


def _check_replication(
    document: Document, data: dict[str, Any], hosts: list[tuple[int, dict[str, Any]]]
) -> None:
    settings = data.get("settings")
    brokers = sum(1 for _, host in hosts if "broker" in _roles(host))
    if not isinstance(settings, dict) or not brokers:
        return
    for name in ("default.replication.factor", "min.insync.replicas"):
        value = _number(settings.get(name))
        if value is not None and value > brokers:
            document.problem(
                ("settings", name), f"is {value}, but the file has only {brokers} broker(s)"
            )
        elif value is not None and value < 1 and not (name.startswith("default") and value == -1):
            document.problem(("settings", name), f"is {value}; it must be at least 1")


def _number(value: Any) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value.strip()):
        return int(value)
    return _whole(value)


def _check_folders(
    document: Document, data: dict[str, Any], hosts: list[tuple[int, dict[str, Any]]]
) -> None:
    places: list[tuple[Path, Any]] = [(("paths",), data.get("paths"))]
    places += [(("hosts", index, "paths"), host.get("paths")) for index, host in hosts]
    for path, paths in places:
        if not isinstance(paths, dict):
            continue
        data_folders = paths.get("data")
        several = isinstance(data_folders, list) and len(data_folders) > 1
        if several and data.get("engine", "logd") == "logd":
            document.problem((*path, "data"), "logd serves one data folder; name one")
        for key, value in paths.items():
            folders = value if isinstance(value, list) else [value]
            for position, folder in enumerate(folders):
                where: Path = (*path, key, position) if isinstance(value, list) else (*path, key)
                if isinstance(folder, str):
                    _check_folder(document, where, folder)


def _check_folder(document: Document, path: Path, folder: str) -> None:
    if not folder.startswith(("/", "~/")):
        document.problem(path, f'"{folder}" must be an absolute path or start with ~/')
    elif folder.rstrip("/") in {"", "~"}:
        document.problem(path, f'"{folder}" would mix the cluster with everything else there')
