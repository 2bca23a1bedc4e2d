"""What a cluster does not serve, said so that the reader knows who lacks it and what to do."""

from __future__ import annotations

from collections.abc import Mapping

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.lazy_dataclass import dataclass
from clusters.admin.errors import AdminError, code_words

AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a cluster's administration: its name, and where it can be had."""

    name: str
    way: str


ACLS = Part(
    "access control lists",
    f"Apache Kafka has them once authorizer.class.name={AUTHORIZER} is set on every broker and "
    "controller; logd has none yet, so guard its listeners by the network",
)
USERS = Part(
    "SCRAM users",
    "Apache Kafka has them since 2.7 (metadata.version 3.5 with KRaft); logd keeps no users yet",
)
QUOTAS = Part(
    "client quotas",
    "Apache Kafka has them since 2.6; logd has none yet, so limit clients where they run "
    "(produce --rate does)",
)
TRANSACTIONS = Part(
    "transactions",
    "Apache Kafka lists them since 3.0; logd has none, so every record there counts as committed",
)
PARTS: Mapping[ApiKey, Part] = {
    ApiKey.DESCRIBE_ACLS: ACLS,
    ApiKey.CREATE_ACLS: ACLS,
    ApiKey.DELETE_ACLS: ACLS,
    ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS: USERS,
    ApiKey.ALTER_USER_SCRAM_CREDENTIALS: USERS,
    ApiKey.DESCRIBE_CLIENT_QUOTAS: QUOTAS,
    ApiKey.ALTER_CLIENT_QUOTAS: QUOTAS,
    ApiKey.LIST_TRANSACTIONS: TRANSACTIONS,
    ApiKey.DESCRIBE_TRANSACTIONS: TRANSACTIONS,
}
_RIGHTS = frozenset({ErrorCode.cluster_authorization_failed, ErrorCode.topic_authorization_failed})


class NotServed(AdminError):
    """The brokers answer, but do not do this: `part` says what, `code` why."""

    def __init__(self, part: Part, text: str, *, code: int) -> None:
        self.part = part
        super().__init__(text, code=code)


class NotAllowed(AdminError):
    """The brokers do it, but not for this principal."""


def not_offered(api_key: ApiKey, address: str | None) -> NotServed:
    """For brokers whose ApiVersions does not list a request."""
    part = PARTS[api_key]
    name = "".join(word.capitalize() for word in api_key.name.split("_"))
    return NotServed(
        part,
        f"There are no {part.name} here: {address or 'the broker'} does not serve {name} "
        f"(API {int(api_key)}). {part.way}",
        code=int(ErrorCode.unsupported_version),
    )


def refusal(api_key: ApiKey, what: str, code: int, message: str | None) -> AdminError:
    """The error for a code in an answer to one of these requests."""
    part = PARTS[api_key]
    words = code_words(code, message)
    if code == ErrorCode.security_disabled:
        text = f"{what}: the brokers run without an authorizer ({words}). {part.way}"
        return NotServed(part, text, code=int(code))
    if code == ErrorCode.unsupported_version:
        return NotServed(part, f"{what}: {words}. {part.way}", code=int(code))
    if code in _RIGHTS:
        need = "Describe" if "DESCRIBE" in api_key.name else "Alter"
        if api_key is ApiKey.DESCRIBE_CLIENT_QUOTAS:
            need = "DescribeConfigs"
        elif api_key is ApiKey.ALTER_CLIENT_QUOTAS:
            need = "AlterConfigs"
        # The server's own message shows objects of its own, and no way out.
        way = f"It takes the operation {need} on the cluster, or a super user"
        text = f"{what}: {code_words(code)}. {way}"
        return NotAllowed(text, code=int(code))
    return AdminError(f"{what}: {words}", code=int(code))
