"""A broker's life in the cluster: register, catch up, unfence, heartbeat, leave.

Registers with the active controller until it is accepted, waits until the local image holds the
registration, then heartbeats for as long as it lives; leaving asks the controller to move its
leaderships first. Never decides whether it is fenced: that is the controller's word.
Sources: KIP-631, KIP-500; previous broker epoch as proof of a clean stop, KIP-966.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, LogctlError, WireError
from broker.protocol.image import ImageDelta, MetadataImage
from broker.protocol.struct import Struct
from broker.runtime.doors import Clock
from broker.runtime.forwarding import ControllerChannel
from broker.runtime.publisher import Leadership, MetadataPublisher

logger = logging.getLogger("logd.lifecycle")

RETRY_MS_FIRST = 50
RETRY_MS_MAX = 500
STOPPING_BEAT_MS = 50
UNREACHABLE_GIVE_UP_MS = 2000
REQUEST_TIMEOUT_MS = 5000
CATCH_UP_REPORT_MS = 10_000


class RegistrationRefused(LogctlError):
    """The controller will never accept this broker: wrong cluster id."""


class State(Enum):
    """Where a broker stands in its life; the order is the usual one."""

    STARTING = "starting"
    FENCED = "fenced"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a broker says about itself when it registers. `listeners` and `features` are Structs."""

    node_id: int
    cluster_id: str
    incarnation_id: UUID
    listeners: Sequence[Struct]
    features: Sequence[Struct]
    rack: str | None
    log_dirs: Sequence[UUID]
    previous_epoch: int


