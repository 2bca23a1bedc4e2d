"""All that the dashboard knows: the view of the metadata log, answers of polls, numbers over time.

Pure: no widgets, no protocol calls, no clock of its own. Memory is bounded: events, samples and
answers are kept up to a limit.
"""

from collections.abc import Sequence
from typing import Any

from clusters.polls import NO_ANSWER, Answer, Poll, Samples
from clusters.watch import FeedStatus
from tui.model import MIN_ISR, ClusterView

QUORUM = Poll("quorum")
ENDS = Poll("ends")
GROUPS = Poll("groups")
LAGS = Poll("lags")
LOG_DIRS = Poll("log dirs")
SERIES_MAX = 2_000
STALE_MS = 10_000
SAMPLES = 120


class Store:
    """`take` and `view.update` are its only changes; screens read the rest."""

    def __init__(self, status: FeedStatus) -> None:
        self.view = ClusterView()
        self.status = status
        self.answers: dict[Poll, Answer] = {}
        # Records written per second: "" for the cluster, else a topic.
        self.ends: dict[str, Samples] = {}
        # Lag and committed offsets by group.
        self.lags: dict[str, Samples] = {}
        self.commits: dict[str, Samples] = {}
        self._partition_ends: dict[tuple[str, int], int] = {}

    def answer(self, poll: Poll) -> Answer:
        """The last answer to a question."""
        return self.answers.get(poll, NO_ANSWER)

    def is_live(self) -> bool:
        """Whether the feed shows what is so now."""
        return self.status.mode in ("live", "sampled")

    def partitions_of(self, topic: str) -> Sequence[tuple[str, int]]:
        """The partitions of a topic, or all for "", that have a leader to ask."""
        rows = self.view.rows_of(topic) if topic else self.view.partitions
        return [row.key for row in rows if row.leader >= 0]

    def default_broker(self) -> int | None:
        """A broker that is up, to be asked what holds for all."""
        return next((row.id for row in self.view.brokers if row.state == "up"), None)

    # -- taking

    def take(self, poll: Poll, answer: Answer) -> None:
        """Keep an answer, and what it says of how numbers go."""
        self.answers[poll] = answer
        if answer.problem or answer.at_ms is None:
            return
        if poll.kind == "ends":
            self._take_ends(answer)
        elif poll.kind == "ranges":
            self._take_range(poll.subject, answer)
        elif poll.kind == "lag":
            self._take_lag(poll.subject, answer.value, answer.at_ms)
        elif poll.kind == "lags":
            for group, lag in answer.value.items():
                if not isinstance(lag, str):
                    self._take_lag(group, lag, answer.at_ms)
        elif poll.kind == "broker configs":
            self._take_defaults(answer.value)

    def _take_ends(self, answer: Answer) -> None:
        by_topic: dict[str, int] = {}
        for (topic, partition), end in answer.value.items():
            # A leader that is away must not look like a topic that shrinks.
            if end is None:
                end = self._partition_ends.get((topic, partition), 0)
            self._partition_ends[(topic, partition)] = end
            by_topic[topic] = by_topic.get(topic, 0) + end
        at_ms = answer.at_ms or 0
        for topic, number in by_topic.items():
            _series(self.ends, topic).add(at_ms, number)
        _series(self.ends, "").add(at_ms, sum(by_topic.values()))

    def _take_range(self, topic: str, answer: Answer) -> None:
        for key, (_, end) in answer.value.items():
            if end is not None:
                self._partition_ends[key] = end
        known = [self._partition_ends.get(key, 0) for key in answer.value]
        _series(self.ends, topic).add(answer.at_ms or 0, sum(known))

    def _take_lag(self, group: str, lag: Any, at_ms: int) -> None:
        known = [each.lag for each in lag if each.lag is not None]
        _series(self.lags, group).add(at_ms, sum(known))
        committed = [each.committed for each in lag if each.committed is not None]
        _series(self.commits, group).add(at_ms, sum(committed))

    def _take_defaults(self, entries: Any) -> None:
        value = next((entry.value for entry in entries if entry.name == MIN_ISR), None)
        if value is not None and value.isdigit():
            self.view.set_default_min_isr(int(value))

    # -- derived

    def lag_per_second(self, group: str) -> float | None:
        """How fast a group's lag grows (above 0) or shrinks, records per second."""
        samples = self.lags.get(group)
        return samples.per_second(30_000) if samples is not None else None

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


def _series(into: dict[str, Samples], name: str) -> Samples:
    found = into.get(name)
    if found is None:
        if len(into) >= SERIES_MAX:
            into.pop(next(iter(into)))
        found = into[name] = Samples(SAMPLES)
    return found
