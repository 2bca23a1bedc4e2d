"""Whether one broker answers: silent is told within a second, slow is not called silent."""

from hypothesis import given
from hypothesis import strategies as st

from clusters.polls.standing import LATE_MS, UNKNOWN, Heard


def answering(took_ms: int = 1, times: int = 4) -> tuple[Heard, int]:
    """One that has answered so many times, and the time of the last answer."""
    heard, now_ms = Heard(), 1_000
    for _ in range(times):
        heard.asked(now_ms)
        now_ms += took_ms
        heard.answered(now_ms)
        now_ms += 600
    return heard, now_ms - 600


def test_one_that_answers_is_well_and_one_not_asked_yet_is_unknown() -> None:
    assert Heard().standing(5) == UNKNOWN
    heard, last_ms = answering(3)
    assert heard.standing(last_ms).state == "answers"
    assert heard.standing(last_ms).took_ms == 3
    # Nothing was asked meanwhile: nothing is known to be wrong.
    assert heard.standing(last_ms + 60_000).state == "answers"


def test_no_answer_in_time_is_silence_since_the_last_answer() -> None:
    heard, last_ms = answering()
    heard.asked(last_ms + 600)
    assert heard.standing(last_ms + 600 + LATE_MS).state == "answers"
    found = heard.standing(last_ms + 601 + LATE_MS)
    assert (found.state, found.since_ms, found.reason) == ("silent", last_ms, "no answer")
    # That it is asked again meanwhile does not make the silence shorter.
    heard.asked(last_ms + 2_000)
    assert heard.standing(last_ms + 2_001).state == "silent"
    heard.answered(last_ms + 9_000)
    assert heard.standing(last_ms + 9_000).state == "answers"


def test_who_refuses_is_silent_at_once() -> None:
    heard, last_ms = answering()
    heard.failed(last_ms + 5, "connection refused")
    found = heard.standing(last_ms + 5)
    assert (found.state, found.since_ms, found.reason) == ("silent", last_ms, "connection refused")


def test_one_that_never_answered_is_not_reachable_and_not_silent() -> None:
    heard = Heard()
    heard.asked(1_000)
    assert heard.standing(4_999) == UNKNOWN
    heard.failed(5_000, "no answer within 4000 ms")
    found = heard.standing(9_000)
    assert (found.state, found.since_ms) == ("unreachable", 1_000)
    # It was reached before, by another connection: then it is silence.
    heard = Heard(reached=True)
    heard.asked(1_000)
    heard.failed(1_001, "connection refused")
    assert heard.standing(1_001).state == "silent"


def test_one_that_is_slow_as_a_rule_is_slow_and_not_silent() -> None:
    heard, last_ms = answering(2_500)
    assert heard.standing(last_ms).state == "slow"
    heard.asked(last_ms + 600)
    assert heard.standing(last_ms + 600 + 3 * 2_500).state == "slow"
    assert heard.standing(last_ms + 601 + 3 * 2_500).state == "silent"


def test_one_pause_is_no_rule() -> None:
    heard, now_ms = answering()
    heard.asked(now_ms)
    now_ms += 8_000
    heard.answered(now_ms)
    assert heard.standing(now_ms).state == "answers"
    heard.asked(now_ms)
    # The next silence is seen as soon as the first one was.
    assert heard.standing(now_ms + LATE_MS + 1).state == "silent"


@given(st.integers(0, 10_000_000), st.integers(0, 5_000))
def test_time_in_which_this_process_stood_still_is_nobodys_silence(
    still_ms: int, waited_ms: int
) -> None:
    heard, last_ms = answering()
    other, _ = answering()
    for each in (heard, other):
        each.asked(last_ms)
    now_ms = last_ms + waited_ms
    heard.stood_still(still_ms, now_ms + still_ms)
    assert heard.standing(now_ms + still_ms).state == other.standing(now_ms).state
