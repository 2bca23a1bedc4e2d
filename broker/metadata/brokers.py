"""Brokers: registration, heartbeats, sessions, fencing and controlled shutdown (KIP-631).

Sessions are soft state: they live in the active controller alone, and a new one gives every
unfenced broker a fresh session. It must never fence or unfence but by records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from broker.metadata.cluster import Cluster
from broker.metadata.decision import LATE_MS_MAX, Decision, reply
from broker.protocol.errors import ErrorCode
from broker.protocol.image import LOST_DIRECTORY, METADATA_VERSION_FEATURE, BrokerRegistration
from broker.protocol.metadata_records import (
    BrokerEndpoint,
    BrokerFeature,
    BrokerRegistrationChangeRecord,
    MetadataRecord,
    RegisterBrokerRecord,
    UnregisterBrokerRecord,
)
from broker.protocol.struct import Struct

FENCE, UNFENCE = 1, -1


@dataclass(slots=True)
class Session:
    """What the active controller remembers of one broker between heartbeats."""

    epoch: int
    contact_ms: int
    # Set while the connection that carried its heartbeats is closed.
    disconnected: bool = False
    metadata_offset: int = -1
    # Others must have read this far before the broker may stop; -1 outside a shutdown.
    shutdown_offset: int = -1


class Brokers:
    """Decides everything about brokers; holds their sessions."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.sessions: dict[int, Session] = {}

    def activate(self, now_ms: int) -> None:
        """Start as the active controller: a fresh session for every unfenced broker."""
        brokers = self._cluster.image.brokers
        self.sessions = {
            b.id: Session(epoch=b.epoch, contact_ms=now_ms)
            for b in brokers.values()
            if not b.fenced
        }

    def register(self, request: Struct, now_ms: int, next_offset: int) -> Decision:
        """BrokerRegistration: the broker's epoch becomes the offset of its record."""
        refusal = self._refuse(request, now_ms)
        if refusal is not None:
            return Decision(reply=reply(error_code=refusal, broker_epoch=-1))
        broker_id = request.broker_id
        existing = self._cluster.image.brokers.get(broker_id)
        same = existing is not None and existing.incarnation_id == request.incarnation_id
        record = _registration_record(
            request,
            epoch=existing.epoch if existing is not None and same else next_offset,
            fenced=existing.fenced if existing is not None and same else True,
            stopping=existing is not None and same and existing.in_controlled_shutdown,
        )
        self.sessions[broker_id] = Session(epoch=record.broker_epoch, contact_ms=now_ms)
        records: list[MetadataRecord] = [record]
        if existing is not None and not same:
            # It died and came back, maybe before anybody noticed or all was moved. It is fenced and
            # holds nothing, in one step: what it reads up to here must not have it lead with a log
            # that may have lost its end.
            records += self._cluster.stopped_all({broker_id})
        answer = reply(error_code=ErrorCode.none, broker_epoch=record.broker_epoch)
        return Decision(records, answer)

    def _refuse(self, request: Struct, now_ms: int) -> ErrorCode | None:
        if request.cluster_id != self._cluster.config.cluster_id:
            return ErrorCode.inconsistent_cluster_id
        if not request.listeners:
            return ErrorCode.invalid_request
        if not self._runs_our_level(request.get("features") or ()):
            return ErrorCode.unsupported_version
        existing = self._cluster.image.brokers.get(request.broker_id)
        session = self.sessions.get(request.broker_id)
        if existing is None or existing.incarnation_id == request.incarnation_id:
            return None
        if session is None or session.disconnected or self._expired(session, now_ms):
            return None
        if session.metadata_offset < 0 and _same_addresses(existing, request):
            # Not heard since this controller took over, and another process has its addresses:
            # the one that was registered there is dead. Usual after everything was killed.
            return None
        return ErrorCode.duplicate_broker_registration

    def _runs_our_level(self, features: Iterable[Struct]) -> bool:
        level = self._cluster.image.features.get(METADATA_VERSION_FEATURE)
        return level is None or all(
            f.min_supported_version <= level <= f.max_supported_version
            for f in features
            if f.name == METADATA_VERSION_FEATURE
        )

    def heartbeat(self, request: Struct, now_ms: int, next_offset: int) -> Decision:
        """BrokerHeartbeat: keeps the session; fences, unfences, shuts down as asked."""
        broker = self._cluster.broker(request.broker_id, request.broker_epoch)
        if broker is None:
            return Decision(
                reply=_heartbeat_reply(ErrorCode.stale_broker_epoch, caught_up=False, fenced=True)
            )
        session = self._contact(broker, request.current_metadata_offset, now_ms)
        caught_up = request.current_metadata_offset >= broker.epoch
        if request.want_shut_down:
            return self._shut_down(broker, session, next_offset, caught_up=caught_up)
        if broker.fenced:
            if request.want_fence or not caught_up:
                return Decision(reply=_heartbeat_reply(caught_up=caught_up, fenced=True))
            left = self._cluster.stopped({broker.id})
            if left:
                # Let in before its places in ISRs are taken from it, it might lead with a log that
                # lost its end.
                return Decision(left, _heartbeat_reply(caught_up=True, fenced=True))
            # One that had begun to shut down comes back as such: it may not lead.
            back = None if broker.in_controlled_shutdown else broker.id
            records = [_fencing(broker, UNFENCE), *self._cluster.revived(back)]
            return Decision(records, _heartbeat_reply(caught_up=True, fenced=False))
        if request.want_fence:
            records = self._fence(broker)
            return Decision(records, _heartbeat_reply(caught_up=caught_up, fenced=True))
        records = self._heard_of_folders(broker, request.get("offline_log_dirs") or ())
        return Decision(records, _heartbeat_reply(caught_up=caught_up, fenced=False))

    def _heard_of_folders(
        self, broker: BrokerRegistration, offline: Collection[UUID]
    ) -> list[MetadataRecord]:
        """A broker without a folder that takes records leads nothing that another could lead.

        Unlike Kafka's, which is over once its last folder is offline, it goes on serving reads,
        and comes back when there is room. Each heartbeat looks anew: a replica may be in sync now.
        """
        folders = tuple(each for each in broker.log_dirs if each != LOST_DIRECTORY)
        if offline and set(folders) <= set(offline):
            records = self._cluster.out_of_room(broker.id)
            if not broker.out_of_room:
                records.insert(0, _folders(broker, (*folders, LOST_DIRECTORY)))
            return records
        if broker.out_of_room:
            return [_folders(broker, folders), *self._cluster.revived(broker.id)]
        return []

    def _contact(self, broker: BrokerRegistration, offset: int, now_ms: int) -> Session:
        session = self.sessions.get(broker.id)
        if session is None or session.epoch != broker.epoch:
            session = self.sessions[broker.id] = Session(epoch=broker.epoch, contact_ms=now_ms)
        session.contact_ms = now_ms
        session.disconnected = False
        session.metadata_offset = offset
        return session

    def _shut_down(
        self, broker: BrokerRegistration, session: Session, next_offset: int, *, caught_up: bool
    ) -> Decision:
        """One step of a controlled shutdown.

        First its leaderships and ISR places go; once it leads nothing, and every active broker
        has read the metadata that says so, it may stop and is fenced.
        """
        if broker.fenced:
            session.disconnected = True
            answer = _heartbeat_reply(caught_up=caught_up, fenced=True, stop=True)
            return Decision(reply=answer)
        records: list[MetadataRecord] = []
        if not broker.in_controlled_shutdown:
            records.append(
                BrokerRegistrationChangeRecord(
                    broker_id=broker.id, broker_epoch=broker.epoch, in_controlled_shutdown=1
                )
            )
            session.shutdown_offset = next_offset
        moved = self._cluster.stopped({broker.id})
        if moved:
            records += moved
            session.shutdown_offset = next_offset + len(records) - 1
            return Decision(records, _heartbeat_reply(caught_up=caught_up, fenced=False))
        if not records and self._lowest_active_offset(broker.id) < session.shutdown_offset:
            return Decision(reply=_heartbeat_reply(caught_up=caught_up, fenced=False))
        records.append(_fencing(broker, FENCE))
        # Whoever registers under this id next is not a duplicate.
        session.disconnected = True
        return Decision(records, _heartbeat_reply(caught_up=caught_up, fenced=True, stop=True))

    def _lowest_active_offset(self, leaving: int) -> int:
        offsets = [
            self.sessions[b.id].metadata_offset if b.id in self.sessions else -1
            for b in self._cluster.image.brokers.values()
            if b.active and b.id != leaving
        ]
        return min(offsets, default=2**63 - 1)

    def unregister(self, request: Struct) -> Decision:
        """UnregisterBroker: the broker is forgotten; its replicas stay assigned."""
        broker = self._cluster.image.brokers.get(request.broker_id)
        if broker is None:
            message = f"Broker ID {request.broker_id} is not currently registered"
            code = ErrorCode.broker_id_not_registered
            return Decision(reply=reply(error_code=code, error_message=message))
        records = self._cluster.stopped_all({broker.id})
        records.append(UnregisterBrokerRecord(broker_id=broker.id, broker_epoch=broker.epoch))
        return Decision(records, reply(error_code=ErrorCode.none, error_message=None))

    def gone(self, broker_id: int) -> Decision:
        """The broker's process is surely dead: fence it now, without waiting for its session."""
        self.sessions.pop(broker_id, None)
        broker = self._cluster.image.brokers.get(broker_id)
        if broker is None or broker.fenced:
            return Decision()
        return Decision(self._fence(broker))

    def disconnected(self, broker_id: int) -> None:
        """The connection with the broker's heartbeats closed: a new incarnation may replace it."""
        session = self.sessions.get(broker_id)
        if session is not None:
            session.disconnected = True

    def expired(self, now_ms: int) -> list[MetadataRecord]:
        """Fence every broker whose session is over, all at once.

        Called late, it fences nobody yet: the controller slept (stopped process, suspended
        machine), and heartbeats of living brokers may wait in its sockets.
        """
        due_ms = self.next_expiry_ms()
        if due_ms is not None and now_ms - due_ms > LATE_MS_MAX:
            grace_ms = now_ms + LATE_MS_MAX - self._cluster.config.session_timeout_ms
            for session in self.sessions.values():
                session.contact_ms = max(session.contact_ms, grace_ms)
            return []
        gone: list[BrokerRegistration] = []
        for broker_id in sorted(self.sessions):
            if not self._expired(self.sessions[broker_id], now_ms):
                continue
            del self.sessions[broker_id]
            broker = self._cluster.image.brokers.get(broker_id)
            if broker is not None and not broker.fenced:
                gone.append(broker)
        if not gone:
            return []
        return [
            *(_fencing(broker, FENCE) for broker in gone),
            *self._cluster.stopped({broker.id for broker in gone}),
        ]

    def next_expiry_ms(self) -> int | None:
        """When the next session ends if its broker stays silent."""
        contacts = [session.contact_ms for session in self.sessions.values()]
        return min(contacts) + self._cluster.config.session_timeout_ms if contacts else None

    def forget_unregistered(self) -> None:
        """Drop sessions of brokers that are no longer registered."""
        for broker_id in sorted(self.sessions):
            if broker_id not in self._cluster.image.brokers:
                del self.sessions[broker_id]

    def _expired(self, session: Session, now_ms: int) -> bool:
        return now_ms - session.contact_ms >= self._cluster.config.session_timeout_ms

    def _fence(self, broker: BrokerRegistration) -> list[MetadataRecord]:
        return [_fencing(broker, FENCE), *self._cluster.stopped({broker.id})]


