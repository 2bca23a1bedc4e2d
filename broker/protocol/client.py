"""A connection to one broker: requests go out at once, answers come back in order.

It speaks to Kafka and to logd alike. It must never retry, reconnect or choose another broker: that
is for whoever knows what the request means. Every wait has a limit.
"""

import asyncio
import errno
import os
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import (
    decode_response,
    encode_request,
    supported_versions,
)
from broker.protocol.errors import (
    ConnectionFailed,
    DecodeError,
    ErrorCode,
    InvalidValue,
    RequestTimedOut,
    ServerError,
    UnsupportedVersion,
)
from broker.protocol.framing import FrameDecoder
from broker.protocol.headers import decode_response_header, encode_request_frame
from broker.protocol.network import Network
from broker.protocol.struct import Struct
from broker.protocol.tls_words import TLS_ALERT, tls_words

CLIENT_ID: Final = "logctl"
CLIENT_SOFTWARE_VERSION: Final = "0.1.0"
OPEN_TIMEOUT_MS: Final = 5_000
REQUEST_TIMEOUT_MS: Final = 30_000
_API_VERSIONS_VERSION: Final = 3
HUNG_UP: Final = "the broker closed the connection"
_CORRELATION_IDS: Final = 2**31

_Decode = Callable[[int, int, memoryview, int], Struct]


class _Waiting(NamedTuple):
    """A request whose answer has not come. A done future means that nobody waits."""

    correlation_id: int
    api_key: int
    version: int
    decode: _Decode
    answer: "asyncio.Future[Struct]"


