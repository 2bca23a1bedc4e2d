"""Durations and sizes with units, as people write them in YAML. Pure.

`7d`, `500ms`, `1.5h` are durations; `512MiB`, `1GB`, `64k` are sizes. A bare number keeps the unit
that the setting's name ends in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

DURATION_UNITS_MS: dict[str, int] = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}
SIZE_UNITS_BYTES: dict[str, int] = {
    "b": 1,
    "k": 1 << 10,
    "kb": 1_000,
    "kib": 1 << 10,
    "m": 1 << 20,
    "mb": 1_000_000,
    "mib": 1 << 20,
    "g": 1 << 30,
    "gb": 1_000_000_000,
    "gib": 1 << 30,
    "t": 1 << 40,
    "tb": 1_000_000_000_000,
    "tib": 1 << 40,
}
# How a setting's name tells its unit: the longest matching ending wins.
DURATION_NAMES_MS: dict[str, int] = {
    ".ms": 1,
    ".seconds": 1_000,
    ".minutes": 60_000,
    ".hours": 3_600_000,
}
SIZE_NAMES: tuple[str, ...] = (".bytes", ".buffer.size")

_QUANTITY = re.compile(r"(-?\d+(?:\.\d+)?)\s*([A-Za-z]+)")
_LONGEST = 64


def parse_duration_ms(text: str) -> Fraction:
    """Milliseconds of a duration such as `7d`. Raises ValueError with a message for the reader."""
    return _parse(text, DURATION_UNITS_MS, "duration", "500ms, 30s, 10m, 2h, 7d")


def parse_size_bytes(text: str) -> Fraction:
    """Bytes of a size such as `512MiB`. Raises ValueError with a message for the reader."""
    return _parse(text, SIZE_UNITS_BYTES, "size", "512KiB, 64MiB, 1GiB")


def _parse(text: str, units: dict[str, int], what: str, examples: str) -> Fraction:
    match = _QUANTITY.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    unit = units.get(match.group(2).lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f'"{text[:_LONGEST]}" is not a {what}; write it like {examples}')
    return Fraction(match.group(1)) * unit


def size_text(count_bytes: int) -> str:
    """A size for people, such as `1.5 GiB`."""
    size, unit = float(count_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.1f} {unit}"


def setting_text(name: str, value: object) -> str:
    """The text of a setting in a broker's configuration file.

    Booleans become `true`/`false`; a duration or size with a unit becomes a whole number in the
    unit of the setting's name. Raises ValueError with a message for the reader.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise ValueError("must be one value: text, a number, true or false")
    if any(character in value for character in "\r\n\0"):
        raise ValueError("must be one line of text")
    divisor, parse = _unit_of(name)
    text = value.strip()
    if parse is None or not text or _plain_number(text):
        return text
    exact = parse(text) / divisor
    if exact.denominator != 1:
        unit = name.rsplit(".", 1)[-1]
        raise ValueError(f'"{text}" is not a whole number of {unit}')
    return str(exact.numerator)


def _plain_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", text) is not None


def _unit_of(name: str) -> tuple[int, Callable[[str], Fraction] | None]:
    for ending, unit_ms in DURATION_NAMES_MS.items():
        if name.endswith(ending):
            return unit_ms, parse_duration_ms
    if name.endswith(SIZE_NAMES):
        return 1, parse_size_bytes
    return 1, None
