"""What a client that reads or writes was refused, in words: who lacks which right, what gives it.

aiokafka names the code alone, and for an idempotent producer that of the whole cluster (KIP-679).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from shell.session import Session

_TOPIC = int(ErrorCode.topic_authorization_failed)
_GROUP = int(ErrorCode.group_authorization_failed)
_CLUSTER = int(ErrorCode.cluster_authorization_failed)


def refusal(
    session: Session, error: BaseException, *, topic: str, group: str = "", writes: bool = False
) -> str | None:
    """The words, None for an error that is no lack of rights."""
    from clusters.admin.denied import denied_words

    code = getattr(error, "errno", None)
    if code == _CLUSTER and writes:
        # Who may write to any topic may be idempotent; nobody is told which one it was about.
        code = _TOPIC
    api_key = ApiKey.PRODUCE if writes else ApiKey.JOIN_GROUP if code == _GROUP else ApiKey.FETCH
    name = {_TOPIC: topic, _GROUP: group}.get(code or 0)
    if code is None or not name:
        return None
    return denied_words(api_key, ErrorCode(code), session.client().principal, name)
