"""What this client may do, asked before it is done: brokers tell it beside what they describe.

KIP-430. Best effort: who tells no rights (an older broker, a newer kind of group) refuses nothing
here, and the request itself will say.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, LogctlError
from broker.protocol.struct import ZERO_UUID, Struct
from clusters.admin.acl_model import OPERATIONS
from clusters.admin.asking import Asking
from clusters.admin.denied import needed
from clusters.admin.errors import AdminError

NOT_TOLD = -(2**31)


class RightsCalls(Asking):
    """Each raises AdminError with the words of the refusal that the request would meet."""

    async def check_topics(self, api_key: ApiKey, names: Iterable[str]) -> None:
        """Whether a request may be made about topics."""
        body = Struct(
            topics=[Struct(topic_id=ZERO_UUID, name=each) for each in sorted(set(names))],
            allow_auto_topic_creation=False,
            include_topic_authorized_operations=True,
        )
        try:
            answer = await self._ask(ApiKey.METADATA, body, self._deadline())
        except LogctlError:
            return
        for topic in answer.topics:
            rights = topic.get("topic_authorized_operations", NOT_TOLD)
            if topic.error_code == ErrorCode.none:
                self._check(api_key, ErrorCode.topic_authorization_failed, rights, topic.name)

    async def check_group(self, api_key: ApiKey, name: str) -> None:
        """Whether a request may be made about a group."""
        body = Struct(groups=[name], include_authorized_operations=True)
        try:
            _, answer = await self._at_coordinator(
                name,
                ApiKey.DESCRIBE_GROUPS,
                body,
                lambda answer: answer.groups[0].error_code,
                self._deadline(),
            )
        except LogctlError:
            return
        told = answer.groups[0]
        rights = told.get("authorized_operations", NOT_TOLD)
        if told.error_code == ErrorCode.none:
            self._check(api_key, ErrorCode.group_authorization_failed, rights, name)

    async def check_cluster(self, api_key: ApiKey) -> None:
        """Whether a request may be made about the cluster as a whole."""
        body = Struct(include_cluster_authorized_operations=True, include_fenced_brokers=False)
        try:
            answer = await self._ask(ApiKey.DESCRIBE_CLUSTER, body, self._deadline())
        except LogctlError:
            return
        rights = answer.cluster_authorized_operations
        if answer.error_code == ErrorCode.none:
            self._check(api_key, ErrorCode.cluster_authorization_failed, rights)

    def _check(self, api_key: ApiKey, code: ErrorCode, rights: int, name: str = "") -> None:
        operation = needed(api_key, code)
        if rights == NOT_TOLD or operation is None or rights & (1 << OPERATIONS[operation]):
            return
        raise AdminError(f"Would be refused: {self._words(api_key, code, name)}", code=int(code))
