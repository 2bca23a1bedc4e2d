"""Clients of other languages, each in one process that is asked by lines of JSON.

A driver is started when it is first needed and serves every test of the run; requests to it may
overlap. Every wait has a limit, and a driver that dies fails whoever waits with what it said.
"""

import base64
import contextlib
import itertools
import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tests.interop.clients import MESSAGE_BYTES, MODES, Mode, Row
from tests.interop.foreign import PROGRAMS, Absent, Program

# A request takes at most as long as the driver waits for its client, and a little.
ANSWER_SECONDS = 150.0
END_SECONDS = 60.0

Event = dict[str, Any]


class ClientError(Exception):
    """What the foreign client raised: the name that it gives the error, and its words."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class Driver:
    """One process; `ask` blocks, members and loads hear of their events by `listen`."""

    def __init__(self, program: Program) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            program.command,
            env={**os.environ, **program.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[Event]] = {}
        self._listeners: dict[tuple[str, int], Callable[[Event], None]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told: Event = json.loads(line)
            with self._lock:
                waiting = self._waiting.pop(told["id"], None) if "id" in told else None
                listener = None
                for kind in ("member", "load"):
                    if kind in told:
                        listener = self._listeners.get((kind, told[kind]))
            if waiting is not None:
                waiting.put(told)
            elif listener is not None:
                listener(told)
        with self._lock:
            left = list(self._waiting.values())
            self._waiting.clear()
        for each in left:
            each.put({"error": {"name": "DriverEnded", "text": self.last_words()}})

    def last_words(self) -> str:
        """What it wrote beside its answers."""
        self._errors.seek(0)
        return self._errors.read()[-4000:].decode(errors="replace")

    def next_number(self) -> int:
        """A number for a member or a load."""
        return next(self._ids)

    def listen(self, kind: str, number: int, listener: Callable[[Event], None]) -> None:
        """Hear of the events of a member or a load; `listener` is called by the reading thread."""
        with self._lock:
            self._listeners[kind, number] = listener

    def ask(self, verb: str, **fields: Any) -> Any:
        """One request and its answer; raises ClientError with what the client raised."""
        answer: queue.SimpleQueue[Event] = queue.SimpleQueue()
        number = next(self._ids)
        line = json.dumps({"id": number, "do": verb, **fields}).encode() + b"\n"
        assert self._process.stdin is not None
        with self._lock:
            self._waiting[number] = answer
            try:
                self._process.stdin.write(line)
                self._process.stdin.flush()
            except OSError as error:
                raise ClientError("DriverEnded", self.last_words()) from error
        try:
            told = answer.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise ClientError("NoAnswer", f"{verb}: nothing within {ANSWER_SECONDS} s") from None
        if "error" in told:
            raise ClientError(told["error"]["name"], told["error"]["text"])
        return told["ok"]

    def close(self) -> None:
        """The end of its input ends it."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_SECONDS)
        self._reader.join(END_SECONDS)
        self._errors.close()


_RUNNING: dict[str, Driver] = {}
_MISSING: dict[str, str] = {}


def driver(kind: str) -> Driver:
    """The running driver of that kind, started when there is none. Raises Absent."""
    if kind in _MISSING:
        raise Absent(_MISSING[kind])
    if kind not in _RUNNING:
        try:
            _RUNNING[kind] = Driver(PROGRAMS[kind]())
        except Absent as missing:
            _MISSING[kind] = str(missing)
            raise
    return _RUNNING[kind]


def close_all() -> None:
    """End every driver of this run."""
    while _RUNNING:
        _, running = _RUNNING.popitem()
        running.close()


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


class DriverClient:
    """A client of another language, as the tests know clients."""

    def __init__(self, name: str, kind: str, *, needs_content: bool = False) -> None:
        self.name = name
        self.kind = kind
        self.needs_content = needs_content

    def missing(self) -> str | None:
        try:
            driver(self.kind)
        except Absent as missing:
            return str(missing)
        return None

    def version(self) -> str:
        return str(driver(self.kind).ask("version")["version"])

    def create_topic(
        self, bootstrap: str, name: str, partitions: int, configs: dict[str, str]
    ) -> None:
        driver(self.kind).ask(
            "create_topic",
            bootstrap=bootstrap,
            topic=name,
            partitions=partitions,
            replication=3,
            configs=configs,
        )

    def produce(
        self,
        bootstrap: str,
        topic: str,
        partition: int,
        rows: Sequence[Row],
        *,
        compression: str = "none",
        mode: Mode = MODES[2],
        max_bytes: int = MESSAGE_BYTES,
    ) -> list[int]:
        answer: list[int] = driver(self.kind).ask(
            "produce",
            bootstrap=bootstrap,
            topic=topic,
            partition=partition,
            compression=compression,
            acks=mode.acks,
            idempotent=mode.idempotent,
            max_bytes=max_bytes,
            rows=[
                {
                    "k": _text(row.key),
                    "v": _text(row.value),
                    "h": [[name, _text(value)] for name, value in row.headers],
                    "t": row.timestamp_ms,
                }
                for row in rows
            ],
        )
        return answer

    def consume(
        self, bootstrap: str, topic: str, partition: int, count: int, *, start: int = 0
    ) -> list[tuple[int, Row]]:
        found = driver(self.kind).ask(
            "consume",
            bootstrap=bootstrap,
            topic=topic,
            partition=partition,
            count=count,
            start=start,
        )
        rows = []
        for each in found:
            headers = tuple((name, _bytes(value)) for name, value in each["h"] or ())
            rows.append((each["o"], Row(_bytes(each["k"]), _bytes(each["v"]), headers, each["t"])))
        return rows

    def offsets(
        self, bootstrap: str, topic: str, partition: int, times_ms: Iterable[int]
    ) -> tuple[int, int, list[int | None]]:
        found = driver(self.kind).ask(
            "offsets", bootstrap=bootstrap, topic=topic, partition=partition, times=list(times_ms)
        )
        return found["low"], found["high"], found["found"]

    def begin_transaction(self, bootstrap: str, transactional_id: str) -> None:
        driver(self.kind).ask("begin_transaction", bootstrap=bootstrap, name=transactional_id)

    def error_name(self, error: Exception) -> str:
        assert isinstance(error, ClientError)
        return error.name


JAVA = DriverClient("java", "java")
FRANZ_GO = DriverClient("franz-go", "go")
# It can't send a header without a value.
KAFKAJS = DriverClient("kafkajs", "node", needs_content=True)
