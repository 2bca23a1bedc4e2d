"""What a refusal for want of rights says: who may not do what with what, and how it is allowed.

Brokers tell the code alone; operation and resource follow from the request (the table of Apache
Kafka's "Authorization" chapter, KIP-1 and later). Pure.
"""

from __future__ import annotations

import re
import shlex

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.lazy_dataclass import dataclass
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
    ApiKey.DESCRIBE_TRANSACTIONS: "Describe",
    ApiKey.INIT_PRODUCER_ID: "Write",
    ApiKey.WRITE_TXN_MARKERS: "Alter",
}
_WAY = "; allowed by: "


@dataclass(frozen=True, slots=True)
class Rights:
    """Who a client is (None: only the brokers know), and what it may not do with the cluster.

    `lacking` are operations as the command line writes them; None where that is not told.
    """

    who: str | None
    lacking: frozenset[str] | None

    @property
    def whom(self) -> str:
        """The principal in words."""
        return self.who or "this client's principal"

    def may_be_more(self, kind: str) -> bool:
        """Whether there may be more of a kind, topic or group, than brokers list for this client.

        Who may describe the cluster is told every group; topics are told one by one.
        """
        return bool(self.lacking) and (kind != "group" or "describe" in (self.lacking or ()))


def denied_words(
    api_key: ApiKey, code: int, who: str | None, name: str = "", message: str | None = None
) -> str:
    """The words of an error code; for want of rights with principal, operation and resource.

    `who` is the principal, None when only the brokers know it; `name` is the topic or group.
    """
    resource = _RESOURCES.get(int(code))
    operation = _operation(api_key, code)
    if resource is None or operation is None or (resource != "cluster" and not name):
        return code_words(code, message)
    what = "the cluster" if resource == "cluster" else f'the {resource} "{name}"'
    on = f"--{resource.replace(' ', '-')}" + (
        "" if resource == "cluster" else f" {shlex.quote(name)}"
    )
    whom = "this client's principal (its certificate's)" if who is None else who
    return f"{whom} may not {operation} {what} ({code_name(code)}){allowed_by(who, on, operation)}"


def allowed_by(who: str | None, on: str, operation: str) -> str:
    """The end of the words of a refusal: the command that adds a rule; `on` is as `--cluster`."""
    to = shlex.quote(who or "PRINCIPAL")
    return f"{_WAY}logctl acl add {to} {on} --operation {_option(operation)}"


def way_in_words(way: str) -> str:
    """`describe the cluster`, or `read the topic orders`: what the rule of a way allows."""
    parts = shlex.split(way)
    if len(parts) < 7 or "--operation" not in parts:
        return way
    operation = parts[parts.index("--operation") + 1]
    resource, name = parts[4].removeprefix("--"), parts[5] if parts[5] != "--operation" else ""
    return f"{operation} the {resource} {name}".rstrip()


def without_way(words: str) -> tuple[str, str]:
    """Words of a refusal without the command that would allow it, and that command ("": none)."""
    said, _, way = words.partition(_WAY)
    return said, way


def needed(api_key: ApiKey, code: int) -> str | None:
    """The operation that a request refused with a code lacks, as the command line writes it."""
    operation = _operation(api_key, code)
    return None if operation is None else _option(operation)


def _operation(api_key: ApiKey, code: int) -> str | None:
    needs = _OPERATIONS.get(api_key)
    return needs.get(_RESOURCES.get(int(code), "")) if isinstance(needs, dict) else needs


def _option(operation: str) -> str:
    """An operation as the command line writes it: DescribeConfigs is describe-configs."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", operation).lower()
