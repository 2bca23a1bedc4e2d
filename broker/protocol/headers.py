"""Headers of requests and responses, and whole frames with their four bytes of length.

Request header v1 ends after the client id; v2, which flexible versions use, adds tagged fields but
keeps the client id in the old nullable form (KIP-482). Response header v0 is the correlation id
alone; v1 adds tagged fields. Responses to ApiVersions always have header v0, because the client
does not yet know what the broker speaks (KIP-511). Bodies are the codec's work.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import is_flexible
from broker.protocol.compiler import skip_tags
from broker.protocol.errors import (
    BufferUnderflow,
    EncodeError,
    InvalidText,
    NegativeLength,
    UnsupportedVersion,
)
from broker.protocol.primitives import Buffer

_REQUEST: Final = struct.Struct(">hhih")
_RESPONSE: Final = struct.Struct(">ii")
_REQUEST_FRAME: Final = struct.Struct(">ihhih")


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """Who asks for what. ``api_key`` may be a number that no ApiKey has.

    ``body_offset`` is where the body begins in the frame.
    """

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    body_offset: int


def decode_request_header(frame: Buffer) -> RequestHeader:
    """Read the header of a frame (without its length); raises DecodeError.

    For an API key that has no schema the header is read as v1: such a request has no answer anyway.
    """
    end = len(frame)
    if end < _REQUEST.size:
        raise BufferUnderflow(f"a request header takes 10 bytes or more, this frame has {end}")
    api_key, version, correlation_id, length = _REQUEST.unpack_from(frame)
    position = _REQUEST.size
    client_id = None
    if length >= 0:
        after = position + length
        if after > end:
            raise BufferUnderflow(f"the client id announces {length} bytes, {end - position} left")
        try:
            client_id = str(frame[position:after], "utf-8")
        except UnicodeDecodeError:
            raise InvalidText("the client id is not UTF-8") from None
        position = after
    elif length < -1:
        raise NegativeLength(f"the client id has the length {length}")
    if _has_tags(api_key, version):
        position = skip_tags(frame, position, end)
    return RequestHeader(api_key, version, correlation_id, client_id, position)


def encode_request_frame(
    api_key: int, version: int, correlation_id: int, client_id: str | None, body: bytes
) -> bytes:
    """A request as it goes onto the wire; raises EncodeError for a client id over 32,767 bytes."""
    name = b"" if client_id is None else client_id.encode()
    if len(name) > 0x7FFF:
        raise EncodeError(f"the client id has {len(name)} bytes; 32767 is the most")
    tags = b"\x00" if is_flexible(api_key, version) else b""
    size = _REQUEST.size + len(name) + len(tags) + len(body)
    length = -1 if client_id is None else len(name)
    head = _REQUEST_FRAME.pack(size, api_key, version, correlation_id, length)
    return b"".join((head, name, tags, body))


def encode_response_frame(api_key: int, version: int, correlation_id: int, body: Buffer) -> bytes:
    """A response as it goes onto the wire."""
    return b"".join(encode_response_frame_buffers(api_key, version, correlation_id, (body,)))


def encode_response_frame_buffers(
    api_key: int, version: int, correlation_id: int, body: Sequence[Buffer]
) -> list[Buffer]:
    """A response as pieces for ``transport.writelines``: the body's pieces are not copied."""
    tags = b"\x00" if response_has_tags(api_key, version) else b""
    size = 4 + len(tags) + sum(len(piece) for piece in body)
    return [_RESPONSE.pack(size, correlation_id) + tags, *body]


def decode_response_header(api_key: int, version: int, frame: Buffer) -> tuple[int, int]:
    """The correlation id of a frame (without its length) and where its body begins."""
    if len(frame) < 4:
        raise BufferUnderflow(f"a response header takes 4 bytes, this frame has {len(frame)}")
    correlation_id = int.from_bytes(frame[:4], "big", signed=True)
    if not response_has_tags(api_key, version):
        return correlation_id, 4
    return correlation_id, skip_tags(frame, 4, len(frame))


def response_has_tags(api_key: int, version: int) -> bool:
    """Whether the response header is v1."""
    return api_key != ApiKey.API_VERSIONS and is_flexible(api_key, version)


def _has_tags(api_key: int, version: int) -> bool:
    try:
        return is_flexible(api_key, version)
    except UnsupportedVersion:
        return False
