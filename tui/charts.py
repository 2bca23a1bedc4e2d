"""Plots of numbers over time with an axis that can be read. Pure."""

from collections.abc import Sequence

from tui.drawing import count, plot
from tui.prose import Prose

LABEL = 6


def chart(
    prose: Prose,
    values: Sequence[float],
    width: int,
    height: int,
    *,
    over_ms: int = 0,
    from_zero: bool = True,
) -> Prose:
    """Add a plot of `height` lines, `width` cells with its axis: the highest value stands above.

    `over_ms` is the time from the first value to the last, named below the plot; 0 leaves the line
    of times out. Not `from_zero`, the axis begins a little below the lowest value: for levels that
    change by little beside what they are.
    """
    if not values:
        return prose
    cells = max(4, width - LABEL - 1)
    shown = list(values)[-cells:]
    highest, base = max(shown), 0.0
    if not from_zero and 0 < min(shown) < highest:
        base = max(0.0, min(shown) - (highest - min(shown)) / 10)
    rows = max(1, height - (1 if over_ms else 0))
    for number, line in enumerate(plot([value - base for value in shown], cells, rows)):
        # Where all is zero one line says so.
        top = count(highest) if highest > base else ""
        label = count(base) if number == rows - 1 else top if number == 0 else ""
        prose.line().append(f"{label:>{LABEL}}", "dim").append("┤" if label else "│", "dim")
        prose.append(line, "accent")
    if over_ms:
        ago = over_ms * len(shown) // max(1, len(values))
        start = max(0, cells - len(shown))
        said = f"{_span(ago)} ago"
        gap = cells - start - len(said) - 3
        times = " " * start + said + " " * gap + "now" if gap > 0 else "now".rjust(cells)
        prose.line().append(" " * LABEL + "└" + times, "dim")
    return prose


def _span(milliseconds: int) -> str:
    seconds = max(0, milliseconds) // 1000
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
