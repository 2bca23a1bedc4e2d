"""Lines of words on the dashboard: status, tabs, keys, guide. Pure text from what is known."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text
from textual.content import Content

from clusters.watch import FeedStatus
from tui.badge import badge
from tui.drawing import age
from tui.model import ClusterView
from tui.prose import Prose

if TYPE_CHECKING:
    from tui.doors import Guide

STALE_MS = 5_000
WIDE = 100
HELP, MORE = "app.help", "…"
# Of a longer name so much is worth whole names of pages.
CRUMB_MAX = 36
SAMPLED_NOTE = "sampled: may miss changes"
MODES = {
    "live": "● live",
    "slow": "◔ slow, may be late",
    "sampled": "◌ sampled, may miss changes",
    "connecting": "… connecting",
    "lost": "✖ LOST",
}


MODE_TONES = {
    "live": "good",
    "slow": "warning",
    "sampled": "warning",
    "connecting": "warning",
    "lost": "bold",
}


def address_text(bootstrap: Sequence[str]) -> str:
    """What a cluster without a name is called: the first address of it."""
    more = f" +{len(bootstrap) - 1}" if len(bootstrap) > 1 else ""
    return f"{bootstrap[0]}{more}" if bootstrap else ""


def status_text(
    name: str | Content, status: FeedStatus, view: ClusterView, now_ms: int, width: int = WIDE
) -> Content:
    """The first line: whether this is live, and how the cluster stands.

    `name` may come as it is to be drawn. `now_ms` is since 1970; a screen of less than `width`
    WIDE leaves out who tells it.
    """
    drawn = name if isinstance(name, Content) else badge(name or "logctl", None)
    return drawn + _standing(status, view, now_ms, width)


def _standing(status: FeedStatus, view: ClusterView, now_ms: int, width: int) -> Content:
    prose = Prose()
    prose.append(f" {MODES.get(status.mode, status.mode)}", MODE_TONES.get(status.mode, "bold"))
    if status.mode != "live" and status.last_contact_ms:
        old_ms = now_ms - status.last_contact_ms
        if status.mode in ("slow", "lost") or old_ms > STALE_MS:
            prose.append(f" for {age(old_ms)}", "bold")
    if status.message and status.mode not in ("live", "sampled"):
        prose.append(f"  {status.message}")
    # What matters in an incident comes first: a narrow terminal cuts the end.
    health = view.health()
    if not health.brokers and status.mode != "live":
        # Nothing was ever told: a row of zeros would look like an answer.
        return prose.content()
    # Where nobody answers nothing is alarming any more: it is how things were.
    warning, error = ("bold", "bold") if status.mode == "lost" else ("warning", "error")
    down = health.brokers - health.brokers_up
    prose.append("  ").append(
        f"{'✖ ' if down else ''}brokers {health.brokers_up}/{health.brokers}", error if down else ""
    )
    if health.silent:
        prose.append(f"  ? {health.silent} silent", error)
    sign = "✖ " if health.offline else ""
    prose.append("  ").append(f"{sign}offline {health.offline}", error if health.offline else "")
    if health.under_min_isr:
        prose.append("  ").append(f"◔ under min ISR {health.under_min_isr}", error)
    sign = "◐ " if health.under_replicated else ""
    prose.append("  ").append(
        f"{sign}under-replicated {health.under_replicated}",
        warning if health.under_replicated else "",
    )
    if health.moving:
        prose.append("  ").append(f"⇢ moving {health.moving}", "bold")
    if view.moves_ms:
        prose.append(f"  ⇄ {len(view.moves_ms)}/min", "bold")
    prose.append(f"  partitions {health.partitions}")
    if status.source and width >= WIDE:
        prose.append(f"  from {status.source}", "dim")
    if status.message and status.mode == "sampled":
        # The mode has said the rest already.
        prose.append(f"  {status.message.removeprefix(SAMPLED_NOTE).strip(' ()')}", "dim")
    return prose.content()


def tabs_text(pages: Sequence[tuple[str, str]], current: str, crumb: str, width: int) -> Text:
    """The main pages with their keys, a click opens one; `crumb` is where else one is.

    One that is too long is cut: its page has all of it.
    """
    text = Text(no_wrap=True, overflow="ellipsis")
    elsewhere = current not in {kind for kind, _ in pages}
    crumbs = min(CRUMB_MAX, cell_len(crumb)) + 4 if elsewhere else 0
    short = width < sum(len(title) + 4 for _, title in pages) + crumbs
    for number, (kind, title) in enumerate(pages, 1):
        click = Style.from_meta({"@click": f"app.main('{kind}')"})
        if kind == current:
            text.append(f" {number} {title} ", Style(bold=True, reverse=True) + click)
        else:
            text.append(f" {number} {title[:4] if short else title} ", click)
    if elsewhere:
        room = max(2, width - text.cell_len - 4)
        cut = crumb if cell_len(crumb) <= room else set_cell_size(crumb, room - 1) + "…"
        text.append(f" » {cut} ", "bold reverse")
    return text


@lru_cache(maxsize=64)
def keys_text(keys: tuple[tuple[str, str, str], ...], width: int = 0) -> Text:
    """The keys of a page as (key, what it does, action); a click on one is like pressing it.

    In a line of `width` cells, 0 for any, none is cut: those at the end are left out, but never the
    one of the help, which has all of them, and a sign says so. Not to be changed: it is kept.
    """
    text = Text(no_wrap=True, overflow="ellipsis")
    shown = _fitting(keys, width) if width else keys
    for key, what, action in shown:
        meta = Style.from_meta({"@click": action})
        text.append(f" {key}", Style(bold=True, reverse=True) + meta)
        text.append(" ", meta)
        text.append(f"{what} ", meta)
    if len(shown) < len(keys):
        text.append(MORE, Style.from_meta({"@click": HELP}))
    return text


def _fitting(keys: Sequence[tuple[str, str, str]], width: int) -> list[tuple[str, str, str]]:
    """The first keys for which there is room, and the one of the help."""
    wide = [cell_len(key) + cell_len(what) + 3 for key, what, _ in keys]
    if sum(wide) <= width:
        return [*keys]
    room = (
        width
        - len(MORE)
        - sum(w for w, (_, _, action) in zip(wide, keys, strict=True) if action == HELP)
    )
    fits = True
    found = []
    for cells, each in zip(wide, keys, strict=True):
        if each[2] != HELP:
            room -= cells
            fits = fits and room >= 0
        if each[2] == HELP or fits:
            found.append(each)
    return found


def guide_text(guide: "Guide") -> Text:
    """The guide line: what happens, and the key that goes on."""
    text = Text()
    text.append(" … " if guide.busy else " ▶ ", "bold")
    text.append(guide.text)
    if guide.finished:
        text.append("  q quits.", "bold")
    elif not guide.busy:
        text.append("  Press n.", "bold")
    return text
