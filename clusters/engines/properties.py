"""Kafka-style properties text. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def properties_text(values: Mapping[str, str], *, heading: str) -> str:
    """`key=value` lines under a comment; backslashes are doubled as the format asks.

    Raises ValueError for text with line breaks, which could smuggle in another setting.
    """
    lines = [f"# {line}" for line in heading.splitlines()]
    for name, value in values.items():
        if any(character in name + value for character in "\r\n\0"):
            raise ValueError(f"the setting {name!r} holds a line break")
        escaped = value.replace("\\", "\\\\")
        lines.append(f"{name}={escaped}")
    return "\n".join(lines) + "\n"
