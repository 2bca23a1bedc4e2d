"""Vote (52), versions 0-2.

One candidate asks for a vote; v2 pre-vote (KIP-996). Answered by the quorum.
"""

from broker.api.forwarded import quorum_api
from broker.protocol.api_keys import ApiKey

API = quorum_api(ApiKey.VOTE, 0, 2)
