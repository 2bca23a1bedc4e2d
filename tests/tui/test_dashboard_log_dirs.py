"""A broker whose disk is full: up, and yet it takes nothing. Seen at once, with what to do."""

import uuid

import pytest

from broker.protocol import metadata_records as rec
from broker.protocol.image import LOST_DIRECTORY
from clusters.admin import Gathered, LogDir
from clusters.polls import Answer, PollKind
from tests.tui.piloting import until
from tui.attention import troubles
from tui.model import describe_event
from tui.store import LOG_DIRS, Store

FOLDER = uuid.UUID(int=77)


def say_folders(cluster, broker: int, *folders: uuid.UUID) -> None:
    """What the controller writes when a broker told of its folders."""
    epoch = cluster.projector.image.brokers[broker].epoch
    cluster.apply(
        rec.BrokerRegistrationChangeRecord(broker_id=broker, broker_epoch=epoch, log_dirs=folders)
    )


def log_dir(broker: int, left_bytes: int, error: str | None = None, path: str = "/data") -> LogDir:
    return LogDir(
        broker=broker,
        path=path,
        error=error,
        total_bytes=1000,
        usable_bytes=left_bytes,
        replicas=(),
    )


@pytest.fixture
def store(cluster) -> Store:
    made = Store(cluster.status)
    made.view.set_default_min_isr(2)
    made.view.update(cluster.projector.image, cluster.update().events, 0)
    return made


def take(store: Store, cluster) -> None:
    store.view.update(cluster.projector.image, cluster.update().events, 0)


def words(store: Store) -> list[str]:
    return [f"{each.sign} {each.words}" for each in troubles(store, 0)]


def test_a_broker_without_room_is_one_line_with_the_cause_and_the_way_out(store, cluster) -> None:
    full = log_dir(3, 5, "its log dir failed (KAFKA_STORAGE_ERROR)")
    store.take(LOG_DIRS, Answer(Gathered((log_dir(1, 500), full)), 0))
    say_folders(cluster, 3, FOLDER)
    say_folders(cluster, 3, FOLDER, LOST_DIRECTORY)
    cluster.change("orders", 0, isr=(1, 2), leader=2)
    take(store, cluster)
    trouble, lack = troubles(store, 0)
    assert lack.words == "1 partition at min ISR: one loss more stops acks=all"
    assert trouble.words == (
        "broker 3 takes no records: disk 100 % full, 5 B left, 1 replica behind"
    )
    assert trouble.todo == "make room on its disk"
    assert trouble.tone == "error"
    say_folders(cluster, 3, FOLDER)
    take(store, cluster)
    assert "▇ disk of broker 3 is 100 % full, 5 B left" in words(store)


def test_what_is_known_of_the_disk_of_a_dead_broker_is_said_beside_it(store, cluster) -> None:
    store.take(LOG_DIRS, Answer(Gathered((log_dir(1, 500), log_dir(3, 20))), 0))
    cluster.kill(3)
    take(store, cluster)
    # It no longer answers; the others do.
    store.take(LOG_DIRS, Answer(Gathered((log_dir(1, 500),)), 1))
    assert [each for each in words(store) if "disk" in each] == [
        "✖ broker 3 fenced for 0 s, 9 replicas behind; its disk was 98 % full, 20 B left"
    ]


def test_one_full_disk_of_two_is_seen(store) -> None:
    dirs = (log_dir(2, 10, path="/a"), log_dir(2, 900, path="/b"))
    store.take(LOG_DIRS, Answer(Gathered(dirs), 0))
    assert words(store) == ["▇ disk of broker 2 is 99 % full, 10 B left"]
    store.take(LOG_DIRS, Answer(Gathered((log_dir(2, 500, path="/a"), dirs[1])), 1))
    assert words(store) == []


def test_the_event_says_how_many_are_left(cluster) -> None:
    say_folders(cluster, 3, FOLDER)
    cluster.events.clear()
    say_folders(cluster, 3, FOLDER, LOST_DIRECTORY)
    [event] = cluster.events
    assert describe_event(event) == ("broker 3", "log dirs that take records 1 → 0")


async def test_the_broker_does_not_look_well_and_its_disk_is_asked_again_once_it_is(
    cluster, open_dashboard
) -> None:
    asked = []

    async def sizes(_: str) -> Gathered:
        asked.append(cluster.projector.image.brokers[3].out_of_room)
        return Gathered((log_dir(3, 1, "its log dir failed (KAFKA_STORAGE_ERROR)"),))

    # So seldom that it is asked within the test only when it is told to be asked again.
    kinds = cluster.kinds() | {"log dirs": PollKind(sizes, 600_000)}
    cluster.kinds = lambda: kinds
    say_folders(cluster, 3, FOLDER)
    app = open_dashboard(cluster)

    def brokers() -> str:
        table = app.page.tables["brokers"]
        return "\n".join(table.render_line(y).text for y in range(4))

    def attention() -> str:
        return str(app.page.texts["attention"].content)

    async with app.run_test(size=(120, 36)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: asked and "● up" in brokers(), "the brokers")
        before = len(asked)
        say_folders(cluster, 3, FOLDER, LOST_DIRECTORY)
        await cluster.tell()
        await until(pilot, lambda: "◐ no room" in brokers(), "a broker without room")
        await until(pilot, lambda: "broker 3 takes no records" in attention(), "why")
        await until(pilot, lambda: True in asked[before:], "asked anew")
        before = len(asked)
        say_folders(cluster, 3, FOLDER)
        await cluster.tell()
        await until(pilot, lambda: False in asked[before:], "asked once more")
        await until(pilot, lambda: "no room" not in brokers(), "a broker with room")
