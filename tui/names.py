"""The names that can be typed after `:`, by the kind of thing that has them."""

from tui.store import GROUPS, Store


def known_names(store: Store) -> dict[str, list[str]]:
    """Topics, brokers and groups of the cluster that is shown, and saved contexts."""
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
    }
