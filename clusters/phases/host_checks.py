"""Whether other machines are fit to run brokers: results with what to do, for `up` and `check`.

Reads facts, and asks hosts only about what facts cannot tell (who holds a port, who reaches whom).
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from clusters.hosts.base import Connection
from clusters.hosts.machine_facts import MachineFacts
from clusters.hosts.shell_words import quote
from clusters.phases.base import Node, Run
from clusters.phases.facts import uses_systemd
from clusters.units import size_text

CheckState = Literal["ok", "warn", "fail"]

MEMORY_MIN_BYTES = 512 << 20
SWAPPINESS_MAX = 10
INSTALL_BYTES_MIN = 256 << 20
REACH_TIMEOUT_S = 3
_REACH = r"""
command -v bash >/dev/null || exit 44
p() {{
  e=$(timeout {seconds} bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1); r=$?
  printf '%s %s %s %s\n' "$1" "$2" "$r" "$(printf %s "$e" | tr '\n' ' ')"
}}
{probes}wait
"""
ARCHITECTURES = {"arm64": "aarch64", "amd64": "x86_64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check on one host; `advice` says what to do when it is not ok."""

    host: str
    broker_id: int | None
    check: str
    state: CheckState
    message: str
    advice: str = ""
    fixable: bool = False

    def text(self) -> str:
        """The result in one line."""
        return f"{self.host}: {self.message}{'. ' if self.advice else ''}{self.advice}"

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


@dataclass(slots=True)
class _Host:
    """Collects the results of one machine."""

    run: Run
    nodes: list[Node]
    results: list[CheckResult]

    @property
    def machine(self) -> MachineFacts:
        machine = self.nodes[0].machine
        assert machine is not None
        return machine

    @property
    def connection(self) -> Connection:
        return self.nodes[0].connection

    def add(
        self,
        check: str,
        state: CheckState,
        message: str,
        advice: str = "",
        *,
        broker_id: int | None = None,
        fixable: bool = False,
    ) -> None:
        if check in self.run.spec.checks.ignore:
            return
        self.results.append(
            CheckResult(
                host=self.connection.name,
                broker_id=self.nodes[0].id if broker_id is None else broker_id,
                check=check,
                state=state,
                message=message,
                advice=advice,
                fixable=fixable,
            )
        )


async def check_hosts(run: Run, *, reach: bool) -> list[CheckResult]:
    """Every result for every machine but this one; `reach` tries connections between hosts."""
    results: list[CheckResult] = []
    groups = [nodes for nodes in run.machines() if not nodes[0].connection.is_local]
    hosts = [_Host(run, nodes, results) for nodes in groups]
    for host in hosts:
        results.append(_logged_in(host))
        _tools(host)
        _architecture(host)
        _memory(host)
        _limits(host)
        _tuning(host)
        _disks(host)
        await _ports(host)
        _foreign(host)
        _reboot(host)
    _clocks(hosts)
    _machine_ids(hosts)
    if reach and len(hosts) > 1 and "reach" not in run.spec.checks.ignore:
        await asyncio.gather(*(_reach(host, hosts) for host in hosts))
    order = {host.connection.name: index for index, host in enumerate(hosts)}
    return sorted(results, key=lambda result: order[result.host])


def _logged_in(host: _Host) -> CheckResult:
    how = host.connection.rights
    os_name = host.machine.values.get("os", host.machine.values.get("system", "?"))
    return CheckResult(
        host=host.connection.name,
        broker_id=host.nodes[0].id,
        check="ssh",
        state="ok",
        message=f"{how}; {os_name}",
    )


def _tools(host: _Host) -> None:
    if host.machine.missing_tools:
        listed = ", ".join(host.machine.missing_tools)
        host.add("tools", "fail", f"it lacks {listed}", "Install these commands there.")
    else:
        host.add("tools", "ok", "all needed commands are there")


def _architecture(host: _Host) -> None:
    machine, release = host.machine, host.run.release
    told = ARCHITECTURES.get(machine.architecture, machine.architecture)
    if machine.values.get("system", "Linux") != "Linux":
        host.add("architecture", "fail", f"it runs {machine.values['system']}", "Use Linux hosts.")
    elif release is not None and release.architecture != told:
        host.add(
            "architecture",
            "fail",
            f"it is {told}, but the bundle is for {release.architecture}",
            "Run logctl on a machine of that kind, or give hosts of one kind.",
        )
    else:
        host.add("architecture", "ok", f"{told}, Linux {machine.values.get('kernel', '')}".strip())


