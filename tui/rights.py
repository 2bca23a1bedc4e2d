"""What of a cluster is not shown because this client may not see it, in words. Pure.

Brokers leave out what one may not describe without a word: a short list must not look like all of
it, and what is not listed must not be called gone.
"""

from clusters.admin.denied import Rights, without_way
from clusters.polls import Poll
from tui.prose import Prose
from tui.store import Store

RIGHTS = Poll("rights")


def limited_to(store: Store, kind: str, *, of_brokers: bool = False) -> str:
    """Who is shown only what he may describe of a kind, topic or group; "" where all is shown.

    `of_brokers`: what is shown comes from brokers, though the metadata log may be read.
    """
    rights = store.answer(RIGHTS).value
    if not isinstance(rights, Rights) or not rights.may_be_more(kind):
        return ""
    # The metadata log holds every topic.
    listed = of_brokers or kind != "topic" or store.status.mode == "sampled"
    return rights.whom if listed else ""


def limit_note(store: Store, kind: str, *, of_brokers: bool = False) -> str:
    """The same as a note to a list."""
    who = limited_to(store, kind, of_brokers=of_brokers)
    return f"only those that {who} may describe" if who else ""


def unseen(store: Store, kind: str) -> str:
    """What is to be added where there is no such thing, as far as one can see."""
    who = limited_to(store, kind)
    return f" Only those that {who} may describe are listed." if who else ""


def refusal(prose: Prose, words: str, tone: str = "warning") -> Prose:
    """A refusal with the rule that would allow it, which can be copied, on a line of its own."""
    said, way = without_way(words)
    prose.append(said, tone)
    if way:
        prose.line().append(f"  → {way}", "accent")
    return prose
