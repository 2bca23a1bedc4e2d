"""How things are drawn as text: signs, rows of brokers, fading trails, sparklines, numbers.

Pure. State is told by shape and word first, by colour second, so that a screen without colour says
the same.
"""

import math
from collections.abc import Sequence

from rich.text import Text

from clusters.watch.events import EventKind
from tui.model import TRAIL_MS, Flash, Health, PartitionRow

SIGNS = {
    Health.OK: "●",
    Health.UNDER_REPLICATED: "◐",
    Health.UNDER_MIN_ISR: "◔",
    Health.OFFLINE: "✖",
}
CLASSES = {
    Health.OK: "",
    Health.UNDER_REPLICATED: "warning",
    Health.UNDER_MIN_ISR: "error",
    Health.OFFLINE: "error",
}
EVENT_SIGNS = {
    EventKind.LEADER_MOVED: "⇄",
    EventKind.ISR_SHRUNK: "▼",
    EventKind.ISR_EXPANDED: "▲",
    EventKind.REPLICAS_CHANGED: "⇢",
    EventKind.UNCLEAN_ELECTION: "‼",
    EventKind.BROKER_FENCED: "✖",
    EventKind.BROKER_LEFT: "✖",
    EventKind.BROKER_STOPPING: "◐",
    EventKind.LOG_DIR_OFFLINE: "✖",
    EventKind.LOG_DIR_ONLINE: "●",
    EventKind.BROKER_UNFENCED: "●",
    EventKind.BROKER_JOINED: "●",
    EventKind.CONTROLLER_CHANGED: "★",
    EventKind.TOPIC_CREATED: "+",
    EventKind.PARTITIONS_ADDED: "+",
    EventKind.TOPIC_DELETED: "-",
}
ALARMING = (
    EventKind.ISR_SHRUNK,
    EventKind.BROKER_FENCED,
    EventKind.BROKER_LEFT,
    EventKind.LOG_DIR_OFFLINE,
    EventKind.UNCLEAN_ELECTION,
)
BARS = " ▁▂▃▄▅▆▇█"
TRAIL_SIGNS = 4
FRESH_MS, RECENT_MS = 4_000, 20_000


def replicas_text(row: PartitionRow) -> Text:
    """Replicas in preferred order: the leader in brackets, one out of sync behind a cross."""
    text = Text()
    for replica in row.replicas:
        if replica == row.leader:
            text.append(f"<{replica}>", "bold")
        elif replica in row.isr:
            text.append(f" {replica} ")
        else:
            text.append(f"✗{replica} ", "bold")
    return text


def brokers_text(
    row: PartitionRow,
    brokers: Sequence[int],
    fresh: bool = False,
    down: Sequence[int] = (),
    silent: Sequence[int] = (),
) -> Text:
    """A place for each broker: ◆ leader, ● in sync, ○ behind, ✖ down, · holds nothing, and ? for
    one that holds it and does not answer, though it counts as up.
    """
    text = Text()
    for broker in brokers:
        width = max(1, len(str(broker)))
        if broker in silent and broker in row.replicas:
            sign, style = "?", "bold reverse" if broker == row.leader else "bold"
        elif broker == row.leader:
            sign, style = "◆", "bold reverse" if fresh else "bold"
        elif broker in down and broker in row.replicas:
            sign, style = "✖", "bold"
        elif broker in row.isr:
            sign, style = "●", ""
        elif broker in row.replicas:
            sign, style = "○", "bold"
        else:
            sign, style = "·", "dim"
        text.append(sign.center(width), style)
        text.append(" ")
    return text


def trail_phase(trail: Sequence[Flash], now_ms: int) -> tuple[int, ...]:
    """How far the changes that `trail_text` shows have faded: the same while it draws the same."""
    return tuple(
        3 if age_ms >= TRAIL_MS else 0 if age_ms < FRESH_MS else 1 if age_ms < RECENT_MS else 2
        for age_ms in (now_ms - flash.at_ms for flash in trail[-TRAIL_SIGNS:])
    )


def trail_text(trail: Sequence[Flash], now_ms: int) -> Text:
    """The last changes, newest first: reversed when new, then bold, plain, dim, gone."""
    text = Text()
    for flash in list(reversed(trail))[:TRAIL_SIGNS]:
        age_ms = now_ms - flash.at_ms
        if age_ms >= TRAIL_MS:
            break
        style = "bold reverse" if age_ms < FRESH_MS else "bold" if age_ms < RECENT_MS else "dim"
        text.append(EVENT_SIGNS.get(flash.kind, "·"), style)
    return text


def sparkline(values: Sequence[float], width: int, top: float | None = None) -> str:
    """The last `width` values as bars; anything above zero is seen."""
    shown = list(values)[-width:]
    highest = max([*shown, top or 0.0], default=0.0)
    return "".join(_bar(value, highest) for value in shown).rjust(width)


def _bar(value: float, highest: float) -> str:
    if highest <= 0 or value <= 0:
        return BARS[0] if highest <= 0 else "▁" if value > 0 else BARS[0]
    return BARS[max(1, min(8, math.ceil(value / highest * 8)))]


def plot(values: Sequence[float], width: int, height: int) -> list[str]:
    """Bars over several lines, the highest line first."""
    shown = list(values)[-width:]
    highest = max(shown, default=0.0)
    lines = []
    for level in range(height - 1, -1, -1):
        line = ""
        for value in shown:
            eighths = math.ceil(value / highest * height * 8) if highest > 0 else 0
            line += BARS[max(0, min(8, eighths - level * 8))]
        lines.append(line.rjust(width))
    return lines


def age(milliseconds: int) -> str:
    """A duration for reading: `3 s`, `4 min`, `5 h`."""
    seconds = max(0, milliseconds) // 1000
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7_200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"


def seconds(milliseconds: int) -> str:
    """A short duration to a tenth: `1.4 s`; as `age` from ten seconds on."""
    return f"{milliseconds / 1000:.1f} s" if 0 <= milliseconds < 10_000 else age(milliseconds)


def count(number: float | None) -> str:
    """A number for reading: 950, 12.3k, 4.56M; `-` when it is not known."""
    if number is None:
        return "-"
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= size:
            return f"{number / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{number:.0f}" if number == int(number) or abs(number) >= 100 else f"{number:.1f}"


def said_value(name: str, value: str) -> str:
    """A setting's value, with what a person reads beside what machines write."""
    if not value.isdigit() or int(value) < 1_000:
        return value
    if name.endswith(".ms"):
        return f"{value} ({age(int(value))})"
    return f"{value} ({size(int(value))})" if name.endswith(".bytes") else value


def number_text(number: int) -> Text | str:
    """A number of things that should not be: nothing of it steps back."""
    return str(number) if number else Text("0", "dim")


def size(number_bytes: float | None) -> str:
    """Bytes for reading: `812 B`, `3.4 MiB`."""
    if number_bytes is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number_bytes) < 1024:
            return f"{number_bytes:.0f} {unit}" if unit == "B" else f"{number_bytes:.3g} {unit}"
        number_bytes /= 1024
    return f"{number_bytes:.3g} TiB"
