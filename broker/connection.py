"""One client's connection: frames in, requests answered one at a time and in order, frames out.

Requests of a connection are processed in the order they came, and responses leave in that order.
Reading stops while too much waits to be processed or to be sent, so a slow or greedy client holds a
bounded amount of memory and nobody else is affected. A request that cannot be understood closes its
connection with one log line; it never harms the process or another connection.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from broker.api.registry import Api, Registry, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import decode_request, encode_response
from broker.protocol.errors import DecodeError, ErrorCode, LogctlError, UnsupportedVersion
from broker.protocol.framing import FrameDecoder
from broker.protocol.headers import decode_request_header, encode_response_frame
from broker.protocol.struct import Struct

logger = logging.getLogger("logd.connection")

QUEUED_FRAMES_MAX = 32
QUEUED_BYTES_MAX = 4 * 1024 * 1024
WRITE_BUFFER_BYTES_HIGH = 1024 * 1024
INT_MAX = 2**31 - 1
LAST_BYTES_SECONDS = 1.0
# Longer than any append takes; what remains then is a wait for followers, for nobody's sake.
LAST_REQUEST_SECONDS = 5.0


class CloseConnection(LogctlError):
    """Raised by a handler whose error has no response (acks=0): the connection is closed."""


class RequestMetrics(Protocol):
    """Counts what the connections do."""

    def opened(self, listener: str) -> None:
        """A connection came."""
        ...

    def closed(self, listener: str) -> None:
        """A connection went."""
        ...

    def received(self, size_bytes: int) -> None:
        """Bytes came in."""
        ...

    def answered(self, api_key: int, elapsed_ms: int, size_bytes: int) -> None:
        """A request was served."""
        ...


@dataclass(slots=True, kw_only=True)
class ListenerContext:
    """What the connections of one listener share."""

    name: str
    role: str
    registry: Registry
    max_frame_bytes: int
    idle_ms: int
    connections_max: int
    monotonic_ms: Callable[[], int]
    metrics: RequestMetrics | None = None
    on_lost: Callable[["ClientConnection"], None] | None = None
    # Set once the parts are put together; nothing is processed before `ready`.
    node: Any = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    connections: "dict[ClientConnection, None]" = field(default_factory=dict)
    # Connections of one address: the usual limit, other limits, and how many there are.
    per_ip_max: int = INT_MAX
    per_ip_overrides: dict[str, int] = field(default_factory=dict)
    by_ip: dict[str, int] = field(default_factory=dict)

    def refusal(self, ip: str) -> str | None:
        """Why a connection from `ip` may not come in now."""
        if len(self.connections) >= self.connections_max:
            return f"{self.connections_max} connections are open (max.connections)"
        limit = self.per_ip_overrides.get(ip, self.per_ip_max)
        if self.by_ip.get(ip, 0) >= limit:
            return f"{limit} connections from {ip} are open (max.connections.per.ip)"
        return None

    def add(self, connection: "ClientConnection") -> None:
        """Count a connection in."""
        self.connections[connection] = None
        self.by_ip[connection.ip] = self.by_ip.get(connection.ip, 0) + 1

    def remove(self, connection: "ClientConnection") -> bool:
        """Count a connection out; whether it was in."""
        if connection not in self.connections:
            return False
        del self.connections[connection]
        left = self.by_ip[connection.ip] - 1
        if left:
            self.by_ip[connection.ip] = left
        else:
            del self.by_ip[connection.ip]
        return True

    def close_idle(self) -> None:
        """Close the connections that have been silent for `idle_ms` with nothing under way."""
        limit = self.monotonic_ms() - self.idle_ms
        for connection in list(self.connections):
            if connection.last_active_ms < limit and not connection.busy:
                connection.close("idle")

    def close_all(self) -> None:
        """Close every connection."""
        for connection in list(self.connections):
            connection.close("the broker stops")


class ClientConnection(asyncio.Protocol):
    """The server side of one connection."""

    def __init__(self, listener: ListenerContext) -> None:
        self._listener = listener
        self._decoder = FrameDecoder(listener.max_frame_bytes)
        self._frames: deque[bytes | memoryview] = deque()
        self._queued_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._reading_paused = False
        self._closed = False
        self.busy = False
        self.peer = self.ip = "?"
        self.last_active_ms = listener.monotonic_ms()
        # Set by ApiVersions; for logs and metrics only.
        self.client_software = ""

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._closed

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless too many are open."""
        # uvloop has transports of its own, so no isinstance here.
        self._transport = transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.ip, self.peer = str(peer[0]), f"{peer[0]}:{peer[1]}"
        listener = self._listener
        reason = listener.refusal(self.ip)
        if reason is not None:
            logger.warning(
                "connection refused: too many are open",
                extra={"peer": self.peer, "reason": reason},
            )
            self._closed = True
            transport.abort()
            return
        listener.add(self)
        if listener.metrics:
            listener.metrics.opened(listener.name)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_HIGH)
        self._task = asyncio.get_running_loop().create_task(self._process())

    def data_received(self, data: bytes) -> None:
        """Cut frames and queue them."""
        if self._closed:
            return
        self.last_active_ms = self._listener.monotonic_ms()
        if self._listener.metrics:
            self._listener.metrics.received(len(data))
        try:
            frames = self._decoder.feed(data)
        except DecodeError as error:
            self._refuse(str(error))
            return
        if frames:
            for frame in frames:
                self._queued_bytes += len(frame)
            self._frames.extend(frames)
            self._arrived.set()
            self._update_reading()

    def pause_writing(self) -> None:
        """The peer reads slower than we write: process nothing more until it has caught up."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The socket drained."""
        self._writable.set()

    def eof_received(self) -> bool:
        """Close our side too."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what is under way and forget what was queued, except records.

        A producer with acks=0 may write and leave: what it handed over is appended, as Kafka does.
        """
        left_by_peer = not self._closed
        self._closed = True
        listener = self._listener
        if listener.remove(self):
            if listener.metrics:
                listener.metrics.closed(listener.name)
            if listener.on_lost:
                listener.on_lost(self)
        if self._task:
            self._task.cancel()
        records = [frame for frame in self._frames if _is_produce(frame)]
        self._frames.clear()
        if records and left_by_peer and listener.ready.is_set():
            self._task = asyncio.get_running_loop().create_task(self._append_last(records))

    # our own

    async def _append_last(self, frames: list[bytes | memoryview]) -> None:
        """Serve the Produce requests of a peer that is gone; nobody hears the answers."""
        for frame in frames:
            try:
                async with asyncio.timeout(LAST_REQUEST_SECONDS):
                    await self._answer(frame, self._listener.monotonic_ms())
            except TimeoutError:
                continue
            except (CloseConnection, DecodeError, UnsupportedVersion) as error:
                logger.debug("records not kept", extra={"peer": self.peer, "reason": str(error)})
                return
            except Exception:
                logger.exception("request failed", extra={"peer": self.peer})
                return

    def close(self, reason: str) -> None:
        """Process nothing more; what was already written gets a second to leave."""
        if self._closed:
            return
        self._closed = True
        logger.debug("connection closed", extra={"peer": self.peer, "reason": reason})
        transport = self._transport
        if transport is not None:
            transport.close()
            if transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(LAST_BYTES_SECONDS, transport.abort)

    def _refuse(self, reason: str) -> None:
        """A request that cannot be understood: one line, and the connection ends."""
        if self._closed:
            return
        self._closed = True
        logger.warning(
            "connection closed: bad request",
            extra={"peer": self.peer, "listener": self._listener.name, "reason": reason},
        )
        if self._transport:
            self._transport.abort()

    def _update_reading(self) -> None:
        full = len(self._frames) >= QUEUED_FRAMES_MAX or self._queued_bytes >= QUEUED_BYTES_MAX
        if self._transport is None or full == self._reading_paused or self._closed:
            return
        self._reading_paused = full
        if full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    async def _process(self) -> None:
        listener = self._listener
        await listener.ready.wait()
        while not self._closed:
            if not self._frames:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            if not self._writable.is_set():
                await self._writable.wait()
                continue
            frame = self._frames.popleft()
            self._queued_bytes -= len(frame)
            self.busy = True
            started_ms = listener.monotonic_ms()
            try:
                await self._answer(frame, started_ms)
            except CloseConnection as error:
                self.close(str(error))
            except (DecodeError, UnsupportedVersion) as error:
                self._refuse(str(error))
            except Exception:
                logger.exception("request failed", extra={"peer": self.peer})
                self._refuse("the handler failed")
            self.busy = False
            self.last_active_ms = listener.monotonic_ms()
            if self._reading_paused:
                self._update_reading()

    async def _answer(self, frame: bytes | memoryview, started_ms: int) -> None:
        header = decode_request_header(frame)
        listener = self._listener
        api = listener.registry.find(header.api_key, listener.role)
        if api is None or not api.accepts(header.api_version):
            if header.api_key == ApiKey.API_VERSIONS and api is not None:
                self._send(self._versions_v0(header.correlation_id))
                return
            name = ApiKey(header.api_key).name if api else f"API key {header.api_key}"
            raise UnsupportedVersion(
                f"{name} version {header.api_version} is not served on {listener.name}"
            )
        context = RequestContext(
            api_key=api.key,
            api_version=header.api_version,
            correlation_id=header.correlation_id,
            client_id=header.client_id,
            listener=listener.name,
            role=listener.role,
            peer=self.peer,
            connection=self,
        )
        if api.decode is not None:
            request = api.decode(header.api_version, frame, header.body_offset)
        else:
            request = decode_request(
                api.key, header.api_version, frame, header.body_offset, strict=False
            )
        reply = await api.handler(listener.node, context, request)
        size_bytes = self._send(self._encoded(api, context, reply))
        if listener.metrics:
            elapsed_ms = listener.monotonic_ms() - started_ms
            listener.metrics.answered(api.key, elapsed_ms, size_bytes)

    def _versions_v0(self, correlation_id: int) -> bytes:
        """KIP-511: an unknown ApiVersions version is answered in v0, with those that are known."""
        listener = self._listener
        body = Struct(
            error_code=ErrorCode.unsupported_version,
            api_keys=[
                Struct(api_key=key, min_version=low, max_version=high)
                for key, (low, high) in listener.registry.versions(listener.role).items()
                if key == ApiKey.API_VERSIONS
            ],
        )
        encoded = encode_response(ApiKey.API_VERSIONS, 0, body)
        return encode_response_frame(ApiKey.API_VERSIONS, 0, correlation_id, encoded)

    def _encoded(self, api: Api, context: RequestContext, reply: Reply) -> Reply:
        if isinstance(reply, Struct):
            body = encode_response(api.key, context.api_version, reply)
            return encode_response_frame(api.key, context.api_version, context.correlation_id, body)
        return reply

    def _send(self, reply: Reply) -> int:
        transport = self._transport
        if reply is None or self._closed or transport is None or transport.is_closing():
            return 0
        if isinstance(reply, list):
            transport.writelines(reply)
            return sum(len(buffer) for buffer in reply)
        assert isinstance(reply, bytes)
        transport.write(reply)
        return len(reply)


def _is_produce(frame: bytes | memoryview) -> bool:
    return int.from_bytes(frame[:2], "big", signed=True) == ApiKey.PRODUCE
