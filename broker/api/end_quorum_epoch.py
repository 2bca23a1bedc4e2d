"""EndQuorumEpoch (54), versions 0-1: a quorum leader resigns and names successors (KIP-595)."""

from broker.api.forwarded import quorum_api
from broker.protocol.api_keys import ApiKey

API = quorum_api(ApiKey.END_QUORUM_EPOCH, 0, 1)
