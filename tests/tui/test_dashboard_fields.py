"""A condition typed after `/` looks at the fields it names and at no others, and finds its rows."""

import pytest

from clusters.watch import FeedStatus
from clusters.watch.events import ClusterEvent, EventKind
from tui.fields import Fields, event_fields, partition_fields
from tui.filters import row_filter
from tui.model import BrokerRow, Health, PartitionRow
from tui.store import Store

ROWS = [
    PartitionRow("orders", 0, 1, 3, 7, (1, 2), (1, 2), Health.OK, min_isr=1),
    PartitionRow("orders", 1, 2, 3, 7, (1, 2), (2,), Health.UNDER_REPLICATED, min_isr=1),
    PartitionRow("orders", 2, -1, 3, 7, (3,), (3,), Health.OFFLINE, min_isr=1),
    PartitionRow("__mine", 0, 1, 3, 7, (1, 2), (1, 2), Health.OK, min_isr=2, adding=(2,)),
]


def partitions() -> Fields[PartitionRow]:
    store = Store(FeedStatus(mode="live", source="", message="", last_contact_ms=0))
    states = {1: "up", 2: "stopping", 3: "fenced"}
    store.view.brokers = [
        BrokerRow(id_, f"b{id_}:9092", "", state, 0, 0, False) for id_, state in states.items()
    ]
    return partition_fields(store)


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("isr < replicas", [1]),
        ("leader = none", [2]),
        ("preferred_leader != leader", [1, 2]),
        ("offline_replicas contains 3", [2]),
        ("under_replicated and topic = orders", [1]),
        ("internal and reassigning", [3]),
        ("adding contains 2", [3]),
        ("at_min_isr", [1]),
        ("not offline and partition > 0", [1]),
        ("leader_epoch = 3 and min_isr = 1", [0, 1, 2]),
    ],
)
def test_a_condition_finds_its_partitions(condition: str, found: list[int]) -> None:
    typed = row_filter(condition, "partitions")
    assert not typed.problem
    test = typed.test(lambda row: row.name, partitions().of)
    assert [index for index, row in enumerate(ROWS) if test(row)] == found


def test_a_condition_finds_its_events() -> None:
    happened = [
        ClusterEvent(at_ms=1_000, offset=5, kind=EventKind.LEADER_MOVED, topic="orders"),
        ClusterEvent(at_ms=2_000, offset=6, kind=EventKind.ISR_SHRUNK, topic="orders"),
        ClusterEvent(at_ms=3_000, offset=7, kind=EventKind.BROKER_FENCED, broker=2),
    ]
    for condition, found in (
        ("kind = LeaderMoved", [0]),
        ("topic = orders and offset > 5", [1]),
        ("broker = 2", [2]),
        ("topic = none", [2]),
    ):
        test = row_filter(condition, "events").test(str, event_fields().of)
        assert [index for index, event in enumerate(happened) if test(event)] == found


def test_fields_that_nobody_asks_for_are_not_made() -> None:
    made: list[str] = []
    fields: Fields[int] = Fields(
        {
            "partition": lambda row: made.append("partition") or row,
            "leader": lambda row: made.append("leader") or row,
        }
    )
    test = row_filter("partition = 2", "partitions").test(str, fields.of)
    assert [row for row in range(4) if test(row)] == [2]
    assert set(made) == {"partition"}
    assert dict(fields.of(7)) == {"partition": 7, "leader": 7}
