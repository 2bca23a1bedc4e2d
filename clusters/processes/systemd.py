"""A broker as a systemd unit: restarted after a crash, started again after a reboot.

Acts on exactly one unit, by its name. Needs root.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from clusters.errors import HostError
from clusters.hosts.base import Connection
from clusters.hosts.shell_words import quote
from clusters.layout import BrokerLayout
from clusters.processes.base import ProcessView, Stopped, restarted_words
from clusters.spec.models import ClusterSpec

_SHOW = (
    "-p LoadState -p ActiveState -p SubState -p MainPID -p NRestarts -p ExecMainStatus "
    "-p ExecMainStartTimestampMonotonic -p UnitFileState -p Result"
)
_UNIT = """\
# Written by logctl; changes here are lost at the next `logctl cluster up`.
[Unit]
Description=logd, broker {id} of the cluster {cluster}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
User={user}
Group={user}
WorkingDirectory=/
ExecStart={command}
Restart=always
RestartSec=1
KillMode=mixed
TimeoutStopSec={stop_s}
UMask=0027
LimitNOFILE={nofile}
OOMScoreAdjust=-500
StandardOutput=append:{log}
StandardError=append:{log}
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={writable}
{home}PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
CapabilityBoundingSet=

[Install]
WantedBy=multi-user.target
"""
_STOP_GRACE_MS = 15_000


def unit_text(spec: ClusterSpec, layout: BrokerLayout, command: Sequence[str]) -> str:
    """The unit file of one broker."""
    in_home = any(
        path.startswith(("/home/", "/root/", "/run/user/"))
        for path in (layout.cluster_root, *layout.data_dirs, layout.log_path)
    )
    return _UNIT.format(
        id=layout.id,
        cluster=spec.name,
        user=spec.run.user,
        command=" ".join(_word(part) for part in command),
        stop_s=max(1, -(-spec.run.stop_timeout // 1000)),
        nofile=spec.run.nofile,
        log=_plain(layout.log_path),
        writable=" ".join(
            _word(path) for path in (*layout.data_dirs, os.path.dirname(layout.log_path))
        ),
        home="" if in_home else "ProtectHome=yes\n",
    )


def _plain(path: str) -> str:
    return path.replace("%", "%%")


def _word(text: str) -> str:
    escaped = _plain(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"' if any(character in ' \t"\\' for character in text) else escaped


class SystemdProcess:
    """Drives one unit by systemctl; `show` holds properties found with the facts, if any."""

    kind = "systemd"

    def __init__(
        self,
        connection: Connection,
        layout: BrokerLayout,
        text: str,
        *,
        show: Mapping[str, str] | None = None,
        uptime_s: float | None = None,
    ) -> None:
        self._connection = connection
        self._layout = layout
        self._text = text
        self._show = dict(show) if show is not None else None
        self._uptime_s = uptime_s

    @property
    def unit(self) -> str | None:
        """The text of its unit file."""
        return self._text

    @property
    def _name(self) -> str:
        return quote(self._layout.unit)

    async def look(self) -> ProcessView:
        """What runs now; the first answer comes from the facts."""
        if self._show is not None:
            show, self._show = self._show, None
            return unit_view(show, self._uptime_s)
        answer = await self._connection.run(
            f"systemctl show {self._name} {_SHOW}; cat /proc/uptime",
            what=f"ask systemd for {self._layout.unit}",
        )
        lines = answer.text.splitlines()
        pairs = (line.partition("=") for line in lines if "=" in line)
        uptime_s = float(lines[-1].split()[0]) if lines and "=" not in lines[-1] else None
        return unit_view({name: value for name, _, value in pairs}, uptime_s)

    async def start(self, command: Sequence[str]) -> str:
        """Write the unit when it is another one, enable and start it."""
        self._show = None
        path = self._layout.unit_path
        if await self._connection.read_file(path) != self._text.encode():
            await self._connection.write_file(path, self._text.encode(), mode=0o644)
        await self._systemctl(
            f"systemctl daemon-reload && systemctl enable -q {self._name} && "
            f"systemctl reset-failed {self._name} 2>/dev/null; systemctl start {self._name}",
            "start",
        )
        view = await self.look()
        return f"pid {view.pid}" if view.pid else view.detail

    async def stop(self, timeout_ms: int) -> Stopped:
        """`systemctl stop`; systemd kills it after TimeoutStopSec."""
        before = await self.look()
        if before.state == "stopped" and not await self._is_installed():
            return Stopped(was_running=False)
        script = (
            f"systemctl disable -q {self._name} 2>/dev/null\n"
            f"systemctl stop {self._name} || exit 1\n"
            f"systemctl show {self._name} -p Result"
        )
        answer = await self._systemctl(script, "stop", timeout_ms + _STOP_GRACE_MS)
        killed = "Result=timeout" in answer
        return Stopped(was_running=before.state != "stopped", killed=killed)

    async def _is_installed(self) -> bool:
        return await self._connection.read_file(self._layout.unit_path) is not None

    async def kill(self) -> bool:
        """SIGKILL to the main process; systemd starts it again, as after a crash."""
        if (await self.look()).state != "running":
            return False
        await self._systemctl(f"systemctl kill --kill-who=main -s KILL {self._name}", "kill")
        return True

    async def remove(self) -> None:
        """Disable the unit and remove its file."""
        path = quote(self._layout.unit_path)
        await self._systemctl(
            f"systemctl disable -q {self._name} 2>/dev/null; rm -f {path}; "
            f"systemctl daemon-reload; systemctl reset-failed {self._name} 2>/dev/null; true",
            "remove",
        )

    async def explain(self) -> str:
        """The unit's state in systemd's words."""
        self._show = None
        answer = await self._connection.run(
            f"systemctl status --no-pager -n 0 {self._name} 2>&1 | sed -n '2,6p'",
            what=f"ask systemd for {self._layout.unit}",
        )
        return f"{self._layout.unit}: " + " · ".join(
            " ".join(line.split()) for line in answer.text.splitlines() if line.strip()
        )

    async def _systemctl(self, script: str, verb: str, timeout_ms: int = 90_000) -> str:
        answer = await self._connection.run(
            script, what=f"{verb} {self._layout.unit}", timeout_ms=timeout_ms
        )
        if answer.status != 0:
            raise HostError(
                f"{self._connection.name} could not {verb} {self._layout.unit}: {answer.complaint}"
            )
        return answer.text


def unit_view(show: Mapping[str, str], uptime_s: float | None) -> ProcessView:
    """A view from `systemctl show`."""
    active, sub = show.get("ActiveState", "inactive"), show.get("SubState", "")
    pid = int(show.get("MainPID") or 0) or None
    restarts = int(show.get("NRestarts") or 0)
    words = f"unit {active} ({sub})"
    started_us = int(show.get("ExecMainStartTimestampMonotonic") or 0)
    if active == "active" and pid is not None:
        uptime_ms = None
        if uptime_s is not None and started_us:
            uptime_ms = max(0, int(uptime_s * 1000 - started_us / 1000))
        detail = restarted_words(restarts) if restarts else ""
        return ProcessView(state="running", pid=pid, uptime_ms=uptime_ms, detail=detail)
    status = show.get("ExecMainStatus", "0")
    if active in {"activating", "failed"} or show.get("Result", "success") != "success":
        return ProcessView(state="stale", detail=f"{words}, last exit status {status}")
    if active == "inactive" and show.get("UnitFileState") == "enabled" and started_us:
        return ProcessView(state="stale", detail=words)
    return ProcessView(state="stopped")
