"""Plays a case against one side, and compares what both sides answered.

Every wait has a limit; a connection that a broker closes and an answer that does not come are
answers, too.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.codec import supported_versions
from broker.protocol.errors import (
    ConnectionFailed,
    DecodeError,
    RequestTimedOut,
    UnsupportedVersion,
)
from broker.protocol.struct import Struct, uuid_from_text
from tests.differential import bodies
from tests.differential.cases import PREFIX, Case, Step
from tests.differential.compare import Allowance, Difference, Normaliser, Rules, differences, judge
from tests.differential.sides import NODE, Side, Sides

NOW_MS = int(time.time() * 1000)
UNTIL_SECONDS = 60.0
# Known nowhere.
UNKNOWN_TOPIC_ID = "aaaaaaaaaaaaaaaaaaaaaA"


class CaseFailed(Exception):
    """The script itself did not work out, on the side that is named."""


@dataclass
class Answer:
    """What a step gave, in plain values."""

    label: str
    api: str
    plain: Any


@dataclass
class Player:
    """One run of a case at one version against one side."""

    side: Side
    case: Case
    version: int
    newest: Mapping[int, int]
    variables: dict[str, Any] = field(default_factory=dict)
    connections: dict[str, BrokerConnection] = field(default_factory=dict)
    waiting: dict[str, "tuple[Step, str, asyncio.Task[Any]]"] = field(default_factory=dict)

    async def play(self) -> list[Answer]:
        name = f"{PREFIX}{self.case.name}-v{self.version}"
        self.variables |= {
            "case": name,
            "now": NOW_MS,
            "node": NODE,
            "version": self.version,
            "unknown_id": UNKNOWN_TOPIC_ID,
        }
        try:
            await self._make_topics(name)
            answers = []
            for number, step in enumerate(self.case.steps, start=1):
                answer = await self._step(step, f"step {number}")
                if answer is not None:
                    answers.append(answer)
            return answers
        except KeyError as error:
            raise CaseFailed(f"{self.case.source}: {self.case.name}: {error}") from error
        finally:
            for _, _, task in self.waiting.values():
                task.cancel()
            for connection in self.connections.values():
                connection.close()

    # -- steps

    async def _step(self, step: Step, label: str) -> Answer | None:
        if step.stop is not None:
            await asyncio.to_thread(self.side.stop, step.stop)
            return None
        if step.start is not None:
            await self.side.start(step.start)
            return None
        if step.awaited is not None:
            sent, label, task = self.waiting.pop(step.awaited)
            both = replace(sent, keep={**sent.keep, **step.keep})
            return self._answer(both, label, await task)
        if step.background is not None:
            task = asyncio.ensure_future(self._outcome(step))
            self.waiting[step.background] = (step, label, task)
            # The request is written before the next step's, which may be on another connection.
            await asyncio.sleep(0.05)
            return None
        if step.until is None:
            return self._answer(step, label, await self._outcome(step))
        limit = time.monotonic() + UNTIL_SECONDS
        while True:
            outcome = await self._outcome(step)
            if all(_reaches(outcome, path, value) for path, value in step.until.items()):
                return self._answer(step, label, outcome)
            if time.monotonic() > limit:
                raise CaseFailed(f"{self.side.kind}: {label} never gave {step.until}: {outcome}")
            await asyncio.sleep(0.03)

    def _answer(self, step: Step, label: str, outcome: Any) -> Answer:
        for name, path in step.keep.items():
            try:
                self.variables[name] = pick(outcome, path)
            except (LookupError, TypeError):
                raise CaseFailed(
                    f"{self.side.kind}: {label} has no {path} to keep: {outcome}"
                ) from None
        return Answer(label, step.api.name, outcome)

    def _version(self, step: Step) -> int:
        if step.version is not None:
            return step.version
        return self.version if step.api == self.case.api else self.newest[step.api]

    async def _outcome(self, step: Step) -> Any:
        """The answer as dicts and lists, or what came instead of one."""
        if step.raw is not None:
            return await self._raw(bodies.fill(step.raw, self.variables))
        version = self._version(step)
        body = bodies.body(step.api, version, step.body, self.variables)
        connection = await self._connection(step.connection)
        try:
            answer = await connection.request(
                step.api, body, version=version, timeout_ms=step.timeout_ms, no_reply=step.no_reply
            )
        except ConnectionFailed:
            return {"connection": "closed"}
        except RequestTimedOut:
            return {"answer": "none in time"}
        except DecodeError as error:
            return {"unreadable": str(error)}
        return answer.to_dict()

    async def _connection(self, name: str) -> BrokerConnection:
        """The connection of that name; `broker-2` and `broker-2-other` lead to broker 2.

        `other-than-2` leads to some broker that is not the second.
        """
        name = str(bodies.fill(name, self.variables))
        known = self.connections.get(name)
        if known is None or known.closed:
            named = re.match(r"broker-(\d+)", name)
            node = int(named[1]) if named else NODE
            if unlike := re.match(r"other-than-(\d+)", name):
                node = min(set(self.side.cluster.ports) - {int(unlike[1])})
            known = self.connections[name] = await self.side.connect(node)
        return known

    async def _raw(self, entry: Mapping[str, Any]) -> Any:
        """A frame as it stands; gives the answer's bytes after the correlation id."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.side.port)
        try:
            if "frame" in entry:
                frame = bytes.fromhex(entry["frame"])
            else:
                numbers = entry["api_key"].to_bytes(2, "big") + entry["version"].to_bytes(2, "big")
                header = numbers + b"\0\0\0\x07" + b"\xff\xff" + b"\0" * entry.get("tags", 0)
                frame = header + bytes.fromhex(entry.get("body", ""))
                frame = len(frame).to_bytes(4, "big") + frame
            writer.write(frame)
            async with asyncio.timeout(5):
                size = int.from_bytes(await reader.readexactly(4), "big")
                return {"bytes": (await reader.readexactly(size))[4:].hex()}
        except (asyncio.IncompleteReadError, ConnectionError):
            return {"connection": "closed"}
        except TimeoutError:
            return {"answer": "none in time"}
        finally:
            writer.close()

    # -- the topics of the case

    async def _make_topics(self, prefix: str) -> None:
        connection = await self._connection("main")
        for name, topic in self.case.topics.items():
            full = f"{prefix}-{name}"
            configs = [{"name": k, "value": str(v)} for k, v in topic.configs.items()]
            assigned = [
                {"partition_index": index, "broker_ids": list(replicas)}
                for index, replicas in enumerate(topic.assignments)
            ]
            entry = {
                "name": full,
                "num_partitions": -1 if assigned else topic.partitions,
                "replication_factor": -1 if assigned else 1,
                "assignments": assigned,
                "configs": configs,
            }
            made = await connection.request(ApiKey.CREATE_TOPICS, {"topics": [entry]}, version=7)
            if made.topics[0].error_code:
                raise CaseFailed(f"{self.side.kind}: {full} was not made: {made.topics[0]}")
            self.variables[name] = full
            self.variables[f"{name}_id"] = made.topics[0].topic_id
            for node in self.side.cluster.processes if assigned else ():
                await self._known(await self._connection(f"broker-{node}"), full)
            leaders = [each[0] for each in topic.assignments] or [NODE] * topic.partitions
            for leader in sorted(set(leaders)):
                led = [index for index, node in enumerate(leaders) if node == leader]
                await self._led(await self._connection(f"broker-{leader}"), full, led)
            for batch in topic.batches:
                await self._fill(await self._connection(f"broker-{leaders[0]}"), full, batch)

    async def _known(self, connection: BrokerConnection, topic: str) -> None:
        """Wait until the broker at the other end has heard of the topic and its leaders."""
        limit = time.monotonic() + UNTIL_SECONDS
        body = {"topics": [{"name": topic}], "allow_auto_topic_creation": False}
        while True:
            (found,) = (await connection.request(ApiKey.METADATA, body, version=9)).topics
            if not found.error_code and not any(p.error_code for p in found.partitions):
                return
            if time.monotonic() > limit:
                raise CaseFailed(f"{self.side.kind}: {topic} is not known everywhere: {found}")
            await asyncio.sleep(0.01)

    async def _led(self, connection: BrokerConnection, topic: str, partitions: list[int]) -> None:
        """Wait until every partition answers as a leader, which metadata may announce earlier."""
        limit = time.monotonic() + UNTIL_SECONDS
        asked = [{"partition_index": index, "timestamp": -1} for index in partitions]
        body = {"replica_id": -1, "topics": [{"name": topic, "partitions": asked}]}
        while True:
            found = await connection.request(ApiKey.LIST_OFFSETS, body, version=8)
            if not any(p.error_code for p in found.topics[0].partitions):
                return
            if time.monotonic() > limit:
                raise CaseFailed(f"{self.side.kind}: {topic} has no leaders: {found}")
            await asyncio.sleep(0.005)

    async def _fill(self, connection: BrokerConnection, topic: str, batch: Any) -> None:
        records = bodies.batch({"records": bodies.fill(batch, self.variables), "timestamp": NOW_MS})
        partition = {"index": 0, "records": records}
        body = Struct(
            acks=-1,
            timeout_ms=5_000,
            topic_data=[{"name": topic, "partition_data": [partition]}],
        )
        answer = await connection.request(ApiKey.PRODUCE, body, version=12)
        found = answer.responses[0].partition_responses[0]
        if found.error_code:
            raise CaseFailed(f"{self.side.kind}: {topic} takes no records: {found}")


