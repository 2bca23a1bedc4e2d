"""Members of consumer groups that are programs of their own: clients of other languages, and kcat.

The same small interface as `group_members`. Only processes started here are ever signalled.
"""

import re
import shutil
import signal
import subprocess
import threading
from typing import IO, ClassVar

from tests.interop.drivers import Event, driver
from tests.interop.foreign import Absent
from tests.interop.group_members import HEARTBEAT_MS, SESSION_MS, Member

END_SECONDS = 60.0


class DriverMember(Member):
    """A member inside of a driver, which tells what happens to it."""

    kind: ClassVar[str]
    assignor: ClassVar[str | None] = None

    @classmethod
    def missing(cls) -> str | None:
        try:
            driver(cls.kind)
        except Absent as absent:
            return str(absent)
        return None

    def run(self) -> None:
        running = driver(self.kind)
        number = running.next_number()
        running.listen("member", number, self._hear)
        running.ask(
            "join",
            bootstrap=self.bootstrap,
            member=number,
            group=self.group,
            topic=self.topic,
            instance=self.instance,
            assignor=self.assignor,
            session_ms=SESSION_MS,
            heartbeat_ms=HEARTBEAT_MS,
        )
        self._end.wait()
        running.ask("leave", member=number)

    def _hear(self, event: Event) -> None:
        self.seen += [(partition, offset) for partition, offset in event.get("seen", ())]
        if "assigned" in event and not self.ended:
            self.assigned = frozenset(event["assigned"])
            self.assignments += event["given"]
        if "failed" in event:
            self.failures.append(AssertionError(event["failed"]))


class JavaRange(DriverMember):
    kind = "java"
    assignor = "RangeAssignor"


class JavaCooperative(DriverMember):
    kind = "java"
    assignor = "CooperativeStickyAssignor"


class FranzGo(DriverMember):
    kind = "go"
    assignor = "cooperative-sticky"


class FranzGoRange(DriverMember):
    kind = "go"
    assignor = "range"


class KafkaJs(DriverMember):
    kind = "node"


class Kcat(Member):
    """kcat's balanced consumer; it commits by itself, at the latest when it ends."""

    @classmethod
    def missing(cls) -> str | None:
        return None if shutil.which("kcat") else "kcat"

    def run(self) -> None:
        settings = {
            "auto.offset.reset": "earliest",
            "session.timeout.ms": str(SESSION_MS),
            "heartbeat.interval.ms": str(HEARTBEAT_MS),
            "auto.commit.interval.ms": "500",
            "topic.metadata.refresh.interval.ms": "2000",
        }
        given = [part for item in settings.items() for part in ("-X", "=".join(item))]
        if self.instance is not None:
            given += ["-X", f"group.instance.id={self.instance}"]
        shown = ["-u", "-f", "%p %o\n"]
        process = subprocess.Popen(
            ["kcat", "-b", self.bootstrap, *given, *shown, "-G", self.group, self.topic],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [
            threading.Thread(target=self._records, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._words, args=(process.stderr,), daemon=True),
        ]
        for reader in readers:
            reader.start()
        self._end.wait()
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait(END_SECONDS)
        for reader in readers:
            reader.join(END_SECONDS)
        assert code == 0, f"kcat ended with {code}"

    def _records(self, lines: IO[str]) -> None:
        for line in lines:
            partition, offset = line.split()
            self.seen.append((int(partition), int(offset)))

    def _words(self, lines: IO[str]) -> None:
        for line in lines:
            if "rebalanced" in line and not self.ended:
                given = "assigned:" in line
                found = re.findall(r"\[(\d+)\]", line.partition("):")[2])
                self.assigned = frozenset(int(each) for each in found) if given else frozenset()
                self.assignments += given