def _memory(host: _Host) -> None:
    kib = host.machine.number("memory_kb")
    if kib is None:
        return
    needed = MEMORY_MIN_BYTES * len(host.nodes)
    text = f"{size_text(kib * 1024)} of memory"
    if kib * 1024 < needed:
        host.add("memory", "warn", f"only {text}", f"Give it {size_text(needed)} or more.")
    else:
        host.add("memory", "ok", text)


def _limits(host: _Host) -> None:
    wanted = host.run.spec.run.nofile
    told = host.machine.values.get("nofile", "")
    if told.isdecimal() and int(told) < wanted and not host.connection.is_root:
        host.add(
            "limits",
            "warn",
            f"at most {told} open files are allowed, run.nofile asks for {wanted}",
            "Raise `nofile` in /etc/security/limits.conf, or lower run.nofile.",
        )
    elif told:
        host.add("limits", "ok", f"{told} open files")


def _tuning(host: _Host) -> None:
    swappiness = host.machine.number("swappiness")
    swap_kib = host.machine.number("swap_kb") or 0
    if swappiness is not None and swappiness > SWAPPINESS_MAX and swap_kib:
        host.add(
            "swappiness",
            "warn",
            f"vm.swappiness is {swappiness}: brokers may be swapped out",
            "`logctl cluster check --fix` sets it to 1.",
            fixable=True,
        )
    elif swappiness is not None:
        why = "" if swap_kib else " (no swap)"
        host.add("swappiness", "ok", f"vm.swappiness is {swappiness}{why}")
    thp = host.machine.values.get("thp", "")
    if "[always]" in thp:
        host.add(
            "thp",
            "warn",
            "transparent huge pages are always on: pauses under memory pressure",
            "`logctl cluster check --fix` sets them to madvise.",
            fixable=True,
        )
    elif thp:
        word = thp.partition("[")[2].partition("]")[0] or thp
        host.add("thp", "ok", f"transparent huge pages: {word}")


def _disks(host: _Host) -> None:
    needed = host.run.spec.checks.disk_free
    for node in host.nodes:
        for path in node.layout.data_roots:
            _disk(host, node, path, needed, "run")
        fresh = node.found.installed.generation is None
        _disk(host, node, node.layout.node_dir, INSTALL_BYTES_MIN if fresh else 0, "install")
        _noexec(host, node)


def _disk(host: _Host, node: Node, path: str, needed: int, why: str) -> None:
    mount = host.machine.mounts.get(path)
    if mount is None:
        return
    if mount.read_only:
        host.add("disk", "fail", f"{mount.place} is mounted read-only", "Mount it writable.")
    elif not mount.writable:
        host.add(
            "disk",
            "fail",
            f"{mount.place} is not writable, {path} cannot be made there",
            "Log in as root, use `become: sudo`, or choose other `paths`.",
            broker_id=node.id,
        )
    elif mount.free_bytes < needed:
        # What is installed may need a change just to free its disk: that must not be refused.
        fresh = node.found.installed.generation is None
        host.add(
            "disk",
            "fail" if fresh else "warn",
            f"only {size_text(mount.free_bytes)} are free at {mount.place} for {path}, "
            f"{size_text(needed)} are needed to {why}",
            "Make room, or lower checks.disk_free in the cluster file."
            if why == "run"
            else "Make room, or choose another `paths.install`.",
            broker_id=node.id,
        )
    else:
        host.add("disk", "ok", f"{size_text(mount.free_bytes)} free for {path}", broker_id=node.id)


def _noexec(host: _Host, node: Node) -> None:
    mount = host.machine.mounts.get(node.layout.node_dir)
    if mount is not None and mount.noexec:
        host.add(
            "noexec",
            "fail",
            f"{mount.place} is mounted noexec: nothing installed there can run",
            "Choose another `paths.install`.",
            broker_id=node.id,
        )


