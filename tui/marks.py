"""Moments that are remembered, and how the cluster differs from one of them now.

Pure. A moment is the metadata image of then: images never change, so keeping one costs what has
changed since. It must tell apart what is as it was from what moved away and came back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from broker.protocol.image import MetadataImage, PartitionState
from clusters.watch.differences import Stamp, comparing
from clusters.watch.events import ClusterEvent, EventKind
from clusters.watch.slices import STEPS, Work

MARKS_MAX = 9
# Own marks that follow one another so soon are one, where nothing changed in between.
HELD_MS = 1_000
# Who has pressed no key for so long was away.
AWAY_MS = 180_000
START, LOOKED, OWN = "the dashboard began", "you last pressed a key", "you marked it"
CAME_BACK, ISR_CHANGED = "CameBack", "IsrChanged"
ISR = (EventKind.ISR_SHRUNK, EventKind.ISR_EXPANDED)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: why it is remembered, when it was (ms since 1970), and what was so then."""

    why: str
    at_ms: int
    image: MetadataImage
    controller_id: int = -1


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is otherwise than it was; `then` and `now` are JSON values as in events.

    `changes` and `moves` are how often the partition changed and was given a leader since, None
    where nobody counts. `kind` is an EventKind, ISR_CHANGED, or CAME_BACK: as it was.
    """

    kind: str
    topic: str | None = None
    partition: int | None = None
    broker: int | None = None
    then: Any = None
    now: Any = None
    changes: int | None = None
    moves: int | None = None


class Marks:
    """Marks from the oldest to the newest; a page steps between them."""

    def __init__(self) -> None:
        self.all: list[Mark] = []
        self._last_input_ms = 0
        self._looked: Mark | None = None
        self._away = False

    def begin(self, mark: Mark) -> None:
        """What was so first of all; later calls change nothing."""
        if not self.all:
            self.all.append(mark)

    def add(self, mark: Mark) -> None:
        """Remember a moment; of those that somebody set the oldest go, the beginning stays.

        A key that is held down sets one mark, not so many that those before are gone.
        """
        last = self.all[-1] if self.all else None
        same = last is not None and last.why == OWN == mark.why and last.image is mark.image
        if same and last is not None and mark.at_ms - last.at_ms < HELD_MS:
            self.all.pop()
        self.all = [each for each in self.all if not (each.why == LOOKED == mark.why)]
        self.all.append(mark)
        self.all.sort(key=lambda each: each.at_ms)
        del self.all[1 : max(1, len(self.all) - MARKS_MAX + 1)]

    def tick(self, now: Mark, last_input_ms: int, now_ms: int) -> Mark | None:
        """Notice that somebody goes away, and comes back: then the mark of when they last looked.

        `now` is how the cluster stands, `last_input_ms` when a key was last pressed, by the clock
        of `now_ms`.
        """
        returned = None
        if last_input_ms != self._last_input_ms:
            if self._away and self._looked is not None:
                returned = self._looked
                self.add(returned)
            self._last_input_ms, self._away = last_input_ms, False
            self._looked = Mark(LOOKED, now.at_ms, now.image, now.controller_id)
        elif now_ms - last_input_ms >= AWAY_MS:
            self._away = True
        return returned


def changes_since(then: Mark, now: Mark) -> Work[list[Change]]:
    """What is otherwise than then, as work in slices: settings and brokers first, then topics."""
    found: list[Change] = []
    if then.controller_id != now.controller_id and -1 not in (
        then.controller_id,
        now.controller_id,
    ):
        kind = str(EventKind.CONTROLLER_CHANGED)
        found.append(
            Change(kind, None, None, now.controller_id, then.controller_id, now.controller_id)
        )
    events = yield from comparing(then.image, now.image, Stamp(-1, now.at_ms))
    isr_told: set[tuple[str, int]] = set()
    rest: list[Change] = []
    for number, event in enumerate(events):
        if event.topic is not None and event.partition is not None:
            key = (event.topic, event.partition)
            if event.kind in ISR and key in isr_told:
                continue
            if event.kind in ISR:
                isr_told.add(key)
            rest.append(_of_partition(event, *key, then.image, now.image))
        else:
            found.append(
                Change(str(event.kind), event.topic, None, event.broker, event.before, event.after)
            )
        if not number % STEPS:
            yield
    for change in _came_back(then.image, now.image):
        if change is not None:
            rest.append(change)
        yield
    # The cluster's own topics after those that people have made.
    return found + sorted(rest, key=lambda each: (each.topic or "").startswith("__"))


def _of_partition(
    event: ClusterEvent, topic: str, index: int, then: MetadataImage, now: MetadataImage
) -> Change:
    old, new = then.partition(topic, index), now.partition(topic, index)
    assert old is not None
    assert new is not None
    if event.kind not in ISR:
        return Change(
            str(event.kind), topic, index, None, event.before, event.after, *_told(old, new)
        )
    gone, come = set(old.isr) - set(new.isr), set(new.isr) - set(old.isr)
    kind = (
        ISR_CHANGED if gone and come else EventKind.ISR_SHRUNK if gone else EventKind.ISR_EXPANDED
    )
    return Change(str(kind), topic, index, None, [*old.isr], [*new.isr], *_told(old, new))


def _told(old: PartitionState, new: PartitionState) -> tuple[int | None, int | None]:
    """How often it changed and was given a leader: both epochs grow by one each time."""
    changes = new.partition_epoch - old.partition_epoch
    moves = new.leader_epoch - old.leader_epoch
    return (changes if changes > 0 else None), (moves if moves >= 0 else None)


def _came_back(then: MetadataImage, now: MetadataImage) -> Iterator[Change | None]:
    """Partitions that moved away and are as they were; None where one may pause."""
    for name, topic in now.topics.items():
        old = then.topics.get(name)
        if old is None or old is topic or old.id != topic.id:
            continue
        yield None
        for index, (was, state) in enumerate(zip(old.partitions, topic.partitions, strict=False)):
            if was is not state and _alike(was, state):
                leader = state.leader
                yield Change(CAME_BACK, name, index, None, leader, leader, *_told(was, state))
            elif not index % STEPS:
                yield None


def _alike(was: PartitionState, state: PartitionState) -> bool:
    """Whether it changed and is as it was."""
    return (
        (was.partition_epoch, was.leader_epoch) != (state.partition_epoch, state.leader_epoch)
        and was.leader == state.leader
        and sorted(was.isr) == sorted(state.isr)
        and was.replicas == state.replicas
    )