def pick(value: Any, path: str) -> Any:
    """The value at `topics.0.topic_id` or `configs.{name=retention.ms}.value`; or LookupError.

    `sorted` at the end puts a list in order.
    """
    for part in re.findall(r"\{[^}]*\}|[^.]+", path):
        if part.startswith("{"):
            name, _, wanted = part[1:-1].partition("=")
            value = next((each for each in value if str(each[name]) == wanted), None)
        elif part == "sorted":
            value = sorted(value)
        else:
            value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def _reaches(outcome: Any, path: str, value: Any) -> bool:
    try:
        return bool(pick(outcome, path) == value)
    except (LookupError, TypeError):
        return False


async def compare_at(
    sides: Sides, case: Case, version: int, rules: Rules
) -> tuple[list[Difference], list[list[Answer]]]:
    """Play the case on both sides; gives the differences and both lists of answers."""
    newest = {int(key): _newest(sides, key) for key in ApiKey}
    players = [Player(side, case, version, newest) for side in (sides.kafka, sides.logd)]
    answers = list(await asyncio.gather(*(player.play() for player in players)))
    normalisers = [_knowing(player, rules) for player in players]
    found: list[Difference] = []
    for theirs, ours in zip(*answers, strict=True):
        pair = [n.answer(a.api, a.plain) for n, a in zip(normalisers, (theirs, ours), strict=True)]
        inner = differences(pair[0], pair[1], theirs.api)
        found += [replace(difference, step=theirs.label) for difference in inner]
    return found, answers


