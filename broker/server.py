"""A broker process put together: opens the data folder, binds the listeners, starts the parts.

Composition only: what the parts do is theirs. Everything it touches comes through the doors given
at construction, so the same class runs on a simulated loop, disk and network.
"""

import asyncio
import functools
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from uuid import UUID

from broker.api.catalogue import served_apis
from broker.api.node import METADATA_VERSION_MAX, METADATA_VERSION_MIN, Node
from broker.api.registry import BROKER, CONTROLLER
from broker.config import BrokerConfig, ListenerConfig
from broker.connection import ClientConnection, ListenerContext
from broker.metadata.decision import ControllerConfig
from broker.observability import Counters, metrics_factory
from broker.protocol.api_keys import METADATA_TOPIC, ApiKey
from broker.protocol.codec import supported_versions
from broker.protocol.errors import LogctlError
from broker.protocol.image import (
    METADATA_VERSION_FEATURE,
    RESOURCE_BROKER,
    ImageDelta,
    MetadataImage,
    image_records,
)
from broker.protocol.metadata_records import MetadataRecord
from broker.protocol.struct import Struct
from broker.raft.types import QuorumConfig
from broker.runtime.committed_images import CommittedImages
from broker.runtime.controller import ControllerService
from broker.runtime.doors import Clock, Disk, Listener, Network, Offload
from broker.runtime.forwarding import ControllerChannel
from broker.runtime.groups import GroupManager
from broker.runtime.lifecycle import BrokerLifecycle, Identity
from broker.runtime.producer_ids import ProducerIds
from broker.runtime.publisher import MetadataPublisher
from broker.runtime.quorum import MetadataQuorum
from broker.runtime.replicas import ReplicaManager
from broker.settings.broker import BrokerSettings
from broker.storage.errors import StorageError
from broker.storage.manager import LogManager, prepare_folder

logger = logging.getLogger("logd.server")

CONNECTIONS_MAX = 10_000
CONTROLLED_SHUTDOWN_MS = 10_000
CLOSING_THREADS = 8
FOLDERS_AT_ONCE = 4
IDLE_SWEEP_SECONDS_MAX = 10.0
ALTER_PARTITION_MS = 5_000


class StartError(LogctlError):
    """The broker cannot start; the text says what to do."""


