"""BrokerHeartbeat (63), versions 0-1: a broker is alive, or wants to stop (KIP-631)."""

from broker.api.forwarded import controller_api
from broker.protocol.api_keys import ApiKey

API = controller_api(ApiKey.BROKER_HEARTBEAT, 0, 1)
