"""Errors of the wire: what Python code raises, and the codes that travel between peers.

Everything here derives from LogctlError, so that a caller tells our failures from bugs. A decoder
raises DecodeError subclasses and nothing else, whatever bytes it is given.
"""

from typing import TYPE_CHECKING

from broker.protocol.kio_import import import_kio

if TYPE_CHECKING:
    from kio.schema.errors import ErrorCode
else:
    ErrorCode = import_kio("kio.schema.errors").ErrorCode

__all__ = [
    "BufferUnderflow",
    "ConnectionFailed",
    "CountTooLarge",
    "DecodeError",
    "EncodeError",
    "ErrorCode",
    "FrameTooLarge",
    "InvalidBatch",
    "InvalidText",
    "InvalidValue",
    "LogctlError",
    "NegativeLength",
    "RequestTimedOut",
    "ServerError",
    "TornBatch",
    "TrailingBytes",
    "UnexpectedNull",
    "UnsupportedVersion",
    "WireError",
    "error_code",
]


class LogctlError(Exception):
    """Anything that logctl or logd reports; its text is written for the reader."""


class WireError(LogctlError):
    """Something went wrong in the language between peers."""


class DecodeError(WireError):
    """Bytes that are not what their schema says."""


class BufferUnderflow(DecodeError):
    """The bytes end before the value does."""


class NegativeLength(DecodeError):
    """A length or count below zero, other than the -1 that means null."""


class CountTooLarge(DecodeError):
    """A count that the remaining bytes cannot hold, or above our limits."""


class InvalidText(DecodeError):
    """A string that is not UTF-8."""


class InvalidValue(DecodeError):
    """A value outside its type: an overlong varint, a marker that is neither 1 nor -1."""


class UnexpectedNull(DecodeError):
    """Null where the schema has none."""


class TrailingBytes(DecodeError):
    """Bytes left over after the whole message was read."""


class FrameTooLarge(DecodeError):
    """A frame that announces more bytes than we accept."""


class TornBatch(DecodeError):
    """A record batch whose end is missing: more bytes may follow, or never came to disk."""


class InvalidBatch(DecodeError):
    """A record batch that contradicts itself, or does not decompress within its limits."""


class EncodeError(WireError):
    """A message that its schema cannot express: a programming error of the sender."""


class ConnectionFailed(WireError):
    """No connection to a peer, or it broke while requests were waiting.

    ``address`` is ``host:port``; ``reason`` says why, in words. ``refused`` tells that the host is
    up and nothing listens there.
    """

    def __init__(self, address: str, reason: str, *, refused: bool = False) -> None:
        super().__init__(f"{address}: {reason}")
        self.address = address
        self.reason = reason
        self.refused = refused


class RequestTimedOut(WireError):
    """The peer did not answer in the time allowed; whether it acted is unknown."""


class UnsupportedVersion(WireError):
    """An API, or a version of it, that one of the two sides does not speak."""


class ServerError(WireError):
    """The peer answered with an error code."""

    def __init__(self, code: int, message: str | None = None) -> None:
        self.code = error_code(code)
        name = self.code.name.upper() if isinstance(self.code, ErrorCode) else f"error {code}"
        super().__init__(f"{name}: {message}" if message else name)
        self.message = message


_CODES: dict[int, ErrorCode] = {int(code): code for code in ErrorCode}


def error_code(value: int) -> ErrorCode | int:
    """The ErrorCode of a number, or the number itself when it is newer than our table."""
    return _CODES.get(value, value)
