"""Bounded polls for what the metadata log does not tell: offsets, lag, sizes, the quorum's lag."""

from clusters.polls.poller import NO_ANSWER, Answer, Ask, Poll, Poller, PollKind
from clusters.polls.pulse import Pulse
from clusters.polls.questions import Questions
from clusters.polls.series import Buckets, Samples
from clusters.polls.standing import Standing

__all__ = [
    "NO_ANSWER",
    "Answer",
    "Ask",
    "Buckets",
    "Poll",
    "PollKind",
    "Poller",
    "Pulse",
    "Questions",
    "Samples",
    "Standing",
]
