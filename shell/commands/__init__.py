"""The commands of logctl, one module a noun; each declares `COMMANDS` and how they run."""

from __future__ import annotations

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
    ("context", "Saved clusters, and the one in use."),
)


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
    for noun, summary in _NOUNS:
        registry.add_group(noun, summary)
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
