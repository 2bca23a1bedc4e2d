"""What operations answer: frozen data with `to_json()`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from clusters.log_dirs import LogDirStatus
from clusters.phases.plan_model import Plan
from clusters.processes.base import ProcessState


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStatus:
    """One broker: its process as we know it, and what the cluster says about it.

    `state`: running; stopped (not started, or stopped on request); stale (it was started, and
    ended by itself); unreachable (its machine did not answer). `cluster_state` is the cluster's
    word: up, fenced, down, or None (no answer). `log_dirs` is empty where the broker is silent.
    """

    id: int
    address: str
    rack: str | None
    roles: tuple[str, ...]
    state: ProcessState
    pid: int | None
    uptime_ms: int | None
    cluster_state: str | None
    is_controller: bool
    log_path: str
    data_dirs: tuple[str, ...]
    host: str = "local"
    supervisor: str | None = None
    release: str | None = None
    generation: str | None = None
    detail: str = ""
    log_dirs: tuple[LogDirStatus, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            **asdict(self),
            "log_dirs": [each.to_json() for each in self.log_dirs],
            "roles": list(self.roles),
            "data_dirs": list(self.data_dirs),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """A cluster; `problem` says in words why it is not healthy, None when it is."""

    cluster: str
    cluster_id: str | None
    spec_path: str
    bootstrap: tuple[str, ...]
    controller_id: int
    brokers: tuple[BrokerStatus, ...]
    problem: str | None

    @property
    def healthy(self) -> bool:
        """Every broker of the file runs, is registered, unfenced and can write; a controller is."""
        return self.problem is None

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            "cluster": self.cluster,
            "cluster_id": self.cluster_id,
            "spec": self.spec_path,
            "bootstrap": list(self.bootstrap),
            "controller_id": self.controller_id,
            "healthy": self.healthy,
            "problem": self.problem,
            "brokers": [broker.to_json() for broker in self.brokers],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UpResult:
    """What `up` did: `changed` is False when everything was as the file asks already.

    `waits_for` says what else has to run before the cluster serves, when that is known; else "".
    `left` are brokers that the file no longer named, and that were stopped.
    """

    changed: bool
    started: tuple[int, ...]
    status: ClusterStatus
    elapsed_ms: int
    restarted: tuple[int, ...] = ()
    plan: Plan | None = None
    waits_for: str = ""
    left: tuple[int, ...] = ()

    @property
    def brokers(self) -> tuple[BrokerStatus, ...]:
        """Every broker of the file, after the operation."""
        return self.status.brokers

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            "changed": self.changed,
            "started": list(self.started),
            "restarted": list(self.restarted),
            "left": list(self.left),
            "elapsed_ms": self.elapsed_ms,
            "waits_for": self.waits_for or None,
            **self.status.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DownResult:
    """What `down` did: ids of brokers that were stopped, and of those that had to be killed."""

    changed: bool
    stopped: tuple[int, ...]
    killed: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            "changed": self.changed,
            "stopped": list(self.stopped),
            "killed": list(self.killed),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroyed:
    """What `destroy` removed, and what it left on purpose, as `host: path` or paths."""

    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def problem_of(
    brokers: Iterable[BrokerStatus], controller_id: int, silence: str | None
) -> str | None:
    """Why a cluster is not healthy, in words; None when it is."""
    listed = list(brokers)
    if all(broker.state == "stopped" and broker.cluster_state != "up" for broker in listed):
        return "no broker runs"
    words: list[str] = []
    for broker in listed:
        if broker.state == "unreachable":
            refused = broker.detail != "" and "cannot be reached" not in broker.detail
            how = "could not be asked" if refused else "cannot be reached"
            words.append(f"the host of broker {broker.id} {how}")
        elif broker.state == "stopped" and broker.cluster_state == "up":
            words.append(f"broker {broker.id} is up, but this user cannot see its process")
        elif broker.state != "running":
            ended = "ended by itself" if broker.state == "stale" else "is stopped"
            words.append(f"broker {broker.id} {ended}")
        elif broker.cluster_state not in {"up", None} and "broker" in broker.roles:
            words.append(f"broker {broker.id} is {broker.cluster_state}")
        troubles = (each.trouble for each in broker.log_dirs)
        words += [f"broker {broker.id}: {trouble}" for trouble in troubles if trouble]
    if silence is not None:
        words.append(silence)
    elif controller_id < 0:
        words.append("there is no controller")
    return "; ".join(words) or None
