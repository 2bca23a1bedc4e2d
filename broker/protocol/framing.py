"""Cuts a stream of bytes into frames: four bytes of length, then as many bytes.

It must never reserve memory for what a length merely announces: it holds the bytes that came, no
more. It does no I/O.
"""

from typing import Final

from broker.protocol.errors import FrameTooLarge, NegativeLength
from broker.protocol.primitives import Buffer

FRAME_BYTES_MAX: Final = 100 * 1024 * 1024
_LENGTH_BYTES: Final = 4


class FrameDecoder:
    """Feed it what the socket gave; it returns the frames that are complete.

    A frame that arrives whole in one chunk is a view of that chunk; one that arrives in pieces is a
    view of the buffer that collected them, which is then given away. After an error the stream has
    lost its sense: close it.
    """

    __slots__ = ("_max_frame_bytes", "_needed", "_pending")

    def __init__(self, max_frame_bytes: int = FRAME_BYTES_MAX) -> None:
        self._max_frame_bytes = max_frame_bytes
        # The bytes of an unfinished frame, its length included.
        self._pending = bytearray()
        # Invariant: len(_pending) < _needed; it is 4 as long as the length itself is unfinished.
        self._needed = _LENGTH_BYTES

    @property
    def pending_bytes(self) -> int:
        """How many bytes of an unfinished frame are held."""
        return len(self._pending)

    def feed(self, data: bytes | bytearray | memoryview) -> list[memoryview]:
        """The frames that are complete now, each without its length.

        Raises NegativeLength or FrameTooLarge as soon as a length says so.
        """
        frames: list[memoryview] = []
        view = memoryview(data)
        position, end = 0, len(view)
        while position < end:
            if self._pending:
                position = self._complete(view, position, frames)
                continue
            if end - position < _LENGTH_BYTES:
                self._pending += view[position:]
                break
            after = position + _LENGTH_BYTES + self._length(view, position)
            if after > end:
                self._needed = after - position
                self._pending += view[position:]
                break
            frames.append(view[position + _LENGTH_BYTES : after])
            position = after
        return frames

    def _complete(self, view: memoryview, position: int, frames: list[memoryview]) -> int:
        """Move bytes to the unfinished frame; returns the position of the next unused byte."""
        take = view[position : position + self._needed - len(self._pending)]
        self._pending += take
        position += len(take)
        if len(self._pending) == self._needed:
            if self._needed == _LENGTH_BYTES:
                self._needed += self._length(self._pending, 0)
            if len(self._pending) == self._needed:
                frames.append(memoryview(self._pending)[_LENGTH_BYTES:])
                self._pending = bytearray()
                self._needed = _LENGTH_BYTES
        return position

    def _length(self, buffer: Buffer, position: int) -> int:
        length = int.from_bytes(buffer[position : position + _LENGTH_BYTES], "big", signed=True)
        if length < 0:
            raise NegativeLength(f"a frame of {length} bytes")
        if length > self._max_frame_bytes:
            # Who speaks another protocol begins with a word of it: HTTP, GET, SSH-.
            word = bytes(buffer[position : position + _LENGTH_BYTES])
            spelt = f" (its first word is {word.decode()!r})" if _is_word(word) else ""
            most = f"{self._max_frame_bytes} is the most"
            raise FrameTooLarge(f"a frame of {length} bytes{spelt}; {most}")
        return length


def _is_word(data: bytes) -> bool:
    return data.isascii() and data.decode("ascii").isprintable()
