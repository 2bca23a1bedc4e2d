"""Lines of words on the dashboard: status, tabs, quorum, guide. Pure text from what is known."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text

from clusters.admin import QuorumInfo
from clusters.watch import FeedStatus
from tui.drawing import age
from tui.model import ClusterView

if TYPE_CHECKING:
    from tui.doors import Guide

STALE_MS = 5_000
MODES = {
    "live": "● live",
    "sampled": "◌ sampled, may miss changes",
    "connecting": "… connecting",
    "lost": "✖ LOST",
}


def status_text(name: str, status: FeedStatus, view: ClusterView, now_ms: int) -> Text:
    """The first line: whether this is live, and how the cluster stands; `now_ms` since 1970."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f" {name or 'logctl'} ", "bold")
    mode = MODES.get(status.mode, status.mode)
    text.append(f" {mode}", "bold" if status.mode != "live" else "")
    if status.mode != "live" and status.last_contact_ms:
        old_ms = now_ms - status.last_contact_ms
        if status.mode == "lost" or old_ms > STALE_MS:
            text.append(f" for {age(old_ms)}", "bold")
    if status.message and status.mode not in ("live", "sampled"):
        text.append(f"  {status.message}")
    # What matters in an incident comes first: a narrow terminal cuts the end.
    health = view.health()
    text.append(f"  brokers {health.brokers_up}/{health.brokers}")
    sign = "◐ " if health.under_replicated else ""
    text.append(
        f"  {sign}under-replicated {health.under_replicated}",
        "bold" if health.under_replicated else "",
    )
    sign = "✖ " if health.offline else ""
    text.append(f"  {sign}offline {health.offline}", "bold" if health.offline else "")
    if health.under_min_isr:
        text.append(f"  ◔ under min ISR {health.under_min_isr}", "bold")
    if view.moves_ms:
        text.append(f"  ⇄ {len(view.moves_ms)}/min")
    text.append(f"  partitions {health.partitions}")
    if status.source:
        text.append(f"  from {status.source}")
    if status.message and status.mode == "sampled":
        text.append(f"  {status.message}")
    return text


def tabs_text(pages: Sequence[tuple[str, str]], current: str, crumb: str, width: int) -> Text:
    """The main pages with their keys, a click opens one; `crumb` is where else one is."""
    text = Text(no_wrap=True, overflow="ellipsis")
    short = width < sum(len(title) + 4 for _, title in pages) + len(crumb) + 4
    for number, (kind, title) in enumerate(pages, 1):
        click = Style.from_meta({"@click": f"app.main('{kind}')"})
        if kind == current:
            text.append(f" {number} {title} ", Style(bold=True, reverse=True) + click)
        else:
            text.append(f" {number} {title[:4] if short else title} ", click)
    if current not in {kind for kind, _ in pages}:
        text.append(f" » {crumb} ", "bold reverse")
    return text


def keys_text(keys: Sequence[tuple[str, str, str]]) -> Text:
    """The keys of a page as (key, what it does, action); a click does the same."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for key, what, action in keys:
        meta = Style.from_meta({"@click": action}) if action.startswith("app.") else Style()
        text.append(f" {key}", Style(bold=True, reverse=True) + meta)
        text.append(" ", meta)
        text.append(f"{what} ", meta)
    return text


def quorum_text(quorum: QuorumInfo | None, view: ClusterView, age_ms: int, problem: str) -> Text:
    """Controller and voters, with the age of the answer when it is old."""
    text = Text(no_wrap=True, overflow="ellipsis")
    if quorum is None:
        text.append(problem or "asking …")
        return text
    leader = view.controller_id if view.controller_id >= 0 else quorum.leader_id
    text.append(f"controller ★ {leader}", "bold")
    text.append(f"  epoch {quorum.leader_epoch}\n")
    text.append(f"committed to {quorum.high_watermark}\n")
    for voter in quorum.voters:
        lag = quorum.high_watermark - voter.log_end_offset
        text.append(f"voter {voter.id}  ")
        text.append("in step\n" if lag <= 0 else f"{lag} behind\n", "" if lag <= 0 else "bold")
    for observer in quorum.observers:
        text.append(f"observer {observer.id}\n")
    if age_ms > STALE_MS:
        text.append(f"{age(age_ms)} old", "bold")
        if problem:
            text.append(f": {problem}")
    return text


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
