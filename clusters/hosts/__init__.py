"""Connections to the machines that brokers run on."""

from clusters.hosts.base import Connection, FolderFacts, PortUse
from clusters.hosts.connect import connect

__all__ = ["Connection", "FolderFacts", "PortUse", "connect"]
