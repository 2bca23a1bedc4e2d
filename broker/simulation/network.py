"""A network between simulated nodes: ordered byte streams with delay, resets and cut links.

It behaves as TCP does towards the program: bytes arrive in order or not at all. A lost packet is a
delay, a cut link is silence, a dead process is a reset or a refused connection. It must never
deliver out of order or twice.
"""

import asyncio
import contextvars
import random
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from broker.simulation.loop import SimulatedLoop

CONNECT_TIMEOUT_S = 3.0
ORDER_STEP_S = 1e-7
Address = tuple[str, int]


@dataclass(slots=True)
class NetworkFaults:
    """What goes wrong, and how often. Delays are in seconds."""

    delay_s_min: float = 0.0001
    delay_s_max: float = 0.002
    loss_probability: float = 0.0
    retransmit_s: float = 0.2
    reset_probability: float = 0.0


class SimulatedNetwork:
    """All links of the world. Nodes are named by integers; clients have negative ones."""

    def __init__(self, loop: SimulatedLoop, rng: random.Random) -> None:
        self.loop = loop
        self.rng = rng
        self.faults = NetworkFaults()
        self._listeners: dict[Address, _Listener] = {}
        # How many faults cut each link; (source, target).
        self._cuts: Counter[tuple[int, int]] = Counter()
        self._pairs: list[tuple[SimulatedTransport, SimulatedTransport]] = []
        self._next_port = 40_000
        # Of everything that was ever sent: equal runs have equal digests.
        self.digest = 0

    def note(self, source: int, target: int, data: bytes) -> None:
        """Take what is sent into the digest."""
        stamp = f"{self.loop.time():.9f} {source} {target}".encode()
        self.digest = zlib.crc32(data, zlib.crc32(stamp, self.digest))

    def door(self, node: int) -> "NodeNetwork":
        """The Network door of one incarnation of a node."""
        return NodeNetwork(self, node)

    def cut(self, source: int, target: int) -> None:
        """Drop everything that `source` sends to `target` from now on, one way."""
        self._cuts[source, target] += 1

    def cut_all(self, links: Iterable[tuple[int, int]]) -> None:
        """Cut links, each given as (source, target), one way."""
        self._cuts.update(links)

    def mend(self, links: Iterable[tuple[int, int]]) -> None:
        """Undo one `cut` of each link; held bytes arrive now where no other cut remains."""
        self._cuts -= Counter(links)
        self._flush_all()

    def heal(self) -> None:
        """Mend every link; held bytes arrive now."""
        self._cuts.clear()
        self._flush_all()

    def _flush_all(self) -> None:
        for one, two in list(self._pairs):
            one.flush_held()
            two.flush_held()

    def is_cut(self, source: int, target: int) -> bool:
        """Whether bytes from `source` reach `target`."""
        return self._cuts[source, target] > 0

    def delay_s(self) -> float:
        """The delay of one piece of data, a lost packet's retransmission included."""
        faults = self.faults
        delay = self.rng.uniform(faults.delay_s_min, faults.delay_s_max)
        while faults.loss_probability and self.rng.random() < faults.loss_probability:
            delay += faults.retransmit_s
        return delay

    def free_port(self) -> int:
        """A port no one has yet."""
        self._next_port += 1
        return self._next_port

    def add_listener(self, address: Address, listener: "_Listener") -> None:
        """Bind a listener. Raises OSError when the address is taken."""
        if address in self._listeners:
            raise OSError(98, f"address {address[0]}:{address[1]} is in use")
        self._listeners[address] = listener

    def remove_listener(self, address: Address) -> None:
        """Unbind a listener."""
        self._listeners.pop(address, None)

    def listener_at(self, address: Address) -> "_Listener | None":
        """Who listens at `address`."""
        return self._listeners.get(address)

    def join(self, one: "SimulatedTransport", two: "SimulatedTransport") -> None:
        """Remember a connection until both its ends are closed."""
        self._pairs = [p for p in self._pairs if not (p[0].is_gone and p[1].is_gone)]
        self._pairs.append((one, two))

    def drop_node(self, door: "NodeNetwork") -> None:
        """The process behind `door` died: its sockets are closed by its kernel."""
        for address, listener in list(self._listeners.items()):
            if listener.door is door:
                del self._listeners[address]
        for pair in list(self._pairs):
            for transport in pair:
                if transport.door is door:
                    transport.die()