class Broker:
    """One process: a broker, a controller, or both."""

    def __init__(
        self,
        config: BrokerConfig,
        *,
        network: Network,
        disk: Disk,
        clock: Clock,
        offload: Offload,
        rng: random.Random,
    ) -> None:
        self.config = config
        self._network = network
        self._disk = disk
        self._clock = clock
        self._offload = offload
        self._rng = rng
        self.counters = Counters()
        self.registry = served_apis()
        self._incarnation_id = UUID(int=rng.getrandbits(128), version=4)
        self._images = CommittedImages()
        self.publisher = MetadataPublisher(self._fail, self._images)
        self.ports: dict[str, int] = {}
        self._listeners: list[tuple[ListenerContext, Listener]] = []
        self._failure: str | None = None
        self._failed = asyncio.Event()
        self._holds_registration = False
        self._tasks: list[asyncio.Task[None]] = []
        # What to undo, newest last; filled as the start proceeds.
        self._undo: list[Callable[[], Awaitable[None]]] = []
        self.lifecycle: BrokerLifecycle | None = None
        self.replicas: ReplicaManager | None = None
        self.controller: ControllerService | None = None
        self.logs: LogManager
        self.quorum: MetadataQuorum
        self.node: Node

    # -- life

    async def start(self) -> None:
        """Open, bind, start; raises StartError, StorageError or OSError, with nothing left open.

        Returns when everything is started; a broker is then still registering.
        """
        try:
            await self._open_logs()
            await self._bind()
            self._compose()
            await self._start_parts()
        except BaseException:
            await self._release()
            raise

    async def wait_unfenced(self) -> None:
        """Return once this broker takes part in the cluster."""
        assert self.lifecycle is not None
        await self.lifecycle.wait_unfenced()

    async def wait_failed(self) -> str:
        """Return when the broker cannot go on, with the reason."""
        await self._failed.wait()
        assert self._failure is not None
        return self._failure

    async def stop(self, *, controlled: bool = True) -> None:
        """Stop; `controlled` first asks the controller to move this broker's leaderships."""
        logger.info("stopping", extra={"controlled": controlled})
        if self.lifecycle is not None:
            wanted = controlled and self.config.settings.boolean("controlled.shutdown.enable")
            await self.lifecycle.stop(CONTROLLED_SHUTDOWN_MS if wanted else 0)
        for context, bound in self._listeners:
            if context.role == BROKER:
                bound.close()
                context.close_all()
        await self._release()
        logger.info("stopped")

    def hurry(self) -> None:
        """Stop waiting for the controller's consent."""
        if self.lifecycle is not None:
            self.lifecycle.hurry()

    def _fail(self, reason: str) -> None:
        if self._failure is None:
            self._failure = reason
            logger.critical("cannot go on", extra={"reason": reason})
            self._failed.set()

    async def _release(self) -> None:
        while self._undo:
            undo = self._undo.pop()
            try:
                await undo()
            except StorageError as error:
                logger.error("stopping a part failed: %s", error)  # a full disk needs no traceback
            except Exception:
                logger.exception("stopping a part failed")

    # -- start, step by step

    async def _open_logs(self) -> None:
        config = self.config

        def open_logs() -> LogManager:
            return LogManager.open(
                self._disk,
                config.data_dir,
                cluster_id=config.cluster_id,
                node_id=config.node_id,
                rng=self._rng,
            )

        self.logs = await self._offload.run(open_logs)
        self._undo.append(self._close_logs)
        for note in self.logs.notes:
            logger.warning(note)

    async def _close_logs(self) -> None:
        epoch = self.lifecycle.epoch if self.lifecycle is not None else -1
        closers = self.logs.closers(CLOSING_THREADS)
        await asyncio.gather(*(self._offload.run(closer) for closer in closers))
        await self._offload.run(lambda: self.logs.close(epoch))

    async def _bind(self) -> None:
        for listener in self.config.listeners:
            is_controller = listener.name in self.config.controller_listener_names
            context = self._listener_context(listener, CONTROLLER if is_controller else BROKER)
            await self._listen(
                str(listener),
                listener.host,
                listener.port,
                context,
            )

    async def _listen(self, label: str, host: str, port: int, context: ListenerContext) -> None:
        try:
            bound = await self._network.listen(host, port, lambda: ClientConnection(context))
        except OSError as error:
            raise StartError(
                f"cannot listen on {label}: {error.strerror or error}; "
                "is another process using that address?"
            ) from error
        self.ports[context.name] = bound.port
        self._listeners.append((context, bound))

        async def close() -> None:
            bound.close()
            context.close_all()

        self._undo.append(close)

    def _listener_context(self, listener: ListenerConfig, role: str) -> ListenerContext:
        settings = self.config.settings
        return ListenerContext(
            name=listener.name,
            role=role,
            registry=self.registry,
            max_frame_bytes=settings.integer("socket.request.max.bytes"),
            idle_ms=settings.integer("connections.max.idle.ms"),
            connections_max=min(settings.integer("max.connections"), CONNECTIONS_MAX),
            monotonic_ms=self._clock.monotonic_ms,
            metrics=self.counters,
            on_lost=self._controller_connection_lost if role == CONTROLLER else None,
        )

    def _take_limits(self, image: MetadataImage, delta: ImageDelta | None = None) -> None:
        """A publisher's subscriber: the limits on clients' connections that are in force now."""
        if delta is not None and not any(
            kind == RESOURCE_BROKER for (kind, _), _, _ in delta.configs_changed
        ):
            return
        config = self.config
        settings = BrokerSettings(config.static, image, config.node_id)
        overrides = settings.limits("max.connections.per.ip.overrides")
        for context, _ in self._listeners:
            if context.role == BROKER:
                limit = settings.integer("max.connections")
                context.connections_max = min(limit, CONNECTIONS_MAX)
                context.per_ip_max = settings.integer("max.connections.per.ip")
                context.per_ip_overrides = overrides

    def _controller_connection_lost(self, connection: ClientConnection) -> None:
        if self.controller is not None:
            self.controller.connection_lost(connection)

    def _compose(self) -> None:
        config = self.config
        metadata_log = self.logs.open_metadata_log()
        self.quorum = MetadataQuorum(
            node_id=config.node_id,
            cluster_id=config.cluster_id,
            directory_id=self.logs.directory_id,
            voters=config.voters,
            log=metadata_log,
            disk=self._disk,
            directory=f"{self.logs.data_dir}/{METADATA_TOPIC}-0",
            network=self._network,
            clock=self._clock,
            offload=self._offload,
            rng=self._rng,
            config=self._quorum_config(),
        )
        self.quorum.set_snapshot_source(self._snapshot)
        self.quorum.on_failure = lambda error: self._fail(f"the metadata quorum failed: {error}")
        if config.is_controller:
            self.controller = ControllerService(
                quorum=self.quorum,
                config=ControllerConfig.from_static(
                    config.static, cluster_id=config.cluster_id, node_id=config.node_id
                ),
                clock=self._clock,
                rng=self._rng,
                network=self._network,
                images=self._images,
            )
        self.node = Node(
            config=config,
            registry=self.registry,
            clock=self._clock,
            disk=self._disk,
            rng=self._rng,
            publisher=self.publisher,
            quorum=self.quorum,
            controller=self.controller,
            logs=self.logs,
            channel=self._channel("admin"),
        )
        if config.is_broker:
            self._compose_broker()
        self.quorum.add_listener(self.publisher)
        for context, _ in self._listeners:
            context.node = self.node

    def _quorum_config(self) -> QuorumConfig:
        settings, prefix = self.config.settings, "controller.quorum"
        return QuorumConfig(
            election_timeout_ms=settings.integer(f"{prefix}.election.timeout.ms"),
            fetch_timeout_ms=settings.integer(f"{prefix}.fetch.timeout.ms"),
            election_backoff_max_ms=settings.integer(f"{prefix}.election.backoff.max.ms"),
            request_timeout_ms=settings.integer(f"{prefix}.request.timeout.ms"),
            retry_backoff_ms=settings.integer(f"{prefix}.retry.backoff.ms"),
            snapshot_log_bytes=settings.integer("metadata.log.max.record.bytes.between.snapshots"),
            snapshot_interval_ms=settings.integer("metadata.log.max.snapshot.interval.ms"),
            listener_name=self.config.controller_listener_names[0],
        )

    def _compose_broker(self) -> None:
        config = self.config
        lifecycle_channel = self._channel("lifecycle", on_lost=self._lifecycle_connection_lost)
        self.lifecycle = BrokerLifecycle(
            self._identity(),
            channel=lifecycle_channel,
            publisher=self.publisher,
            clock=self._clock,
            heartbeat_interval_ms=config.settings.integer("broker.heartbeat.interval.ms"),
            on_caught_up=self._caught_up,
            on_fatal=self._fail,
        )
        isr_channel = self._channel("isr")
        lifecycle = self.lifecycle

        async def alter_partition(request: Struct) -> Struct:
            return await isr_channel.send(ApiKey.ALTER_PARTITION, request, ALTER_PARTITION_MS)

        self.replicas = ReplicaManager(
            node_id=config.node_id,
            logs=self.logs,
            clock=self._clock,
            offload=self._offload,
            network=self._network,
            rng=self._rng,
            settings=config.static,
            alter_partition=alter_partition,
            broker_epoch=lambda: lifecycle.epoch,
            listener=config.inter_broker_listener_name,
        )
        self.publisher.prepare = self._prepare_folders
        self._undo.append(self.publisher.close)
        self._take_limits(self.publisher.image)
        self.publisher.subscribe(self._take_limits)
        self.publisher.subscribe(self.node.note_brokers)
        self.replicas.on_failure = self._fail
        space, directory_id = self.replicas.space, self.logs.directory_id
        space.on_change = lifecycle.kick
        lifecycle.offline_log_dirs = lambda: (directory_id,) if space.short else ()
        self.publisher.subscribe(self.replicas.apply)
        self.publisher.subscribe(self._open_clients)
        self.node.replicas = self.replicas
        self.node.groups = groups = GroupManager(
            replicas=self.replicas,
            clock=self._clock,
            rng=self._rng,
            settings=lambda: self.node.settings,
        )
        self.publisher.subscribe(groups.apply)
        self.node.producer_ids = ProducerIds(
            node_id=config.node_id,
            broker_epoch=lambda: lifecycle.epoch,
            channel=self.node.channel,
        )

    @property
    def partitions_count(self) -> int:
        """How many partitions this broker has replicas of."""
        return self.logs.count

    def _prepare_folders(self, image: MetadataImage, delta: ImageDelta) -> Awaitable[None] | None:
        """Make the folders of partitions that are new here, off the loop: each waits for syncs.

        Not for history that is replayed at the start: what it gave us may be gone again. All at
        once when this process's own registration comes.
        """
        node_id = self.config.node_id
        own = image.brokers.get(node_id)
        if own is None or own.incarnation_id != self._incarnation_id:
            return None
        here: Iterable[tuple[str, int]]
        if any(
            broker_id == node_id
            and (before is None or before.incarnation_id != self._incarnation_id)
            for broker_id, before, _ in delta.brokers_changed
        ):
            here = [
                (topic.name, index)
                for topic, index, state in image.iter_partitions()
                if node_id in state.replicas
            ]
        else:
            here = [
                (name, index)
                for name, index, _, after in delta.partitions_changed
                if after is not None and node_id in after.replicas
            ]
        wanted = [
            (name, image.topics[name].id, index)
            for name, index in here
            if self.logs.get(name, index) is None
        ]
        return self._make_folders(wanted) if wanted else None

    async def _make_folders(self, wanted: list[tuple[str, UUID, int]]) -> None:
        left = iter(wanted)

        def make(name: str, topic_id: UUID, index: int) -> None:
            try:
                prepare_folder(self._disk, self.logs.data_dir, name, topic_id, index)
            except StorageError as error:
                # Whoever opens the log meets the same fault, and knows what to do about it.
                logger.warning("cannot prepare %s-%d: %s", name, index, error)

        async def worker() -> None:
            for each in left:
                await self._offload.run(functools.partial(make, *each))

        # Few at once: producers' syncs come in between.
        await asyncio.gather(*(worker() for _ in range(FOLDERS_AT_ONCE)))

    async def _stop_groups(self) -> None:
        if self.node.groups is not None:
            self.node.groups.stop()

    def _channel(
        self, purpose: str, on_lost: Callable[[], None] | None = None
    ) -> ControllerChannel:
        controller = self.controller

        async def local(api_key: ApiKey, version: int, request: Struct) -> Struct:
            if api_key == ApiKey.DESCRIBE_QUORUM:
                return await self.quorum.handle(api_key, version, request)
            assert controller is not None
            return await controller.handle(api_key, version, request, None)

        channel = ControllerChannel(
            node_id=self.config.node_id,
            quorum=self.quorum,
            voters=self.config.voters,
            network=self._network,
            clock=self._clock,
            local=local if controller is not None else None,
            latest=lambda api_key: supported_versions(api_key)[1],
            purpose=purpose,
            on_lost=on_lost,
        )
        self._undo.append(channel.close)
        return channel

    def _lifecycle_connection_lost(self) -> None:
        if self.lifecycle is not None:
            self.lifecycle.connection_lost()

    def _identity(self) -> Identity:
        config = self.config
        listeners = []
        for each in config.client_listeners:
            at = config.advertised[each.name]
            port = at.port or self.ports[each.name]
            listeners.append(Struct(name=each.name, host=at.host, port=port, security_protocol=0))
        return Identity(
            node_id=config.node_id,
            cluster_id=config.cluster_id,
            incarnation_id=self._incarnation_id,
            listeners=listeners,
            features=[
                Struct(
                    name=METADATA_VERSION_FEATURE,
                    min_supported_version=METADATA_VERSION_MIN,
                    max_supported_version=METADATA_VERSION_MAX,
                )
            ],
            rack=config.rack,
            log_dirs=[self.logs.directory_id],
            previous_epoch=self.logs.clean_shutdown_epoch,
        )

    def _snapshot(self) -> tuple[int, int, Callable[[], list[MetadataRecord]]]:
        image = self.publisher.image
        return image.offset + 1, image.epoch, lambda: image_records(image)

    async def _start_parts(self) -> None:
        await self.quorum.start()
        self._undo.append(self.quorum.stop)
        if self.controller is not None:
            await self.controller.start()
            self._undo.append(self.controller.stop)
        for context, _ in self._listeners:
            if context.role == CONTROLLER:
                context.ready.set()
        if self.replicas is not None:
            await self.replicas.start()
            self._undo.append(self.replicas.stop)
            self._undo.append(self._stop_groups)
        if self.lifecycle is not None:
            self.lifecycle.start()
        sweeping = asyncio.get_running_loop().create_task(self._sweep_idle())

        async def stop_sweeping() -> None:
            sweeping.cancel()

        self._undo.append(stop_sweeping)
        await self._start_metrics()
        logger.info("started", extra={"node": self.config.node_id, "ports": self.ports})

    async def _caught_up(self) -> None:
        """The image holds our own registration: take the roles that it gives us."""
        if self.replicas is not None:
            self.replicas.apply(self.publisher.image)
            await self.replicas.roles_taken()
        self._holds_registration = True
        self._open_clients(self.publisher.image)

    def _open_clients(self, image: MetadataImage, _: ImageDelta | None = None) -> None:
        """Serve clients once this broker takes part.

        Before that a new cluster has no broker to tell of, and librdkafka never asks again after
        an answer without brokers.
        """
        if self._holds_registration and image.is_unfenced(self.config.node_id):
            for context, _bound in self._listeners:
                context.ready.set()

    async def _sweep_idle(self) -> None:
        idle_seconds = self.config.settings.integer("connections.max.idle.ms") / 1000
        while True:
            await asyncio.sleep(min(idle_seconds / 2, IDLE_SWEEP_SECONDS_MAX))
            for context, _ in self._listeners:
                context.close_idle()

    async def _start_metrics(self) -> None:
        port = self.config.metrics_port
        if port is None:
            return
        host = self.config.metrics_host
        try:
            bound = await self._network.listen(host, port, metrics_factory(self))
        except OSError as error:
            raise StartError(
                f"cannot serve metrics on {host}:{port}: {error.strerror or error}"
            ) from error
        self.ports["metrics"] = bound.port

        async def close() -> None:
            bound.close()

        self._undo.append(close)
