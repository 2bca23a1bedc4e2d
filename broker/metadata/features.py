"""Feature levels: which ones a cluster may be brought to. Pure.

There is one level of metadata.version, so nothing can change; asking for that level is fine. It
must never write a level whose records a node of the cluster cannot read.
"""

from __future__ import annotations

from broker.metadata.cluster import Cluster
from broker.metadata.decision import Decision, Refused, reply
from broker.protocol.errors import ErrorCode
from broker.protocol.image import METADATA_VERSION_FEATURE
from broker.protocol.struct import Struct


class Features:
    """Decides on UpdateFeatures."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def update(self, request: Struct) -> Decision:
        """UpdateFeatures (KIP-584): one level that cannot be refuses the whole request."""
        results = []
        for wanted in request.feature_updates:
            try:
                self._check(wanted.feature, wanted.max_version_level)
            except Refused as refused:
                message = (
                    "The update failed for all features since the following feature had an "
                    f"error: {refused}"
                )
                return Decision(
                    reply=reply(error_code=refused.code, error_message=message, results=[])
                )
            results.append(
                Struct(feature=wanted.feature, error_code=ErrorCode.none, error_message=None)
            )
        return Decision(reply=reply(error_code=ErrorCode.none, error_message=None, results=results))

    def _check(self, name: str, level: int) -> None:
        image = self._cluster.image
        ours = image.features.get(METADATA_VERSION_FEATURE, self._cluster.config.metadata_version)
        if name == METADATA_VERSION_FEATURE and level == ours:
            return
        supported = (
            f"only supports versions {ours}-{ours}"
            if name == METADATA_VERSION_FEATURE
            else "does not support this feature"
        )
        raise Refused(
            ErrorCode.invalid_update_version,
            f"Invalid update version {level} for feature {name}. Local controller "
            f"{self._cluster.config.node_id} {supported}.",
        )
