"""What is said of a topic that is not there, or not as one would have it. Pure."""

from clusters.watch.events import EventKind
from tui.drawing import age
from tui.rights import unseen
from tui.store import Store


def deleted_text(store: Store, topic: str, wall_ms: int) -> str:
    """That there is no such topic, and since when if it was seen to go."""
    for event in reversed(store.view.events):
        if event.topic == topic and event.kind is EventKind.TOPIC_DELETED:
            return f"✖ The topic {topic} was deleted {age(wall_ms - event.at_ms)} ago."
    return f"✖ There is no topic {topic}.{unseen(store, 'topic')}"


def unread_text(store: Store, topic: str, partition: int | None, wall_ms: int) -> str:
    """Why nothing more can be read of it; "" where all of it can."""
    if not store.view.brokers:
        return ""  # nothing was told yet
    if store.view.topic_row(topic) is None:
        return deleted_text(store, topic, wall_ms)
    rows = [each for each in store.view.rows_of(topic) if partition in (None, each.partition)]
    offline = sum(each.leader < 0 for each in rows)
    if not rows:
        return f"✖ There is no partition {topic}-{partition}."
    if partition is not None and offline:
        return "✖ offline"
    return f"✖ {offline} of {len(rows)} partitions offline" if offline else ""