async def _ports(host: _Host) -> None:
    for node in host.nodes:
        if node.found.running:
            continue
        for kind, port in node.layout.ports:
            if port not in host.machine.listening:
                host.add("ports", "ok", f"{kind} port {port} is free", broker_id=node.id)
                continue
            use = await node.connection.port_use(node.layout.listen_host, port)
            host.add(
                "ports",
                "fail",
                f"the {kind} port {port} is in use by {use or 'another process'}",
                "Stop it, or choose another port in the cluster file.",
                broker_id=node.id,
            )


def _foreign(host: _Host) -> None:
    own = {node.found.view.pid for node in host.nodes}
    for node in host.nodes:
        own |= {identity[0] for identity in node.found.installed.identities.values()}
    foreign = [each for each in host.machine.foreign if each.pid not in own]
    for process in foreign:
        host.add(
            "foreign",
            "warn",
            f"another broker runs there: pid {process.pid} ({process.command[:80]})",
            "It shares memory and disk with ours.",
        )
    if not foreign:
        host.add("foreign", "ok", "no other broker runs there")


def _reboot(host: _Host) -> None:
    if not uses_systemd(host.run, host.nodes[0], host.machine):
        if host.run.spec.run.supervisor == "systemd":
            host.add("reboot", "fail", "systemd does not run there", "Use `supervisor: auto`.")
            return
        host.add(
            "reboot",
            "warn",
            "no systemd (or no root): after a reboot brokers stay down",
            "Run `logctl cluster up` after a reboot.",
        )
    elif not host.machine.has_systemd:
        host.add("reboot", "fail", "systemd does not run there", "Use `supervisor: auto`.")
    else:
        host.add("reboot", "ok", "systemd brings brokers back after a reboot")


def _clocks(hosts: Sequence[_Host]) -> None:
    offsets = [
        host.machine.clock_offset_ms for host in hosts if host.machine.clock_offset_ms is not None
    ]
    if not offsets:
        return
    median = statistics.median(offsets)
    for host in hosts:
        offset = host.machine.clock_offset_ms
        if offset is None:
            continue
        skew_ms = offset - median
        if abs(skew_ms) > host.run.spec.checks.clock_skew:
            host.add(
                "clock",
                "fail",
                f"its clock is {abs(skew_ms) / 1000:.1f} s "
                f"{'ahead of' if skew_ms > 0 else 'behind'} the median of the hosts",
                "Set it right (chrony, systemd-timesyncd), or raise checks.clock_skew.",
            )
        else:
            host.add("clock", "ok", f"{abs(skew_ms):.0f} ms from the median")


def _machine_ids(hosts: Sequence[_Host]) -> None:
    seen: dict[str, str] = {}
    for host in hosts:
        machine_id = host.machine.values.get("machine_id", "")
        boot_id = host.machine.values.get("boot_id", "")
        if not machine_id or machine_id == "uninitialized":
            continue
        other = seen.setdefault(machine_id, host.connection.name)
        if other != host.connection.name:
            host.add(
                "machine-id",
                "warn",
                f"it has the machine-id of {other}: a clone, or one machine under two names",
                f"Renew /etc/machine-id (boot id {boot_id[:8]}).",
            )
        else:
            host.add("machine-id", "ok", "its machine-id is its own")


async def _reach(host: _Host, hosts: Sequence[_Host]) -> None:
    """Whether a host's packets come through to the others' ports: open or refused, never silent."""
    wanted = [
        (node.layout.host.reachable_at, port)
        for other in hosts
        if other is not host
        for node in other.nodes
        for _, port in node.layout.ports
    ]
    probes = "".join(
        f"p {quote(address)} {int(port)} & " for address, port in dict.fromkeys(wanted)
    )
    script = _REACH.format(seconds=REACH_TIMEOUT_S, probes=probes)
    answer = await host.connection.run(
        script, what="try connections to the other hosts", as_user=True
    )
    if answer.status == 44:
        host.add("reach", "warn", "without bash the way to the other hosts cannot be tried")
        return
    silent = []
    for line in answer.text.splitlines():
        address, port, status, *words = line.split() or ["", "", "", ""]
        if status in {"", "0"} or "refused" in " ".join(words).lower():
            continue
        silent.append(f"{address}:{port}")
    if silent:
        host.add(
            "reach",
            "fail",
            f"it does not reach {', '.join(silent)}",
            "Look at addresses, routes and firewalls between the hosts.",
        )
    else:
        host.add("reach", "ok", f"it reaches the other hosts ({len(dict.fromkeys(wanted))} ports)")
