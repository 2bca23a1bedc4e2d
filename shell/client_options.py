"""What the client library needs to reach a session's cluster.

The one place that turns a context into aiokafka's options. Must never put a secret anywhere else.
"""

from __future__ import annotations

from typing import Any

from shell.session import Session


def client_options(session: Session, answered: str | None = None) -> dict[str, Any]:
    """Return keyword arguments for a producer or a consumer of aiokafka.

    `answered` is a broker that just did: the library picks one of those it is given by chance, and
    waits out its whole limit for one that takes connections and says nothing.

    Raises LogctlError for security properties that are not supported or secrets that are missing.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": list(session.bootstrap()) if answered is None else [answered],
        "client_id": "logctl",
    }
    security = session.security()
    if security is not None:
        options["security_protocol"] = security.protocol
        options["ssl_context"] = security.tls
        if security.mechanism is not None:
            options["sasl_mechanism"] = security.mechanism
            options["sasl_plain_username"] = security.username
            options["sasl_plain_password"] = security.password
    return options
