"""The commands of logctl, one module a noun; each declares `COMMANDS` and how they run."""

from __future__ import annotations

from shell.registry import Registry


def all_commands() -> Registry:
    """Return a registry with every command."""
    from shell.commands import (
        apply,
        broker,
        broker_process,
        bundle,
        cluster,
        cluster_hosts,
        context,
        demo,
        extras,
        produce,
        query,
        run,
        tail,
        topic,
        watch,
    )

    registry = Registry()
    registry.add_group("cluster", "Start, stop and ask after a cluster described by a file.")
    registry.add_group("broker", "The brokers of a cluster.")
    registry.add_group("bundle", "The archive that runs logd on bare hosts.")
    registry.add_group("topic", "Topics and their partitions.")
    registry.add_group("context", "Saved clusters, and the one in use.")
    for module in (
        cluster,
        cluster_hosts,
        broker,
        broker_process,
        bundle,
        topic,
        produce,
        tail,
        watch,
        query,
        apply,
        run,
        context,
        demo,
        extras,
    ):
        for command in module.COMMANDS:
            registry.add(command)
    return registry
