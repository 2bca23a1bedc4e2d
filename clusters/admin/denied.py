"""What a refusal for want of rights says: who may not do what with what, and how it is allowed.

Brokers tell the code alone; operation and resource follow from the request (the table of Apache
Kafka's "Authorization" chapter, KIP-1 and later). Pure.
"""

from __future__ import annotations

import re
import shlex

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from clusters.admin.errors import code_name, code_words

_RESOURCES: dict[int, str] = {
    ErrorCode.topic_authorization_failed: "topic",
    ErrorCode.group_authorization_failed: "group",
    ErrorCode.cluster_authorization_failed: "cluster",
    ErrorCode.transactional_id_authorization_failed: "transactional id",
}
# By request, and by kind of resource where a request touches several.
_OPERATIONS: dict[ApiKey, str | dict[str, str]] = {
    ApiKey.METADATA: "Describe",
    ApiKey.LIST_OFFSETS: "Describe",
    ApiKey.CREATE_TOPICS: "Create",
    ApiKey.DELETE_TOPICS: "Delete",
    ApiKey.CREATE_PARTITIONS: "Alter",
    ApiKey.DELETE_RECORDS: "Delete",
    ApiKey.DESCRIBE_CONFIGS: "DescribeConfigs",
    ApiKey.INCREMENTAL_ALTER_CONFIGS: "AlterConfigs",
    ApiKey.DESCRIBE_PRODUCERS: "Read",
    ApiKey.DESCRIBE_QUORUM: "Describe",
    ApiKey.DESCRIBE_LOG_DIRS: "Describe",
    ApiKey.LIST_PARTITION_REASSIGNMENTS: "Describe",
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: "Alter",
    ApiKey.ELECT_LEADERS: "Alter",
    ApiKey.LIST_GROUPS: "Describe",
    ApiKey.FIND_COORDINATOR: "Describe",
    ApiKey.DESCRIBE_GROUPS: "Describe",
    ApiKey.OFFSET_FETCH: "Describe",
    ApiKey.OFFSET_COMMIT: "Read",
    ApiKey.OFFSET_DELETE: {"group": "Delete", "topic": "Read"},
    ApiKey.DELETE_GROUPS: "Delete",
    ApiKey.UNREGISTER_BROKER: "Alter",
    ApiKey.PRODUCE: "Write",
    ApiKey.FETCH: "Read",
    ApiKey.JOIN_GROUP: "Read",
}
_WAY = "; allowed by: "


def denied_words(
    api_key: ApiKey, code: int, who: str | None, name: str = "", message: str | None = None
) -> str:
    """The words of an error code; for want of rights with principal, operation and resource.

    `who` is the principal, None when only the brokers know it; `name` is the topic or group.
    """
    resource = _RESOURCES.get(int(code))
    needs = _OPERATIONS.get(api_key)
    operation = needs.get(resource or "") if isinstance(needs, dict) else needs
    if resource is None or operation is None or (resource != "cluster" and not name):
        return code_words(code, message)
    what = "the cluster" if resource == "cluster" else f'the {resource} "{name}"'
    on = f"--{resource.replace(' ', '-')}" + (
        "" if resource == "cluster" else f" {shlex.quote(name)}"
    )
    whom = "this client's principal (its certificate's)" if who is None else who
    allow = (
        f"logctl acl add {shlex.quote(who or 'PRINCIPAL')} {on} --operation {_option(operation)}"
    )
    return f"{whom} may not {operation} {what} ({code_name(code)}){_WAY}{allow}"


def without_way(words: str) -> tuple[str, str]:
    """Words of a refusal without the command that would allow it, and that command ("": none)."""
    said, _, way = words.partition(_WAY)
    return said, way


def _option(operation: str) -> str:
    """An operation as the command line writes it: DescribeConfigs is describe-configs."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", operation).lower()
