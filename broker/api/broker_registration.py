"""BrokerRegistration (62), versions 0-4: a broker joins the cluster (KIP-631)."""

from broker.api.forwarded import controller_api
from broker.protocol.api_keys import ApiKey

API = controller_api(ApiKey.BROKER_REGISTRATION, 0, 4)
