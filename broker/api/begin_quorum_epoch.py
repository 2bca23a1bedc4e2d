"""BeginQuorumEpoch (53), versions 0-1: a new quorum leader announces itself (KIP-595)."""

from broker.api.forwarded import quorum_api
from broker.protocol.api_keys import ApiKey

API = quorum_api(ApiKey.BEGIN_QUORUM_EPOCH, 0, 1)
