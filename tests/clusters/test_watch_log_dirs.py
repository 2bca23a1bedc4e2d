"""Log dirs that fail or come back are events of the metadata log (KIP-858)."""

import uuid

import pytest

from broker.protocol import metadata_records as rec
from broker.protocol.image import LOST_DIRECTORY
from clusters.watch import Entry, Projector

A, B = uuid.UUID(int=1001), uuid.UUID(int=1002)


def told(*log_dirs: tuple[uuid.UUID, ...]) -> list[tuple[str, object, object]]:
    """Events after a broker that registered with the first of these said the others."""
    projector = Projector()
    registered = rec.RegisterBrokerRecord(
        broker_id=1,
        incarnation_id=uuid.UUID(int=1),
        broker_epoch=0,
        end_points=(),
        features=(),
        rack=None,
        log_dirs=log_dirs[0],
    )
    projector.apply_batch([Entry(0, 1, 1, registered)])
    events = []
    for offset, dirs in enumerate(log_dirs[1:], 1):
        change = rec.BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=0, log_dirs=dirs)
        events += projector.apply_batch([Entry(offset, 1, offset, change)])
    assert {event.broker for event in events} <= {1}
    return [(str(event.kind), event.before, event.after) for event in events]


@pytest.mark.parametrize(
    ("log_dirs", "events"),
    [
        # A broker of Apache Kafka loses one of two disks, and it is put right.
        ([(A, B), (A,), (A, B)], [("LogDirOffline", 2, 1), ("LogDirOnline", 1, 2)]),
        # logd goes on with its only folder full.
        (
            [(A,), (A, LOST_DIRECTORY), (A,)],
            [("LogDirOffline", 1, 0), ("LogDirOnline", 0, 1)],
        ),
        # Where nobody tells of folders, none has failed.
        ([(), (A,)], []),
        ([(A,), (A,)], []),
    ],
)
def test_a_log_dir_that_fails_and_comes_back_is_told(log_dirs, events) -> None:
    assert told(*log_dirs) == events