def play_case(
    sides: Sides,
    case: Case,
    rules: Rules,
    allowed: list[Allowance],
    runner: asyncio.Runner,
    show: Callable[[int, list[list[Answer]]], None] = lambda version, answers: None,
) -> list[str]:
    """Every version of the case; gives one line for each difference that nothing allows."""
    both = sides.versions(case.api, supported_versions(case.api))
    if both is None:
        return [f"{case.api.name} is not served by both"]
    wrong: dict[str, list[int]] = {}
    for version in case.versions.of(*both):
        found, answers = runner.run(compare_at(sides, case, version, rules))
        show(version, answers)
        for difference in judge(case.name, found, allowed):
            text = str(difference).replace(f"{case.name}-v{version}", case.name)
            wrong.setdefault(text, []).append(version)
    return [f"versions {_ranges(versions)}: {text}" for text, versions in wrong.items()]


def _ranges(versions: list[int]) -> str:
    unique = sorted(set(versions))
    return f"{unique[0]}-{unique[-1]}" if len(unique) > 1 else str(unique[0])


def _newest(sides: Sides, key: ApiKey) -> int:
    try:
        both = sides.versions(key, supported_versions(key))
    except UnsupportedVersion:
        return 0
    return both[1] if both else 0


def _knowing(player: Player, rules: Rules) -> Normaliser:
    made = normaliser(player.side, rules)
    made.know("topic", uuid_from_text(UNKNOWN_TOPIC_ID), "unknown_id")
    made.case = player.variables["case"]
    for name, value in player.variables.items():
        if isinstance(value, UUID):
            made.know("topic", value, name)
    return made


def normaliser(side: Side, rules: Rules) -> Normaliser:
    texts, numbers = {str(side.folder): "<folder>"}, {}
    for name, ports in (
        ("port", side.cluster.ports),
        ("controller port", side.cluster.controller_ports),
    ):
        for node, port in ports.items():
            texts[f":{port}"] = f":<{name} {node}>"
            numbers[port] = f"<{name} {node}>"
    return Normaliser(rules, NOW_MS, texts, numbers)
