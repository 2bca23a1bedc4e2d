"""FetchSnapshot (59), versions 0-1: pieces of a metadata snapshot (KIP-630)."""

from broker.api.forwarded import quorum_api
from broker.protocol.api_keys import ApiKey

API = quorum_api(ApiKey.FETCH_SNAPSHOT, 0, 1)
