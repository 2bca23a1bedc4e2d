"""AllocateProducerIds (67), version 0: a broker takes a block of producer ids (KIP-730)."""

from broker.api.forwarded import controller_api
from broker.protocol.api_keys import ApiKey

API = controller_api(ApiKey.ALLOCATE_PRODUCER_IDS, 0, 0)
