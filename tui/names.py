"""The names that can be typed after `:`, by the kind of thing that has them."""

from collections.abc import Iterable

from clusters.watch.events import EventKind
from tui.pages.topics import ONLY
from tui.store import GROUPS, Store


def known_names(store: Store, themes: Iterable[str] = ()) -> dict[str, list[str]]:
    """Topics, brokers and groups of the cluster that is shown, and words that do not change."""
    from clusters import state
    from clusters.errors import StateError

    try:
        contexts = sorted(state.contexts())
    except StateError:
        contexts = []
    view = store.view
    return {
        "topic": [row.name for row in view.topics],
        "broker": [str(row.id) for row in view.brokers],
        "group": [each.group for each in store.answer(GROUPS).value or ()],
        "context": contexts,
        "theme": sorted(themes),
        "event": [kind.value for kind in EventKind],
        "narrowing": list(ONLY),
    }
