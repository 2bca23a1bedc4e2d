"""Makes two answers comparable by the rules of rules.yaml, and finds where they differ.

Pure: takes plain values, gives differences. Judges nothing: what may differ stands in allowed.yaml.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import yaml

from broker.protocol.batch import crc_matches, decode_records, iter_batches
from broker.protocol.errors import LogctlError, TornBatch
from broker.protocol.struct import ZERO_UUID
from tests.differential.cases import PREFIX

FOLDER = Path(__file__).parent
MISSING: Final = "(not there)"
_NOW_MS_WITHIN: Final = 3_600_000


@dataclass(frozen=True)
class Difference:
    """One place where the answers differ; `MISSING` when one side has nothing there."""

    path: str
    kafka: Any
    logd: Any
    step: str = ""

    def __str__(self) -> str:
        where = f"{self.step} " if self.step else ""
        return f"{where}{self.path}: Apache Kafka {_short(self.kafka)}, logd {_short(self.logd)}"


def _short(value: Any) -> str:
    text = value if value is MISSING else repr(value)
    return text if len(text) <= 160 else f"{text[:160]}..."


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace(r"\*", ".*"), re.DOTALL)


def matches(pattern: str, path: str) -> bool:
    """Whether the path is one of the pattern's; `*` stands for any text."""
    return _pattern(pattern).fullmatch(path) is not None


@dataclass(frozen=True)
class Rules:
    """rules.yaml."""

    dropped: Sequence[Mapping[str, str]]
    ids: Sequence[Mapping[str, str]]
    times: Sequence[Mapping[str, str]]
    keyed: Sequence[Mapping[str, str]]
    own: Sequence[Mapping[str, str]]
    sets: Sequence[Mapping[str, str]]

    @classmethod
    def load(cls, path: Path = FOLDER / "rules.yaml", *, brokers: int = 1) -> "Rules":
        """The rules for sides of so many brokers: with several, they may choose differently."""
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        of_several = raw.pop("dropped_of_several")
        if brokers > 1:
            raw["dropped"] += of_several
        return cls(**raw)

    @cache  # noqa: B019  one instance lives as long as the run
    def find(self, kind: str, path: str) -> Mapping[str, str] | None:
        found: Mapping[str, str] | None = None
        for rule in getattr(self, kind):
            if matches(rule["path"], path):
                found = rule
        return found

    def __hash__(self) -> int:
        return id(self)


@dataclass
class Normaliser:
    """One side's answers of one run of a case, in order: the same id gets the same name."""

    rules: Rules
    now_ms: int
    # Text of this side alone, such as its port and its folder, and what stands for it.
    texts: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[int, str] = field(default_factory=dict)
    # What the run's own things are called, or begin with and a dash; "": all that cases made counts.
    case: str = ""
    _names: dict[Any, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def know(self, kind: str, value: Any, name: str) -> None:
        """Name a generated value before it appears."""
        self._names[kind, value] = f"<{name}>"

    def answer(self, api: str, plain: Any) -> Any:
        """The comparable form of a whole answer, given as dicts and lists."""
        return self._value(api, plain)

    def _value(self, path: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                name: self._value(f"{path}.{name}", item)
                for name, item in value.items()
                if not self.rules.find("dropped", f"{path}.{name}")
            }
        if isinstance(value, list):
            return self._list(path, value)
        return self._scalar(path, value)

    def _list(self, path: str, items: list[Any]) -> Any:
        if own := self.rules.find("own", path):
            also = own.get("also", ())
            of_case = self.case if "of_case" in own else ""
            items = [
                each
                for each in items
                if _is_own(str(each[own["by"]]), of_case) or each[own["by"]] in also
            ]
        if self.rules.find("sets", path):
            items = sorted(items)
        keyed = self.rules.find("keyed", path)
        if keyed is None:
            return [self._value(f"{path}[{at}]", item) for at, item in enumerate(items)]
        entries: dict[str, Any] = {}
        for item in sorted(items, key=lambda each: self._order(path, keyed["by"], each)):
            field, value = _key(keyed["by"], item)
            key = self._scalar(f"{path}[*].{field}", value)
            while key in entries:
                key = f"{key}, another"
            entries[key] = self._value(f"{path}[{key}]", item)
        return Keyed(entries)

    def _order(self, path: str, by: str, item: Mapping[str, Any]) -> tuple[str, str]:
        """Entries whose key is a generated id come in the order of the rest of them."""
        field, value = _key(by, item)
        rule = self.rules.find("ids", f"{path}[*].{field}")
        rest = {name: each for name, each in item.items() if name != field}
        if rule is None:
            return str(value), str(rest)
        return self._names.get((rule["kind"], value), ""), str(rest)

    def _scalar(self, path: str, value: Any) -> Any:
        if isinstance(value, memoryview) or (isinstance(value, bytes) and path.endswith("records")):
            return self._records(path, bytes(value))
        if (rule := self.rules.find("ids", path)) and value not in (ZERO_UUID, -1, "", None):
            return self._name(rule["kind"], value) if value or rule["kind"] == "producer" else 0
        if self.rules.find("times", path) and abs(value - self.now_ms) < _NOW_MS_WITHIN:
            return "<about now>"
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, bytes):
            return _text(value)
        if isinstance(value, UUID):
            return str(value)
        if isinstance(value, str):
            return self._own_text(value)
        if path.endswith(".port"):
            return self.numbers.get(value, value)
        return int(value) if isinstance(value, int) else value

    def _name(self, kind: str, value: Any) -> str:
        if (kind, value) not in self._names:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._names[kind, value] = f"<{kind} {self._counts[kind]}>"
        return self._names[kind, value]

    def _own_text(self, value: str) -> str:
        for text, name in self.texts.items():
            value = value.replace(text, name)
        return value

    def _records(self, path: str, data: bytes) -> Any:
        batches = []
        try:
            for position, header in iter_batches(data):
                entry = {k: v for k, v in header._asdict().items() if k != "crc"}
                if header.log_append_time:
                    entry["max_timestamp_ms"] = self._time(header.max_timestamp_ms)
                entry["producer_id"] = self._scalar(f"{path}[*].producer_id", header.producer_id)
                entry["crc_matches"] = crc_matches(data, position, header)
                entry["records"] = [
                    {
                        "offset": r.offset,
                        "timestamp_ms": self._time(r.timestamp_ms)
                        if header.log_append_time
                        else r.timestamp_ms,
                        "key": None if r.key is None else _text(r.key),
                        "value": None if r.value is None else _text(r.value),
                        "headers": [[k, None if v is None else _text(v)] for k, v in r.headers],
                    }
                    for r in decode_records(data, position)
                ]
                batches.append(entry)
        except TornBatch:
            # A reader drops the torn batch at the end of what a limit on bytes let through.
            if not batches:
                batches.append({"unreadable": "a torn batch and nothing before it"})
        except LogctlError as error:
            batches.append({"unreadable": type(error).__name__})
        return batches

    def _time(self, value: int) -> Any:
        return "<about now>" if abs(value - self.now_ms) < _NOW_MS_WITHIN else value


