"""How members of the metadata quorum stand, as of the leader's last answer. Pure.

Silence is counted by the leader's clock, which is the latest fetch that it tells of (the leader
tells its own time for itself): ours may be seconds off. Must never call one in step that has
stopped asking, though it held everything when it did.
"""

from typing import TYPE_CHECKING

from tui.drawing import age

if TYPE_CHECKING:
    from clusters.admin import QuorumInfo, QuorumReplica

SILENT_MS = 5_000


def told_ms(quorum: "QuorumInfo") -> int:
    """When the leader gave this answer, by its own clock; -1 where it tells no times."""
    members = (*quorum.voters, *quorum.observers)
    return max((each.last_fetch_ms for each in members), default=-1)


def silent_ms(quorum: "QuorumInfo", member: "QuorumReplica") -> int | None:
    """For how long it had not asked the leader; None for the leader and where it is not told."""
    if member.id == quorum.leader_id or member.last_fetch_ms <= 0:
        return None
    return max(0, told_ms(quorum) - member.last_fetch_ms)


def is_silent(quorum: "QuorumInfo", member: "QuorumReplica") -> bool:
    """Whether it has stopped asking; it does so several times a second."""
    return (silent_ms(quorum, member) or 0) > SILENT_MS


def lag_text(silent: int | None, lag: int | None) -> str:
    """How one stands in two words."""
    if silent is not None and silent > SILENT_MS:
        return f"silent {age(silent)}"
    return "not told" if lag is None else "in step" if lag <= 0 else f"{lag} behind"


def standing(quorum: "QuorumInfo", member: "QuorumReplica") -> tuple[str, bool]:
    """How one stands in two words, and whether that needs somebody's attention."""
    text = lag_text(silent_ms(quorum, member), quorum.lag(member))
    if member.id == quorum.leader_id:
        text = "in step"
    return text, text != "in step"
