"""What a setting is: its name, type, default, bounds and words. Pure; it never reads a file.

Values travel and are stored as text, as in Kafka; ``Setting.parse`` gives the typed value and is
the only place that decides whether a text is acceptable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, IntEnum
from typing import Final

from broker.protocol.errors import LogctlError

INT_MAX: Final = 2**31 - 1
LONG_MAX: Final = 2**63 - 1

Value = bool | int | float | str | tuple[str, ...] | None
Check = Callable[[Value], str | None]


class ConfigType(IntEnum):
    """Kafka's numbers for the type of a setting, as DescribeConfigs returns them."""

    UNKNOWN = 0
    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class ConfigSource(IntEnum):
    """Kafka's numbers for where a value comes from, strongest first."""

    TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5


class Update(Enum):
    """When a broker setting may change: only with a restart, or while running."""

    READ_ONLY = "read-only"
    PER_BROKER = "per-broker"
    CLUSTER_WIDE = "cluster-wide"


class InvalidSetting(LogctlError):
    """A setting's name is unknown or its value is not acceptable. The text says which and why."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. ``default`` is text; None means that it is not set."""

    name: str
    type: ConfigType
    default: str | None
    documentation: str
    check: Check | None = None
    update: Update = Update.READ_ONLY
    sensitive: bool = False

    @property
    def read_only(self) -> bool:
        """Whether it changes only with a restart."""
        return self.update is Update.READ_ONLY

    def parse(self, text: str | None) -> Value:
        """The typed value of a text. Raises InvalidSetting."""
        if text is None:
            return None
        try:
            value = _PARSERS[self.type](text)
        except ValueError as error:
            raise InvalidSetting(
                f"Invalid value {text} for configuration {self.name}: {error}"
            ) from None
        problem = self.check(value) if self.check is not None else None
        if problem is not None:
            raise InvalidSetting(f"Invalid value {text} for configuration {self.name}: {problem}")
        return value

    @property
    def default_value(self) -> Value:
        """The default as a typed value."""
        return self.parse(self.default)


def setting_named(settings: dict[str, Setting], name: str, kind: str) -> Setting:
    """Look a setting up. Raises InvalidSetting that names the nearest known one."""
    found = settings.get(name)
    if found is not None:
        return found
    near = get_close_matches(name, settings, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InvalidSetting(f"Unknown {kind} config name: {name}{hint}")


def at_least(low: float) -> Check:
    """Accept numbers from ``low`` on."""

    def check(value: Value) -> str | None:
        assert isinstance(value, int | float)
        return None if value >= low else f"Value must be at least {low}"

    return check


def between(low: float, high: float) -> Check:
    """Accept numbers from ``low`` to ``high``, both included."""

    def check(value: Value) -> str | None:
        assert isinstance(value, int | float)
        return None if low <= value <= high else f"Value must be between {low} and {high}"

    return check


def one_of(*allowed: str) -> Check:
    """Accept exactly these words."""

    def check(value: Value) -> str | None:
        return None if value in allowed else f"String must be one of: {', '.join(allowed)}"

    return check


def all_of(*allowed: str) -> Check:
    """Accept lists made of these words only."""

    def check(value: Value) -> str | None:
        assert isinstance(value, tuple)
        wrong = [word for word in value if word not in allowed]
        return f"String must be one of: {', '.join(allowed)}" if wrong else None

    return check


def throttled_replicas(value: Value) -> str | None:
    """Accept ``*``, ``none`` or a list of ``partition:broker`` pairs."""
    assert isinstance(value, tuple)
    if value in (("*",), ("none",)):
        return None
    for pair in value:
        partition, colon, broker = pair.partition(":")
        if not (colon and partition.isdigit() and broker.isdigit()):
            return f"{pair!r} is not of the form partition:broker, and neither is it * nor none"
    return None


def address_limits(value: Value) -> str | None:
    """Accept a list of ``address:number`` pairs."""
    assert isinstance(value, str)
    for pair in split_list(value):
        address, colon, limit = pair.rpartition(":")
        if not (address and colon and limit.isdecimal()):
            return f"{pair!r} is not of the form address:number"
    return None


def index(settings: Iterable[Setting]) -> dict[str, Setting]:
    """Settings by name, sorted; each name once, each default valid."""
    result: dict[str, Setting] = {}
    for setting in sorted(settings, key=lambda s: s.name):
        assert setting.name not in result, f"{setting.name} is defined twice"
        setting.parse(setting.default)
        result[setting.name] = setting
    return result


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word not in ("true", "false"):
        raise ValueError("Expected value to be either true or false")
    return word == "true"


def _integer(low: int, high: int, kind: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text.strip().replace("_", "x"))
        except ValueError:
            raise ValueError(f"Not a number of type {kind}") from None
        if not low <= value <= high:
            raise ValueError(f"Not a number of type {kind}")
        return value

    return parse


def _double(text: str) -> float:
    try:
        return float(text.strip())
    except ValueError:
        raise ValueError("Not a number of type DOUBLE") from None


def split_list(text: str) -> tuple[str, ...]:
    """The elements of a list value: separated by commas, spaces around them dropped."""
    stripped = text.strip()
    return tuple(part.strip() for part in stripped.split(",")) if stripped else ()


_PARSERS: Final[dict[ConfigType, Callable[[str], Value]]] = {
    ConfigType.BOOLEAN: _boolean,
    ConfigType.STRING: str.strip,
    ConfigType.INT: _integer(-(2**31), INT_MAX, "INT"),
    ConfigType.SHORT: _integer(-(2**15), 2**15 - 1, "SHORT"),
    ConfigType.LONG: _integer(-(2**63), LONG_MAX, "LONG"),
    ConfigType.DOUBLE: _double,
    ConfigType.LIST: split_list,
    ConfigType.CLASS: str.strip,
    ConfigType.PASSWORD: str,
}
