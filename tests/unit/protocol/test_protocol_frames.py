"""Framing and headers."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.protocol import headers
from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import encode_request
from broker.protocol.errors import (
    BufferUnderflow,
    CountTooLarge,
    DecodeError,
    EncodeError,
    FrameTooLarge,
    InvalidText,
    NegativeLength,
)
from broker.protocol.framing import FrameDecoder
from broker.protocol.kio_import import import_kio


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(1, 17), min_size=1))
@settings(deadline=None)
def test_frames_come_out_however_the_stream_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    decoder = FrameDecoder()
    found, position = [], 0
    while position < len(stream):
        step = cuts[len(found) % len(cuts)]
        found += [bytes(f) for f in decoder.feed(stream[position : position + step])]
        position += step
    assert found == bodies
    assert decoder.pending_bytes == 0


def test_an_announced_length_reserves_nothing() -> None:
    decoder = FrameDecoder()
    assert decoder.feed((90 * 1024 * 1024).to_bytes(4, "big") + b"abc") == []
    assert decoder.pending_bytes == 7


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"HTTP/1.1 400 Bad Request", "1213486160 bytes (its first word is 'HTTP'); 104857600 is"),
        (b"SSH-2.0-OpenSSH", "(its first word is 'SSH-')"),
        ((2**30 + 1).to_bytes(4, "big"), "a frame of 1073741825 bytes; 104857600 is the most"),
    ],
)
def test_who_speaks_another_protocol_is_told_by_its_first_word(data: bytes, said: str) -> None:
    with pytest.raises(FrameTooLarge) as told:
        FrameDecoder().feed(data)
    assert said in str(told.value)


@pytest.mark.parametrize("split", [0, 1, 3, 4])
def test_impossible_lengths_are_refused_at_once(split: int) -> None:
    for length, error in ((-1, NegativeLength), (-(2**31), NegativeLength), (1025, FrameTooLarge)):
        decoder = FrameDecoder(1024)
        data = length.to_bytes(4, "big", signed=True)
        pieces = [data] if split == 4 else [data[:split], data[split:]]
        for piece in pieces[:-1]:
            assert decoder.feed(piece) == []
        with pytest.raises(error):
            decoder.feed(pieces[-1])
    assert [bytes(f) for f in FrameDecoder(4).feed(b"\0\0\0\4abcd")] == [b"abcd"]


@pytest.mark.parametrize("client_id", [None, "", "logctl", "日本"])
@pytest.mark.parametrize(
    ("key", "version"), [(ApiKey.FETCH, 4), (ApiKey.FETCH, 12), (18, 0), (18, 3)]
)
def test_request_headers_come_back(key: int, version: int, client_id: str | None) -> None:
    body = encode_request(key, version, {})
    frame = headers.encode_request_frame(key, version, -7, client_id, body)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    header = headers.decode_request_header(memoryview(frame)[4:])
    assert (header.api_key, header.api_version, header.correlation_id) == (key, version, -7)
    assert header.client_id == client_id
    assert frame[4 + header.body_offset :] == body


@pytest.mark.parametrize("version", [1, 2])
def test_request_headers_are_kios(version: int) -> None:
    from io import BytesIO

    schema = import_kio(f"kio.schema.request_header.v{version}.header")
    writer = import_kio("kio.serial._serialize").entity_writer(schema.RequestHeader)
    key = 12 if version == 1 else 3
    with BytesIO() as out:
        api_version = 2 if version == 1 else 12
        writer(
            out,
            schema.RequestHeader(
                request_api_key=key,
                request_api_version=api_version,
                correlation_id=99,
                client_id="naïve",
            ),
        )
        expected = out.getvalue()
    assert headers.encode_request_frame(key, api_version, 99, "naïve", b"")[4:] == expected


def test_a_version_from_the_future_keeps_its_flexible_header() -> None:
    frame = headers.encode_request_frame(ApiKey.API_VERSIONS, 3, 1, "x", b"")
    future = bytearray(frame[4:])
    future[3] = 99
    header = headers.decode_request_header(future)
    assert (header.api_version, header.body_offset) == (99, len(future))


def test_an_unknown_api_still_has_a_header() -> None:
    header = headers.decode_request_header(b"\x03\xe8\x00\x01\x00\x00\x00\x05\x00\x02hi")
    assert (header.api_key, header.correlation_id, header.client_id) == (1000, 5, "hi")


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (b"", BufferUnderflow),
        (b"\0\x12\0\3\0\0\0\1\0", BufferUnderflow),
        (b"\0\x12\0\3\0\0\0\1\0\5ab", BufferUnderflow),
        (b"\0\x12\0\3\0\0\0\1\xff\xfe", NegativeLength),
        (b"\0\x12\0\0\0\0\0\1\0\1\xff", InvalidText),
        (b"\0\x12\0\3\0\0\0\1\xff\xff", BufferUnderflow),
        (b"\0\x12\0\3\0\0\0\1\xff\xff\xff\xff\xff\xff\x0f", CountTooLarge),
        (b"\0\x12\0\3\0\0\0\1\xff\xff\1\5\xff\x7fab", BufferUnderflow),
    ],
)
def test_broken_request_headers(frame: bytes, error: type[DecodeError]) -> None:
    with pytest.raises(error):
        headers.decode_request_header(frame)


def test_response_headers() -> None:
    for key, version, size in ((1, 11, 4), (1, 12, 5), (18, 3, 4), (18, 0, 4)):
        frame = headers.encode_response_frame(key, version, 2**31 - 1, b"body")
        assert int.from_bytes(frame[:4], "big") == len(frame) - 4 == size + 4
        assert headers.decode_response_header(key, version, frame[4:]) == (2**31 - 1, size)
    with pytest.raises(BufferUnderflow):
        headers.decode_response_header(1, 12, b"\0\0\0\1")


def test_response_pieces_are_not_copied() -> None:
    records = memoryview(random.Random(1).randbytes(100))
    pieces = headers.encode_response_frame_buffers(1, 12, 4, [b"head", records])
    assert pieces[2] is records
    assert b"".join(pieces) == headers.encode_response_frame(1, 12, 4, b"head" + bytes(records))


def test_a_client_id_that_does_not_fit_is_an_encode_error() -> None:
    with pytest.raises(EncodeError):
        headers.encode_request_frame(18, 0, 1, "x" * 40_000, b"")
