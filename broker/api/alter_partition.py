"""AlterPartition (56), versions 2-3: a leader proposes a new ISR (KIP-497, KIP-903)."""

from broker.api.forwarded import controller_api
from broker.protocol.api_keys import ApiKey

API = controller_api(ApiKey.ALTER_PARTITION, 2, 3)