class _Listener:
    """One listening socket."""

    def __init__(
        self, door: "NodeNetwork", address: Address, factory: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        self.door = door
        self.address = address
        self.factory = factory
        self.port = address[1]

    def close(self) -> None:
        """Stop listening; open connections go on."""
        self.door.network.remove_listener(self.address)

    async def wait_closed(self) -> None:
        """Closing takes no time here."""


class NodeNetwork:
    """The Network door of one incarnation of one node.

    What arrives is handled in `context`: the receiver's work must never count as the sender's.
    """

    def __init__(self, network: SimulatedNetwork, node: int) -> None:
        self.network = network
        self.node = node
        self.dead = False
        self.context: contextvars.Context | None = None

    def kill(self) -> None:
        """As kill -9 of the process: no more calls, every socket closed."""
        self.dead = True
        self.network.drop_node(self)

    async def listen(
        self, host: str, port: int, factory: Callable[[], asyncio.BaseProtocol]
    ) -> _Listener:
        """Listen at `host`:`port`; port 0 takes a free one. Raises OSError when it is taken."""
        if self.dead:
            raise OSError("this process is dead")
        address = (host, port or self.network.free_port())
        listener = _Listener(self, address, factory)
        self.network.add_listener(address, listener)
        return listener

    async def connect(
        self, host: str, port: int, factory: Callable[[], asyncio.BaseProtocol]
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to `host`:`port`. Raises ConnectionRefusedError or TimeoutError."""
        network = self.network
        await asyncio.sleep(network.delay_s())
        listener = network.listener_at((host, port))
        target = listener.door.node if listener else None
        if target is not None and (
            network.is_cut(self.node, target) or network.is_cut(target, self.node)
        ):
            await asyncio.sleep(CONNECT_TIMEOUT_S)
            raise TimeoutError(f"connecting to {host}:{port} timed out")
        if listener is None or self.dead:
            raise ConnectionRefusedError(111, f"connection to {host}:{port} refused")
        near = SimulatedTransport(self, (host, port))
        far = SimulatedTransport(listener.door, (f"node{self.node}", network.free_port()))
        near.peer, far.peer = far, near
        network.join(near, far)
        network.loop.call_soon(far.accept, listener.factory, context=listener.door.context)
        protocol = factory()
        near.start(protocol)
        return near, protocol


class SimulatedTransport(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, door: NodeNetwork, peer_address: Address) -> None:
        super().__init__({"peername": peer_address, "sockname": (f"node{door.node}", 0)})
        self.door = door
        self.peer: SimulatedTransport | None = None
        self.protocol: asyncio.BaseProtocol | None = None
        self.is_gone = False
        self._closing = False
        self._reading = True
        self._arrived: list[bytes | None] = []
        self._held: list[bytes | None] = []
        self._last_arrival_s = 0.0

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to its protocol."""
        self.protocol = protocol
        protocol.connection_made(self)

    def accept(self, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """The listening side hears of the connection."""
        if not self.is_gone and not self.door.dead:
            self.start(factory())
            self._deliver()

    # -- the sending side

    def write(self, data: Any) -> None:
        """Queue bytes for the peer."""
        if self._closing or self.is_gone or self.door.dead or not data:
            return
        network = self.door.network
        if (
            network.faults.reset_probability
            and network.rng.random() < network.faults.reset_probability
        ):
            self.abort()
            return
        self._send(bytes(data))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Queue several pieces as one."""
        self.write(b"".join(bytes(piece) for piece in list_of_data))

    def _send(self, data: bytes | None) -> None:
        peer = self.peer
        assert peer is not None
        network = self.door.network
        network.note(self.door.node, peer.door.node, data or b"")
        if self._held or network.is_cut(self.door.node, peer.door.node):
            self._held.append(data)
            return
        loop = network.loop
        # TCP keeps order: nothing may overtake what was sent before on the same connection.
        # The step keeps two pieces apart: timers of equal time have no order.
        arrival = max(loop.time() + network.delay_s(), self._last_arrival_s + ORDER_STEP_S)
        self._last_arrival_s = arrival
        loop.call_at(arrival, peer._arrive, data, context=peer.door.context)

    def flush_held(self) -> None:
        """The link is mended: what was held goes on its way."""
        held, self._held = self._held, []
        for data in held:
            self._send(data)

    # -- the receiving side

    def _arrive(self, data: bytes | None) -> None:
        if self.is_gone or self.door.dead:
            return
        self._arrived.append(data)
        self._deliver()

    def _deliver(self) -> None:
        while self._arrived and self._reading and self.protocol is not None and not self.is_gone:
            data = self._arrived.pop(0)
            if data is None:
                self._finish(None)
                return
            assert isinstance(self.protocol, asyncio.Protocol)
            self.protocol.data_received(data)

    def pause_reading(self) -> None:
        """Hold what arrives."""
        self._reading = False

    def resume_reading(self) -> None:
        """Deliver what was held."""
        self._reading = True
        self.door.network.loop.call_soon(self._deliver, context=self.door.context)

    def is_reading(self) -> bool:
        """Whether arriving bytes are delivered."""
        return self._reading

    # -- the end

    def is_closing(self) -> bool:
        """Whether close or abort was called."""
        return self._closing

    def close(self) -> None:
        """Close after what was written has been sent; the peer sees the end in order."""
        if self._closing:
            return
        self._closing = True
        self._send(None)
        self._finish_soon(None)

    def abort(self) -> None:
        """Reset the connection: both ends lose it, bytes under way are lost."""
        if self.is_gone:
            return
        self._closing = True
        self._held.clear()
        self._reset_peer()
        self._finish_soon(ConnectionResetError("connection reset"))

    def _finish_soon(self, error: Exception | None) -> None:
        self.door.network.loop.call_soon(self._finish, error, context=self.door.context)

    def die(self) -> None:
        """The process of this end died; the peer gets a reset, this end hears nothing any more."""
        if not self.is_gone:
            self.is_gone = True
            self._reset_peer()

    def _reset_peer(self) -> None:
        peer, network = self.peer, self.door.network
        assert peer is not None
        if network.is_cut(self.door.node, peer.door.node):
            return
        network.loop.call_later(
            network.delay_s(),
            peer._finish,
            ConnectionResetError("connection reset by peer"),
            context=peer.door.context,
        )

    def _finish(self, error: Exception | None) -> None:
        if self.is_gone:
            return
        self.is_gone = self._closing = True
        if self.protocol is not None and not self.door.dead:
            self.protocol.connection_lost(error)

    # -- what callers may ask

    def get_write_buffer_size(self) -> int:
        """Bytes that a cut link holds back."""
        return sum(len(data) for data in self._held if data)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high marks in bytes."""
        return (16_384, 65_536)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Accepted and ignored: memory is no concern here."""

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol of this end."""
        assert self.protocol is not None
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand this end to another protocol."""
        self.protocol = protocol

    def can_write_eof(self) -> bool:
        """Half-closed connections are not simulated."""
        return False
