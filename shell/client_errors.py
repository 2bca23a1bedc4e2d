"""Teaches aiokafka the error codes that it does not know, so that each is told by its name.

What it does not know it calls an unknown server error, as if the broker were to blame. Imported
where its clients are made; must never change a code that it knows.
"""

from __future__ import annotations

from aiokafka import errors as known

from broker.protocol.errors import ErrorCode

# Where the name alone does not tell what to do.
_WORDS = {
    ErrorCode.invalid_record: "the record is not valid; where cleanup.policy has compact, each "
    "record needs a key",
    ErrorCode.throttling_quota_exceeded: "a quota is used up",
    ErrorCode.unsupported_compression_type: "the broker does not know this compression",
}


def learn() -> None:
    """Add the codes that are missing; doing it again does nothing."""
    for code in ErrorCode:
        if int(code) not in known.kafka_errors:
            known.kafka_errors[int(code)] = _made(code)


def _made(code: ErrorCode) -> type[known.BrokerResponseError]:
    name = "".join(part.capitalize() for part in code.name.split("_"))
    words = _WORDS.get(code, code.name.replace("_", " "))
    content = {
        "errno": int(code),
        "message": code.name.upper(),
        "description": words,
        "retriable": code.retriable,
    }
    return type(f"{name}Error", (known.BrokerResponseError,), content)