def _fencing(broker: BrokerRegistration, fenced: int) -> MetadataRecord:
    return BrokerRegistrationChangeRecord(
        broker_id=broker.id, broker_epoch=broker.epoch, fenced=fenced
    )


def _folders(broker: BrokerRegistration, log_dirs: tuple[UUID, ...]) -> MetadataRecord:
    return BrokerRegistrationChangeRecord(
        broker_id=broker.id, broker_epoch=broker.epoch, log_dirs=log_dirs
    )


def _registration_record(
    request: Struct, *, epoch: int, fenced: bool, stopping: bool
) -> RegisterBrokerRecord:
    return RegisterBrokerRecord(
        broker_id=request.broker_id,
        incarnation_id=request.incarnation_id,
        broker_epoch=epoch,
        end_points=tuple(
            BrokerEndpoint(
                name=e.name,
                host=e.host,
                port=e.port,
                security_protocol=e.get("security_protocol", 0),
            )
            for e in request.listeners
        ),
        features=tuple(
            BrokerFeature(
                name=f.name,
                min_supported_version=f.min_supported_version,
                max_supported_version=f.max_supported_version,
            )
            for f in request.get("features") or ()
        ),
        rack=request.get("rack"),
        fenced=fenced,
        in_controlled_shutdown=stopping,
        log_dirs=tuple(request.get("log_dirs") or ()),
    )


def _heartbeat_reply(
    code: ErrorCode = ErrorCode.none, *, caught_up: bool, fenced: bool, stop: bool = False
) -> Struct:
    return reply(error_code=code, is_caught_up=caught_up, is_fenced=fenced, should_shut_down=stop)


def _same_addresses(existing: BrokerRegistration, request: Struct) -> bool:
    known = {(endpoint.host, endpoint.port) for endpoint in existing.endpoints}
    return {(listener.host, listener.port) for listener in request.listeners} == known