class BrokerConnection(asyncio.Protocol):
    """One TCP connection to a broker; make it with ``await BrokerConnection.open(...)``.

    ``address`` is ``host:port``; ``api_versions`` maps API keys to the oldest and newest version
    that the broker speaks (empty without negotiation).
    """

    def __init__(self, host: str, port: int, client_id: str | None = CLIENT_ID) -> None:
        self.address = f"{host}:{port}"
        self.api_versions: dict[int, tuple[int, int]] = {}
        self._client_id = client_id
        self._transport: asyncio.Transport | None = None
        self._frames = FrameDecoder()
        # Invariant: in the order in which the requests went out, which is that of the answers.
        self._waiting: deque[_Waiting] = deque()
        self._next_correlation_id = 0
        self._failure: ConnectionFailed | None = None
        self._closed = asyncio.get_running_loop().create_future()
        self._writable: asyncio.Future[None] | None = None

    @classmethod
    async def open(
        cls,
        network: Network,
        host: str,
        port: int,
        *,
        client_id: str | None = CLIENT_ID,
        timeout_ms: int = OPEN_TIMEOUT_MS,
        negotiate: bool = True,
    ) -> "BrokerConnection":
        """Connect and, unless told otherwise, ask which versions the broker speaks (KIP-511).

        Raises ConnectionFailed with a reason in words. Its ``refused`` tells that a host answered
        that nothing listens there.
        """
        address = f"{host}:{port}"
        connection: BrokerConnection | None = None
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                _, made = await network.connect(host, port, lambda: cls(host, port, client_id))
                connection = cast("BrokerConnection", made)
                if negotiate:
                    await connection._negotiate(timeout_ms)
        except (TimeoutError, RequestTimedOut):
            if connection is not None:
                connection.abort("no answer while opening")
            raise ConnectionFailed(address, f"no answer within {timeout_ms} ms") from None
        except OSError as error:
            raise ConnectionFailed(address, _reason(error), refused=_refused(error)) from error
        except (DecodeError, ServerError, UnsupportedVersion) as error:
            if connection is not None:
                connection.abort("no Kafka broker")
            raise ConnectionFailed(address, f"this is no Kafka broker: {error}") from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        return connection

    # ------------------------------------------------------------------------------- requests

    async def request(
        self,
        api_key: int,
        body: Struct | dict[str, Any],
        *,
        version: int | None = None,
        max_version: int | None = None,
        timeout_ms: int | None = None,
        no_reply: bool = False,
    ) -> Struct:
        """Send a request and return its answer, whatever error codes it holds.

        Without ``version`` the newest that both sides know is used, at most ``max_version``.
        ``no_reply`` is for Produce with acks=0: returns an empty Struct once it is handed over.
        Raises ConnectionFailed, RequestTimedOut, UnsupportedVersion, EncodeError or DecodeError.
        """
        if version is None:
            version = self.version_for(api_key, max_version)
        self._check_version(api_key, version)
        limit_ms = REQUEST_TIMEOUT_MS if timeout_ms is None else timeout_ms
        return await self._send(api_key, version, body, decode_response, limit_ms, no_reply)

    async def ask_for_life(self, timeout_ms: int) -> None:
        """Return once the broker has answered anything at all, of which nothing is read.

        Costs a small part of a request: it is asked often. Raises ConnectionFailed or
        RequestTimedOut.
        """
        await self._send(ApiKey.API_VERSIONS, 0, Struct(), _unread, timeout_ms)

    def version_for(self, api_key: int, max_version: int | None = None) -> int:
        """The newest version that both sides know; raises UnsupportedVersion."""
        oldest, newest = supported_versions(api_key)
        if max_version is not None:
            newest = min(newest, max_version)
        if not self.api_versions:
            return newest
        theirs = self.api_versions.get(api_key)
        if theirs is None:
            raise UnsupportedVersion(f"{self.address} does not serve {_name(api_key)}")
        chosen = min(newest, theirs[1])
        if chosen < max(oldest, theirs[0]):
            raise UnsupportedVersion(
                f"{self.address} serves {_name(api_key)} {theirs[0]}-{theirs[1]}, "
                f"wanted is {oldest}-{newest}"
            )
        return chosen

    def _check_version(self, api_key: int, version: int) -> None:
        if not self.api_versions:
            return
        theirs = self.api_versions.get(api_key)
        if theirs is None or not theirs[0] <= version <= theirs[1]:
            served = "not at all" if theirs is None else f"{theirs[0]}-{theirs[1]}"
            raise UnsupportedVersion(
                f"{self.address} serves {_name(api_key)} {served}, wanted is {version}"
            )

    async def _send(
        self,
        api_key: int,
        version: int,
        body: Struct | dict[str, Any],
        decode: _Decode,
        timeout_ms: int,
        no_reply: bool = False,
    ) -> Struct:
        encoded = encode_request(api_key, version, body)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while self._writable is not None:
                    await asyncio.shield(self._writable)
                if self._failure is not None or self._transport is None:
                    raise self._failed()
                correlation_id = self._next_correlation_id
                self._next_correlation_id = (correlation_id + 1) % _CORRELATION_IDS
                self._transport.write(
                    encode_request_frame(api_key, version, correlation_id, self._client_id, encoded)
                )
                if no_reply:
                    return Struct()
                answer: asyncio.Future[Struct] = asyncio.get_running_loop().create_future()
                self._waiting.append(_Waiting(correlation_id, api_key, version, decode, answer))
                return await answer
        except TimeoutError:
            raise RequestTimedOut(
                f"{self.address} did not answer {_name(api_key)} within {timeout_ms} ms"
            ) from None

    async def _negotiate(self, timeout_ms: int) -> None:
        body = Struct(
            client_software_name=CLIENT_ID, client_software_version=CLIENT_SOFTWARE_VERSION
        )
        version = _API_VERSIONS_VERSION
        answer = await self._send(
            ApiKey.API_VERSIONS, version, body, _decode_api_versions, timeout_ms
        )
        if answer.error_code == ErrorCode.unsupported_version:
            answer = await self._send(
                ApiKey.API_VERSIONS, 0, body, _decode_api_versions, timeout_ms
            )
        if answer.error_code != ErrorCode.none:
            raise ServerError(answer.error_code, "asked for the versions it speaks")
        self.api_versions = {
            entry.api_key: (entry.min_version, entry.max_version) for entry in answer.api_keys
        }

    # ----------------------------------------------------------------------------- life cycle

    @property
    def closed(self) -> bool:
        """Whether the connection is of no more use."""
        return self._failure is not None

    async def wait_closed(self) -> None:
        """Return when the connection is gone, for whatever reason."""
        await asyncio.shield(self._closed)

    def close(self) -> None:
        """Close the connection; requests that wait fail with ConnectionFailed. May be repeated."""
        self._fail(ConnectionFailed(self.address, "the connection was closed by this side"))
        if self._transport is not None:
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Close at once, without sending what is still buffered."""
        self._fail(ConnectionFailed(self.address, reason))
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, failure: ConnectionFailed) -> None:
        if self._failure is None:
            self._failure = failure
        while self._waiting:
            answer = self._waiting.popleft().answer
            if not answer.done():
                answer.set_exception(self._failed())
        self.resume_writing()

    def _failed(self) -> ConnectionFailed:
        """A new exception for each waiter: tracebacks must not pile up in a shared one."""
        reason = "not connected" if self._failure is None else self._failure.reason
        return ConnectionFailed(self.address, reason)

    # ------------------------------------------------------------------- callbacks of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop: everybody who waits learns it."""
        if isinstance(exc, OSError):
            reason = _reason(exc)
        else:
            reason = HUNG_UP if exc is None else str(exc)
        self._fail(ConnectionFailed(self.address, reason))
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """Called by the loop when the peer reads too slowly: new requests wait."""
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Called by the loop: the peer reads again."""
        if self._writable is not None:
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None

    def data_received(self, data: bytes) -> None:
        """Called by the loop with whatever came."""
        try:
            for frame in self._frames.feed(data):
                self._answer(frame)
        except DecodeError as error:
            if bytes(data[:2]) == TLS_ALERT:
                self.abort("it speaks TLS; set security.protocol to SSL or SASL_SSL")
            else:
                self.abort(f"the broker sent what is no answer: {error}")

    def _answer(self, frame: memoryview) -> None:
        """Hand a frame to the oldest request; raises DecodeError when it is not its answer."""
        if self._failure is not None:
            return
        if not self._waiting:
            raise InvalidValue("a frame that nobody asked for")
        waiting = self._waiting[0]
        correlation_id, offset = decode_response_header(waiting.api_key, waiting.version, frame)
        if correlation_id != waiting.correlation_id:
            raise InvalidValue(
                f"the answer carries the id {correlation_id}, expected is {waiting.correlation_id}"
            )
        self._waiting.popleft()
        if waiting.answer.done():
            return
        try:
            waiting.answer.set_result(
                waiting.decode(waiting.api_key, waiting.version, frame, offset)
            )
        except DecodeError as error:
            waiting.answer.set_exception(error)


def _decode_api_versions(api_key: int, version: int, frame: memoryview, offset: int) -> Struct:
    """An answer to ApiVersions: a broker that is too old for the version answers in version 0."""
    code = int.from_bytes(frame[offset : offset + 2], "big", signed=True)
    if code == ErrorCode.unsupported_version:
        return Struct(error_code=ErrorCode.unsupported_version, api_keys=[])
    return decode_response(api_key, version, frame, offset)


def _unread(api_key: int, version: int, frame: memoryview, offset: int) -> Struct:
    """That an answer came is all that was asked."""
    return Struct()


def _name(api_key: int) -> str:
    return ApiKey(api_key).name


def _refused(error: OSError) -> bool:
    if isinstance(error, ConnectionRefusedError):
        return True
    # asyncio joins the errors of several addresses (localhost: ::1 and 127.0.0.1) into one text.
    parts = str(error).split("[Errno ")[1:]
    return bool(parts) and all(part.startswith(f"{errno.ECONNREFUSED}]") for part in parts)


def _reason(error: OSError) -> str:
    """An operating system error in plain words."""
    if isinstance(error, ssl.SSLError):
        return tls_words(error)
    if _refused(error):
        return "connection refused"
    if error.errno is not None and error.errno > 0:
        return (error.strerror or os.strerror(error.errno)).lower()
    return error.strerror or str(error)
