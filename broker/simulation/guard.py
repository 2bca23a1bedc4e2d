"""A limit on the processor time of a run: a callback that never returns stops virtual time too.

Must never be needed by a run that ends: it is the only place that knows real time.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from broker.simulation.violations import LivenessViolation


class OutOfTime(KeyboardInterrupt):
    """Too much processor time; the traceback shows where it went.

    An event loop lets only interrupts of this kind through to whoever runs it.
    """


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """LivenessViolation after `seconds` of processor time in this block; main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def out_of_time(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(f"no end after {seconds:g} s of processor time")

    before = signal.signal(signal.SIGVTALRM, out_of_time)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    except OutOfTime as error:
        violation = LivenessViolation(str(error))
        for note in getattr(error, "__notes__", ()):
            violation.add_note(note)
        raise violation from error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