class BrokerLifecycle:
    """Keeps this broker registered and alive in the eyes of the active controller."""

    def __init__(
        self,
        identity: Identity,
        *,
        channel: ControllerChannel,
        publisher: MetadataPublisher,
        clock: Clock,
        heartbeat_interval_ms: int,
        on_caught_up: Callable[[], Awaitable[None]],
        on_fatal: Callable[[str], None],
    ) -> None:
        self._identity = identity
        self._channel = channel
        self._publisher = publisher
        self._clock = clock
        self._interval_ms = heartbeat_interval_ms
        self._on_caught_up = on_caught_up
        self._on_fatal = on_fatal
        self.epoch = -1
        self.state = State.STARTING
        # The folders that cannot be written to now (KIP-858); ``kick`` says that this changed.
        self.offline_log_dirs: Callable[[], Sequence[UUID]] = lambda: ()
        self._kick = asyncio.Event()
        self._may_stop = asyncio.Event()
        self._unfenced = asyncio.Event()
        self._hurried = False
        self._task: asyncio.Task[None] | None = None
        self._last_contact_ms = clock.monotonic_ms()
        publisher.watch_leader(self._leader_changed)
        publisher.subscribe(self._image_changed)

    def start(self) -> None:
        """Begin to register."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def connection_lost(self) -> None:
        """The controller's connection broke: heartbeat at once on a new one."""
        self._kick.set()

    def kick(self) -> None:
        """There is something to tell the controller: heartbeat at once."""
        self._kick.set()

    def hurry(self) -> None:
        """Stop waiting for the controller's consent."""
        self._hurried = True

    async def wait_unfenced(self) -> None:
        """Return once the controller has let this broker take part."""
        await self._unfenced.wait()

    async def stop(self, timeout_ms: int) -> bool:
        """Ask to leave and wait until the controller agrees; False when time was over first."""
        agreed = False
        if self.state in (State.RUNNING, State.FENCED) and self.epoch >= 0 and timeout_ms > 0:
            self.state = State.STOPPING
            self._last_contact_ms = self._clock.monotonic_ms()
            self._kick.set()
            agreed = await self._wait_agreement(timeout_ms)
        self.state = State.STOPPED
        if self._task is not None:
            self._task.cancel()
        await self._channel.close()
        return agreed

    async def _wait_agreement(self, timeout_ms: int) -> bool:
        deadline = self._clock.monotonic_ms() + timeout_ms
        while not self._may_stop.is_set():
            if self._hurried:
                logger.warning("leaving without the controller's consent: asked to hurry")
                return False
            now_ms = self._clock.monotonic_ms()
            if now_ms >= deadline:
                logger.warning("leaving without the controller's consent: time is over")
                return False
            if now_ms - self._last_contact_ms >= UNREACHABLE_GIVE_UP_MS:
                logger.warning("leaving without the controller's consent: it does not answer")
                return False
            await _wait(self._may_stop, min(100, deadline - now_ms))
        return True

    def _leader_changed(self, leader: Leadership) -> None:
        self._kick.set()

    def _image_changed(self, image: MetadataImage, delta: ImageDelta) -> None:
        """Another broker is leaving: it may go once all have heard of it, so say so at once."""
        for broker_id, before, after in delta.brokers_changed:
            if (
                broker_id != self._identity.node_id
                and after is not None
                and after.in_controlled_shutdown
                and not (before is not None and before.in_controlled_shutdown)
            ):
                self._kick.set()

    async def _run(self) -> None:
        try:
            await self._register()
            while self.state is not State.STOPPED:
                pause_ms = await self._beat()
                await _wait(self._kick, pause_ms)
        except RegistrationRefused as error:
            self._on_fatal(str(error))
        except Exception as error:
            logger.exception("the broker's lifecycle failed")
            self._on_fatal(f"the broker's lifecycle failed: {error!r}")

    async def _ask(self, api_key: ApiKey, request: Struct) -> Struct | None:
        """One request; None when there was no usable answer. Given up when the leader changes."""
        self._kick.clear()
        asking = asyncio.ensure_future(self._channel.try_once(api_key, request, REQUEST_TIMEOUT_MS))
        kicked = asyncio.ensure_future(self._kick.wait())
        asked_leader = self._channel.leader_id
        again = False
        try:
            while not asking.done():
                await asyncio.wait({asking, kicked}, return_when=asyncio.FIRST_COMPLETED)
                if kicked.done() and not asking.done():
                    if self._channel.leader_id != asked_leader:
                        return None
                    # Not about the leader, but a later kick may be: it has to be heard, too.
                    again = True
                    self._kick.clear()
                    kicked = asyncio.ensure_future(self._kick.wait())
            return asking.result()
        except WireError as error:
            logger.debug("no answer from the controller", extra={"reason": str(error)})
            return None
        finally:
            kicked.cancel()
            asking.cancel()
            if again:
                self._kick.set()

    async def _register(self) -> None:
        identity = self._identity
        pause_ms = RETRY_MS_FIRST
        reported: object = None
        while True:
            # A controller compares this with the epoch it knows, to tell a clean stop from a crash.
            previous = self.epoch if self.epoch >= 0 else identity.previous_epoch
            response = await self._ask(
                ApiKey.BROKER_REGISTRATION,
                Struct(
                    broker_id=identity.node_id,
                    cluster_id=identity.cluster_id,
                    incarnation_id=identity.incarnation_id,
                    listeners=list(identity.listeners),
                    features=list(identity.features),
                    rack=identity.rack,
                    log_dirs=list(identity.log_dirs),
                    previous_broker_epoch=previous,
                ),
            )
            if response is not None:
                code = response.error_code
                if code == ErrorCode.none:
                    await self._registered(response.broker_epoch)
                    return
                if code == ErrorCode.inconsistent_cluster_id:
                    raise RegistrationRefused(
                        f"the controller serves another cluster than {identity.cluster_id}: "
                        "check cluster.id and controller.quorum.voters"
                    )
                if code not in (reported, ErrorCode.not_controller):
                    logger.warning(
                        "registration refused, trying again", extra={"error": _name(code)}
                    )
                    reported = code
            await _wait(self._kick, pause_ms)
            pause_ms = min(int(pause_ms * 1.5), RETRY_MS_MAX)

    async def _registered(self, epoch: int) -> None:
        self.epoch = epoch
        self._last_contact_ms = self._clock.monotonic_ms()
        if self.state is State.STARTING:
            self.state = State.FENCED
        logger.info("registered", extra={"broker_epoch": epoch})
        while not await self._publisher.wait_until(
            lambda image: image.offset >= epoch, CATCH_UP_REPORT_MS
        ):
            logger.warning(
                "still catching up with the metadata log",
                extra={"offset": self._publisher.image.offset, "registered_at": epoch},
            )
        await self._on_caught_up()

    async def _beat(self) -> int:
        """One heartbeat; gives the pause until the next in milliseconds."""
        stopping = self.state is State.STOPPING
        response = await self._ask(
            ApiKey.BROKER_HEARTBEAT,
            Struct(
                broker_id=self._identity.node_id,
                broker_epoch=self.epoch,
                current_metadata_offset=self._publisher.image.offset,
                want_fence=False,
                want_shut_down=stopping,
                offline_log_dirs=list(self.offline_log_dirs()),
            ),
        )
        if response is None:
            return RETRY_MS_FIRST
        code = response.error_code
        if code in (ErrorCode.stale_broker_epoch, ErrorCode.broker_id_not_registered):
            if stopping:
                self._may_stop.set()
                return self._interval_ms
            logger.warning("the registration was lost, registering again")
            self.state = State.STARTING
            await self._register()
            return RETRY_MS_FIRST
        if code != ErrorCode.none:
            if code != ErrorCode.not_controller:
                logger.warning("heartbeat refused", extra={"error": _name(code)})
            return RETRY_MS_FIRST
        self._last_contact_ms = self._clock.monotonic_ms()
        if stopping:
            if response.should_shut_down:
                self._may_stop.set()
            return STOPPING_BEAT_MS
        return self._note_fencing(bool(response.is_fenced))

    def _note_fencing(self, fenced: bool) -> int:
        if fenced:
            if self.state is State.RUNNING:
                logger.warning("fenced by the controller")
            self.state = State.FENCED
            self._unfenced.clear()
            return RETRY_MS_FIRST
        if self.state is not State.RUNNING:
            logger.info("unfenced", extra={"broker_epoch": self.epoch})
        self.state = State.RUNNING
        self._unfenced.set()
        return self._interval_ms


def _name(code: object) -> str:
    return code.name.upper() if isinstance(code, ErrorCode) else str(code)


async def _wait(event: asyncio.Event, timeout_ms: int) -> None:
    # Not asyncio.wait_for: in Python 3.11 it forgets a cancellation that comes with the event.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_ms / 1000):
            await event.wait()
