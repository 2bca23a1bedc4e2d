"""What keeps a broker's process up: nothing (this machine), systemd, or the built-in supervisor."""

from clusters.processes.base import BrokerProcess, ProcessState, ProcessView, Stopped
from clusters.processes.builtin import BuiltinProcess
from clusters.processes.direct import DirectProcess
from clusters.processes.systemd import SystemdProcess, unit_text

__all__ = [
    "BrokerProcess",
    "BuiltinProcess",
    "DirectProcess",
    "ProcessState",
    "ProcessView",
    "Stopped",
    "SystemdProcess",
    "unit_text",
]