def _is_own(name: str, case: str) -> bool:
    return name == case or name.startswith(f"{case}-") if case else name.startswith(PREFIX)


class Keyed(dict[str, Any]):
    """A list whose order means nothing, by the key of its entries."""


def _key(by: str, item: Mapping[str, Any]) -> tuple[str, Any]:
    """The first of the fields `a|b` that says something."""
    names = by.split("|")
    for name in names:
        if item[name] not in ("", None, ZERO_UUID):
            return name, item[name]
    return names[0], item[names[0]]


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"0x{value.hex()}"
    return text if text.isprintable() else f"0x{value.hex()}"


def differences(kafka: Any, logd: Any, path: str) -> Iterator[Difference]:
    """Every place where the normalised answers differ, deepest first found."""
    if isinstance(kafka, dict) and isinstance(logd, dict):
        for name in {**kafka, **logd}:
            inner = f"{path}[{name}]" if isinstance(kafka, Keyed) else f"{path}.{name}"
            yield from differences(kafka.get(name, MISSING), logd.get(name, MISSING), inner)
    elif isinstance(kafka, list) and isinstance(logd, list):
        for at in range(max(len(kafka), len(logd))):
            theirs = kafka[at] if at < len(kafka) else MISSING
            ours = logd[at] if at < len(logd) else MISSING
            yield from differences(theirs, ours, f"{path}[{at}]")
    elif kafka != logd or type(kafka) is not type(logd):
        yield Difference(path, kafka, logd)


@dataclass
class Allowance:
    """An entry of allowed.yaml: differences at these paths are meant, for the reason given."""

    paths: Sequence[str]
    reason: str
    cases: Sequence[str] = ("*",)
    kafka: Any = ...
    logd: Any = ...
    used: int = 0

    def covers(self, case: str, difference: Difference) -> bool:
        return (
            any(matches(path, difference.path) for path in self.paths)
            and any(matches(name, case) for name in self.cases)
            and self.kafka in (..., difference.kafka)
            and self.logd in (..., difference.logd)
        )


def load_allowed(*, brokers: int = 1) -> list[Allowance]:
    """The allowances for the cases of one broker, or of several."""
    path = FOLDER / ("allowed.yaml" if brokers == 1 else "allowed_of_three.yaml")
    entries = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    return [Allowance(**entry) for entry in entries]


def judge(case: str, found: list[Difference], allowed: list[Allowance]) -> list[Difference]:
    """The differences that no allowance covers; allowances count what they cover."""
    left = []
    for difference in found:
        covering = [each for each in allowed if each.covers(case, difference)]
        for each in covering:
            each.used += 1
        if not covering:
            left.append(difference)
    return left
