"""The commands of logctl, one module a noun; each declares `COMMANDS` and how they run."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from shell.registry import Registry

_NOUNS = (
    ("cluster", "Start, stop and ask after a cluster described by a file."),
    ("broker", "The brokers of a cluster."),
    ("bundle", "The archive that runs logd on bare hosts."),
    ("topic", "Topics and their partitions."),
    ("partition", "Partitions: who leads, where replicas lie and move."),
    ("group", "Consumer groups: members, lag, committed offsets."),
    ("config", "Settings of topics and brokers."),
    ("acl", "Access rules: who may do what."),
    ("user", "SCRAM users."),
    ("quota", "Limits of users, client ids and addresses."),
    ("quorum", "The metadata quorum."),
    ("producer", "Producers that partitions remember."),
    ("transaction", "Transactions: which are open, which hang."),
    ("context", "Saved clusters, and the one in use."),
)
# Modules in the order of declaration, each with the first words of its commands.
_MODULES = {
    "cluster": ("cluster",),
    "cluster_hosts": ("cluster",),
    "broker": ("broker",),
    "broker_process": ("broker",),
    "bundle": ("bundle",),
    "topic": ("topic",),
    "topic_change": ("topic",),
    "partition": ("partition",),
    "partition_move": ("partition",),
    "partition_throttle": ("partition",),
    "group": ("group",),
    "group_reset": ("group",),
    "config": ("config",),
    "acl": ("acl",),
    "user": ("user",),
    "quota": ("quota",),
    "quorum": ("quorum",),
    "producer": ("producer",),
    "transaction": ("transaction",),
    "produce": ("produce",),
    "tail": ("tail",),
    "watch": ("watch",),
    "query": ("query",),
    "wait": ("wait",),
    "apply": ("diff", "apply", "export"),
    "run": ("run",),
    "context": ("context",),
    "demo": ("demo",),
    "extras": ("dash", "completion", "help", "alias"),
}


def all_commands() -> Registry:
    """Return a registry with every command."""
    return _registry(_MODULES)


def commands_for(first_word: str | None) -> Registry:
    """Return a registry with at least the commands that begin with the word.

    One command line needs no more, and what is not loaded costs no time. With another word, or
    none, it has every command, so that the help and the nearest word are found.
    """
    modules = [name for name, words in _MODULES.items() if first_word in words]
    return _registry(modules or _MODULES)


def _registry(modules: Iterable[str]) -> Registry:
    registry = Registry()
    for noun, summary in _NOUNS:
        registry.add_group(noun, summary)
    for name in modules:
        for command in import_module(f"shell.commands.{name}").COMMANDS:
            registry.add(command)
    return registry
