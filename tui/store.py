"""All that the dashboard knows: the view of the metadata log, answers of polls, numbers over time.

Pure: no widgets, no protocol calls, no clock of its own. Memory is bounded: events, samples and
answers are kept up to a limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from clusters.polls import NO_ANSWER, Answer, Poll, Samples
from clusters.watch import FeedStatus
from clusters.watch.slices import Work, at_once
from tui.behind import is_untold
from tui.copies import Copies, ThrottlesSeen
from tui.marks import Marks
from tui.model import MIN_ISR, ClusterView
from tui.rebalances import Rebalances

QUORUM = Poll("quorum")
ENDS = Poll("ends")
GROUPS = Poll("groups")
LAGS = Poll("lags")
LOG_DIRS = Poll("log dirs")
# Numbers over time are kept of this many topics or groups, and of all that the last answer named.
SERIES_MAX = 2_000
ANSWERS_MAX = 200
STALE_MS = 10_000
# What is asked every two seconds is told to be old sooner.
FRESH_MS = 8_000
# Over how long lags and what groups read are looked at, and from when on a growing lag is believed.
TREND_MS, SURE_MS = 30_000, 10_000
LEVEL_PER_S = 0.5
# Where an answer names more, each gets a shorter history, but no shorter than its lists draw.
SAMPLES = 120
SAMPLES_MIN = 24
# What is counted in one turn takes less than a millisecond.
NUMBERS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Disk:
    """The volume of one log dir."""

    total_bytes: int
    free_bytes: int

    @property
    def share(self) -> float:
        """How much of it is taken, 0 to 1."""
        return 1 - self.free_bytes / self.total_bytes


class Store:
    """`take` (or `taking`) and `view.update` are its only changes; screens read the rest."""

    def __init__(self, status: FeedStatus) -> None:
        self.view = ClusterView()
        self.marks = Marks()
        self.status = status
        self.answers: dict[Poll, Answer] = {}
        # Records written per second: "" for the cluster, else a topic.
        self.ends: dict[str, Samples] = {}
        # Lag and committed offsets by group.
        self.lags: dict[str, Samples] = {}
        self.commits: dict[str, Samples] = {}
        # (bytes of replicas, bytes of the disks, bytes left) by broker; bytes of replicas by topic.
        self.broker_sizes: dict[int, tuple[int, int | None, int | None]] = {}
        self.topic_sizes: dict[str, int] = {}
        self.rebalances = Rebalances()
        self.copies = Copies()
        self._throttles = ThrottlesSeen()
        # The fullest disk of each broker, as it was told last: also of brokers that are down.
        self.disks: dict[int, Disk] = {}
        self._partition_ends: dict[tuple[str, int], int] = {}
        # Records seen to be written, by topic, "" for the cluster.
        self._written: dict[str, int] = {}

    def answer(self, poll: Poll) -> Answer:
        """The last answer to a question."""
        return self.answers.get(poll, NO_ANSWER)

    def is_live(self) -> bool:
        """Whether the feed shows what is so now."""
        return self.status.mode in ("live", "sampled")

    def controller_id(self) -> int:
        """Who leads the quorum, -1 when nobody said; where the log is not read, by the poll."""
        if self.status.controller_id >= 0 or self.status.mode != "sampled":
            return self.status.controller_id
        quorum = self.answer(QUORUM).value
        return -1 if quorum is None else int(quorum.leader_id)

    def partitions_of(self, topic: str) -> Sequence[tuple[str, int]]:
        """The partitions of a topic, or all for "", that have a leader to ask.

        One that does not answer would keep all the others' numbers waiting.
        """
        rows = self.view.rows_of(topic) if topic else self.view.partitions
        silent = set(self.view.silent_brokers())
        return [row.key for row in rows if row.leader >= 0 and row.leader not in silent]

    def default_broker(self) -> int | None:
        """A broker that is up, to be asked what holds for all."""
        up = [row for row in self.view.brokers if row.state == "up"]
        return next((row.id for row in up if not row.heard), up[0].id if up else None)

    def called_up(self) -> dict[int, object]:
        """The brokers that are to answer, by id, each with what it is registered as."""
        if self.status.refusal:
            return {}  # each would only refuse us again
        brokers = self.view.image.brokers
        rows = [row.id for row in self.view.brokers if row.state == "up"]
        return {id_: (brokers[id_].epoch, brokers[id_].endpoints) for id_ in rows if id_ in brokers}

    # -- taking

    def take(self, poll: Poll, answer: Answer) -> None:
        """Keep an answer, and what it says of how numbers go."""
        at_once(self.taking(poll, answer))

    def taking(self, poll: Poll, answer: Answer) -> Work[None]:
        """`take` as work in slices: counting ten thousand partitions must not keep keys waiting."""
        # What is asked again and again stands at the end; the rest goes when there is too much.
        self.answers.pop(poll, None)
        self.answers[poll] = answer
        while len(self.answers) > ANSWERS_MAX:
            del self.answers[next(iter(self.answers))]
        if answer.problem or answer.at_ms is None:
            return
        if poll.kind == "ends":
            yield from self._take_ends(answer)
        elif poll.kind == "ranges":
            self._take_range(poll.subject, answer)
        elif poll.kind == "lag":
            asked = len(self.answer(LAGS).value or ()) + 1
            self._take_lag(poll.subject, answer.value, answer.at_ms, asked)
        elif poll.kind == "lags":
            for group, lag in answer.value.items():
                if not isinstance(lag, str):
                    self._take_lag(group, lag, answer.at_ms, len(answer.value))
        else:
            self._take_short(poll, answer)

    def _take_short(self, poll: Poll, answer: Answer) -> None:
        """What is taken in no time."""
        at_ms = answer.at_ms or 0
        if poll.kind == "group":
            group, ids = answer.value, [each.member_id for each in answer.value.members]
            self.rebalances.saw(poll.subject, group.state, at_ms, ids)
        elif poll.kind == "groups":
            for each in answer.value:
                self.rebalances.saw(each.group, each.state, at_ms)
        elif poll.kind == "log dirs":
            self._take_sizes(answer)
        elif poll.kind == "broker configs":
            self._take_defaults(answer.value)

    def _take_ends(self, answer: Answer) -> Work[None]:
        at_ms = answer.at_ms or 0
        if not answer.value and not self._partition_ends:
            return  # no partition is known yet: that is no rate of 0
        for number, (key, end) in enumerate(answer.value.items()):
            self._count(key, end)
            if not number % NUMBERS_AT_ONCE:
                yield
        topics = {topic for topic, _ in answer.value}
        if len(self._partition_ends) > 2 * len(answer.value) + 1:
            self._forget_gone(topics)
        asked = len(topics) + 1
        for number, topic in enumerate(topics):
            _series(self.ends, topic, asked).add(at_ms, self._written.get(topic, 0))
            if not number % NUMBERS_AT_ONCE:
                yield
        _series(self.ends, "", asked).add(at_ms, self._written.get("", 0))

    def _forget_gone(self, topics: set[str]) -> None:
        """Drop what is counted of topics that are no longer there."""
        ends = self._partition_ends
        self._partition_ends = {key: end for key, end in ends.items() if key[0] in topics}
        self._written = {name: n for name, n in self._written.items() if not name or name in topics}

    def _take_range(self, topic: str, answer: Answer) -> None:
        for key, (_, end) in answer.value.items():
            self._count(key, end)
        asked = len(self._written) + 1
        _series(self.ends, topic, asked).add(answer.at_ms or 0, self._written.get(topic, 0))

    def _count(self, key: tuple[str, int], end: int | None) -> None:
        """Count what a partition got since it was last asked.

        One that was not known, or whose leader is away, has got nothing that we know of: what it
        held all along must not look like a burst.
        """
        if end is None:
            return
        before = self._partition_ends.get(key)
        self._partition_ends[key] = end
        if before is None:
            self._written.setdefault(key[0], 0)
        elif end > before:
            for name in ("", key[0]):
                self._written[name] = self._written.get(name, 0) + end - before

    def _take_lag(self, group: str, lag: Any, at_ms: int, asked: int) -> None:
        known = [each.lag for each in lag if each.lag is not None]
        series = _series(self.lags, group, asked)
        # A part of it, while some leaders do not answer, would look like a lag that fell.
        if not any(map(is_untold, lag)):
            series.add(at_ms, sum(known))
        committed = [each.committed for each in lag if each.committed is not None]
        _series(self.commits, group, asked).add(at_ms, sum(committed))

    def _take_sizes(self, answer: Answer) -> None:
        self.broker_sizes, self.topic_sizes = {}, {}
        disks: dict[int, Disk] = {}
        for each in answer.value or ():
            used, total, free = self.broker_sizes.get(each.broker, (0, 0, 0))
            used += each.used_bytes
            total = None if total is None or each.total_bytes is None else total + each.total_bytes
            free = None if free is None or each.usable_bytes is None else free + each.usable_bytes
            self.broker_sizes[each.broker] = (used, total, free)
            if each.total_bytes and each.usable_bytes is not None:
                disk = Disk(each.total_bytes, each.usable_bytes)
                disks[each.broker] = max(
                    disk, disks.get(each.broker, disk), key=attrgetter("share")
                )
            for replica in each.replicas:
                known = self.topic_sizes.get(replica.topic, 0)
                self.topic_sizes[replica.topic] = known + replica.size_bytes
        self.disks |= disks
        hurt = (
            [row.name for row in self.view.topics if row.moving]
            if self.view.health().moving
            else []
        )
        rows = [row for name in hurt for row in self.view.rows_of(name) if row.is_moving]
        self.copies.take(answer.at_ms or 0, answer.value or (), rows)

    def _take_defaults(self, entries: Any) -> None:
        value = next((entry.value for entry in entries if entry.name == MIN_ISR), None)
        if value is not None and value.isdigit():
            self.view.set_default_min_isr(int(value))

    # -- derived

    def throttles(self) -> ThrottlesSeen:
        """Which topics and brokers have a throttle now."""
        self._throttles.look(self.view.image.configs)
        return self._throttles

    def left_throttled(self) -> list[str]:
        """Topics whose replicas are held back though none of theirs moves."""
        rows = {name: self.view.topic_row(name) for name in self.throttles().topics}
        return [name for name, row in rows.items() if row is not None and not row.moving]

    def lag_per_second(self, group: str) -> float | None:
        """How fast a group's lag grows (above 0) or shrinks, records per second.

        0.0 where it only goes up and down, as between commits.
        """
        samples = self.lags.get(group)
        return samples.trend(TREND_MS) if samples is not None else None

    def reads_per_second(self, group: str) -> float | None:
        """How much a group reads: what it commits, over so long that single commits do not tell."""
        samples = self.commits.get(group)
        return samples.per_second(TREND_MS) if samples is not None else None

    def is_falling_behind(self, group: str) -> bool:
        """Whether the lag grows, seen for longer than most groups take from commit to commit."""
        samples, rate = self.lags.get(group), self.lag_per_second(group)
        return samples is not None and samples.span_ms >= SURE_MS and (rate or 0) > LEVEL_PER_S

    def drain_ms(self, group: str) -> int | None:
        """Milliseconds until the lag is gone if it goes on so; None when it does not shrink."""
        samples, rate = self.lags.get(group), self.lag_per_second(group)
        if samples is None or samples.last is None:
            return None
        if samples.last <= 0:
            return 0
        if rate is None:
            return None
        return int(samples.last / -rate * 1000) if rate < 0 else None


def _series(into: dict[str, Samples], name: str, asked: int) -> Samples:
    """The numbers of a name, one of `asked` that are asked for and must not push each other out."""
    found = into.pop(name, None)
    if found is None:
        share = SERIES_MAX * SAMPLES // max(1, asked)
        found = Samples(min(SAMPLES, max(SAMPLES_MIN, share)))
    # What is asked again and again stands at the end; what nobody asks for any more goes first.
    into[name] = found
    while len(into) > max(SERIES_MAX, asked):
        del into[next(iter(into))]
    return found
