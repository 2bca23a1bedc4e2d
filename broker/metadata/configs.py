"""Settings of topics and brokers that change while the cluster runs (KIP-339).

One answer per resource; a resource's changes are all made or none. It must never store a value
that its definition refuses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from broker.metadata.cluster import Cluster
from broker.metadata.decision import Decision, Refused, reply
from broker.protocol.errors import ErrorCode
from broker.protocol.image import RESOURCE_BROKER, RESOURCE_TOPIC
from broker.protocol.metadata_records import ConfigRecord, MetadataRecord
from broker.protocol.struct import Struct
from broker.settings.changes import ConfigRefused, altered, replaced

Change = Callable[[Struct, Mapping[str, str]], dict[str, str]]


class Configs:
    """Decides changes of stored settings."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def alter_incrementally(self, request: Struct) -> Decision:
        """IncrementalAlterConfigs: SET, DELETE, APPEND and SUBTRACT."""

        def change(resource: Struct, current: Mapping[str, str]) -> dict[str, str]:
            operations = [(c.name, c.config_operation, c.value) for c in resource.configs]
            return altered(resource.resource_type, current, operations)

        return self._alter(request, change)

    def alter(self, request: Struct) -> Decision:
        """The legacy AlterConfigs: what is not named goes back to its default."""

        def change(resource: Struct, current: Mapping[str, str]) -> dict[str, str]:
            return replaced(resource.resource_type, [(c.name, c.value) for c in resource.configs])

        return self._alter(request, change)

    def _alter(self, request: Struct, change: Change) -> Decision:
        keys = Counter((r.resource_type, r.resource_name) for r in request.resources)
        records: list[MetadataRecord] = []
        results: list[Struct] = []
        answered: set[tuple[int, str]] = set()
        for resource in request.resources:
            key = (resource.resource_type, resource.resource_name)
            if key in answered:
                continue
            answered.add(key)
            code, message = ErrorCode.none, None
            try:
                if keys[key] > 1:
                    raise Refused(
                        ErrorCode.invalid_request, "Each resource must appear at most once."
                    )
                self._check_resource(*key)
                current = self._cluster.image.config(*key)
                changes = _difference(key, current, change(resource, current))
            except (Refused, ConfigRefused) as refused:
                code, message = refused.code, str(refused)
            else:
                if not request.validate_only:
                    records += changes
            results.append(
                Struct(
                    error_code=code,
                    error_message=message,
                    resource_type=resource.resource_type,
                    resource_name=resource.resource_name,
                )
            )
        return Decision(records, reply(responses=results))

    def _check_resource(self, resource_type: int, name: str) -> None:
        image = self._cluster.image
        if resource_type == RESOURCE_TOPIC:
            if not name:
                raise Refused(ErrorCode.invalid_request, "Default topic resources are not allowed.")
            if name not in image.topics:
                raise Refused(
                    ErrorCode.unknown_topic_or_partition, f"The topic '{name}' does not exist."
                )
        elif resource_type == RESOURCE_BROKER:
            if name and not name.isdigit():
                raise Refused(
                    ErrorCode.invalid_request,
                    f"Unable to parse broker name '{name}' as a base 10 number.",
                )
            if name and int(name) not in image.brokers:
                raise Refused(
                    ErrorCode.broker_id_not_registered, f"No broker with id {name} is registered."
                )
        else:
            raise Refused(ErrorCode.invalid_request, f"Unknown resource type {resource_type}")


def _difference(
    key: tuple[int, str], before: Mapping[str, str], after: Mapping[str, str]
) -> Iterable[MetadataRecord]:
    names = sorted({*before, *after})
    return [
        ConfigRecord(resource_type=key[0], resource_name=key[1], name=n, value=after.get(n))
        for n in names
        if before.get(n) != after.get(n)
    ]
