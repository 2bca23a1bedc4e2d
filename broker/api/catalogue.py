"""Every API that this broker serves, one module per API key.

What is not here stands in skipped.md with its reason; a test compares the two.
"""

from broker.api import (
    allocate_producer_ids,
    alter_configs,
    alter_partition,
    api_versions,
    begin_quorum_epoch,
    broker_heartbeat,
    broker_registration,
    create_partitions,
    create_topics,
    delete_topics,
    describe_cluster,
    describe_configs,
    describe_log_dirs,
    describe_quorum,
    describe_topic_partitions,
    elect_leaders,
    end_quorum_epoch,
    fetch,
    fetch_snapshot,
    incremental_alter_configs,
    init_producer_id,
    list_offsets,
    metadata,
    offset_for_leader_epoch,
    produce,
    unregister_broker,
    vote,
)
from broker.api.registry import Registry, build_registry

_MODULES = (
    allocate_producer_ids,
    alter_configs,
    alter_partition,
    api_versions,
    begin_quorum_epoch,
    broker_heartbeat,
    broker_registration,
    create_partitions,
    create_topics,
    delete_topics,
    describe_cluster,
    describe_configs,
    describe_log_dirs,
    describe_quorum,
    describe_topic_partitions,
    elect_leaders,
    end_quorum_epoch,
    fetch,
    fetch_snapshot,
    incremental_alter_configs,
    init_producer_id,
    list_offsets,
    metadata,
    offset_for_leader_epoch,
    produce,
    unregister_broker,
    vote,
)


def served_apis() -> Registry:
    """A fresh registry of everything served."""
    return build_registry(module.API for module in _MODULES)
