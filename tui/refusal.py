"""The banner over a cluster that must not be used: another than the pinned one, or one that does
not let us in. Pure; says it large, for what stands below is old or was never there.
"""

from rich.text import Text

from clusters.watch import FeedStatus

CSS = """
#status.refused {
    height: auto; min-height: 4; max-height: 8; padding: 1 2;
    background: $error; color: $text; text-style: bold;
    text-wrap: wrap; text-overflow: fold;
}
"""
_WORDS = {"wrong cluster": "✖ WRONG CLUSTER", "not let in": "✖ NOT LET IN"}
_WHAT_TO_DO = {
    "wrong cluster": "Nothing of it is shown. Mend the addresses, or pin the new cluster with "
    "`logctl context add … --pin`.",
    "not let in": "Mend the user, the password or the mechanism of the context.",
}


def refusal_text(name: Text, status: FeedStatus) -> Text:
    """What the banner says; `name` is that of the context, as it is drawn."""
    _, _, reason = status.message.partition(": ")
    text = Text()
    text.append(f"{_WORDS[status.refusal]} ", "bold reverse")
    text.append(name).append(" ", "bold reverse")
    text.append(f" {reason or status.message}. {_WHAT_TO_DO[status.refusal]}")
    return text
