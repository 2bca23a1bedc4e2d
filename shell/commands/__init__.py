"""The commands of logctl, one module a noun; each declares `COMMANDS` and how they run."""

from __future__ import annotations

from shell.registry import Registry


def all_commands() -> Registry:
    """Return a registry with every command."""
    from shell.commands import (
        acl,
        apply,
        broker,
        broker_process,
        bundle,
        cluster,
        cluster_hosts,
        config,
        context,
        demo,
        extras,
        group,
        group_reset,
        partition,
        partition_move,
        produce,
        producer,
        query,
        quorum,
        quota,
        run,
        tail,
        topic,
        topic_change,
        user,
        wait,
        watch,
    )

    registry = Registry()
    registry.add_group("cluster", "Start, stop and ask after a cluster described by a file.")
    registry.add_group("broker", "The brokers of a cluster.")
    registry.add_group("bundle", "The archive that runs logd on bare hosts.")
    registry.add_group("topic", "Topics and their partitions.")
    registry.add_group("partition", "Partitions: who leads, where replicas lie and move.")
    registry.add_group("group", "Consumer groups: members, lag, committed offsets.")
    registry.add_group("config", "Settings of topics and brokers.")
    registry.add_group("acl", "Access rules: who may do what.")
    registry.add_group("user", "SCRAM users.")
    registry.add_group("quota", "Limits of users, client ids and addresses.")
    registry.add_group("quorum", "The metadata quorum.")
    registry.add_group("producer", "Producers that partitions remember.")
    registry.add_group("context", "Saved clusters, and the one in use.")
    for module in (
        cluster,
        cluster_hosts,
        broker,
        broker_process,
        bundle,
        topic,
        topic_change,
        partition,
        partition_move,
        group,
        group_reset,
        config,
        acl,
        user,
        quota,
        quorum,
        producer,
        produce,
        tail,
        watch,
        query,
        wait,
        apply,
        run,
        context,
        demo,
        extras,
    ):
        for command in module.COMMANDS:
            registry.add(command)
    return registry
