"""What a condition can ask of a row, worked out when it asks and not before.

Pure. A condition looks at one or two fields of ten thousand rows: making all of each takes longer
than a key may. What `Fields` gives holds until the next row is put before it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from clusters.watch.events import ClusterEvent
from tui.model import Health, PartitionRow
from tui.store import Store

R = TypeVar("R")


class Fields(Mapping[str, Any], Generic[R]):
    """Fields of the row that `of` has put before it, by what `ways` say."""

    def __init__(self, ways: Mapping[str, Callable[[R], Any]]) -> None:
        self._ways = ways
        self._row: R | None = None

    def of(self, row: R) -> "Fields[R]":
        """The fields of this row, until another is given."""
        self._row = row
        return self

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field, `default` where there is no such field."""
        way = self._ways.get(name)
        return default if way is None else way(self._row)  # type: ignore[arg-type]

    def __getitem__(self, name: str) -> Any:
        return self._ways[name](self._row)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ways)

    def __len__(self) -> int:
        return len(self._ways)


def partition_fields(store: Store) -> Fields[PartitionRow]:
    """Fields of partitions, as `clusters.query` names them."""

    def offline_replicas(row: PartitionRow) -> tuple[int, ...]:
        brokers = store.view.brokers
        up = [broker.id for broker in brokers if broker.state in ("up", "stopping")]
        return tuple(each for each in row.replicas if each not in up)

    return Fields(
        {
            "topic": lambda row: row.topic,
            "partition": lambda row: row.partition,
            "leader": lambda row: row.leader if row.leader >= 0 else None,
            "preferred_leader": lambda row: row.replicas[0] if row.replicas else None,
            "leader_epoch": lambda row: row.leader_epoch,
            "replicas": lambda row: row.replicas,
            "isr": lambda row: row.isr,
            "offline_replicas": offline_replicas,
            "min_isr": lambda row: row.min_isr,
            "under_replicated": lambda row: len(row.isr) < len(row.replicas),
            "under_min_isr": lambda row: row.health is Health.UNDER_MIN_ISR,
            "at_min_isr": lambda row: row.at_min_isr,
            "offline": lambda row: row.leader < 0,
            "internal": lambda row: row.topic.startswith("__"),
            "reassigning": lambda row: row.is_moving,
            "adding": lambda row: row.adding,
            "removing": lambda row: row.removing,
        }
    )


def event_fields() -> Fields[ClusterEvent]:
    """Fields of events, as `clusters.query` names them."""
    return Fields(
        {
            "at": lambda event: event.at_ms,
            "offset": lambda event: event.offset,
            "kind": lambda event: str(event.kind),
            "topic": lambda event: event.topic,
            "partition": lambda event: event.partition,
            "broker": lambda event: event.broker,
            "before": lambda event: str(event.before),
            "after": lambda event: event.after,
            "leader_epoch": lambda event: event.leader_epoch,
            "partition_epoch": lambda event: event.partition_epoch,
        }
    )
