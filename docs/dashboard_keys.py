"""The page docs/reference/dashboard.md: keys and words of the dashboard, from what the help says.

Written and checked by docs/reference.py. It must never hold a key that the dashboard does not have.
"""

from collections.abc import Iterable

from tui.actions import ACTIONS, Action
from tui.app import known_keys_now
from tui.commands import ALIASES, OTHERS, RECORDS, SETTINGS, WITH_FILTER, WITH_NAME, WITHOUT_NAME
from tui.help import EVERYWHERE, MOUSE, OVER
from tui.keys import ALWAYS, FIXED, Known, bindings_of, sign
from tui.pages import PAGES

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
INTRODUCTION = (
    "Written by `make docs` from what `?` shows. Other keys can be chosen: `dashboard.keys` in "
    "`config.yaml`, as `ID: KEY` ([how](../dashboard.md#choosing))."
)
NAMED = {"records": "TOPIC[:PARTITION]", "settings": "TOPIC or broker ID"}


def _code(texts: Iterable[str]) -> str:
    return " ".join(f"`` {text} ``" if "`" in text else f"`{text}`" for text in texts)


def _of_ids(rows: Iterable[tuple[str, str]], known: dict[str, Known]) -> Table:
    """Keys by ids, as the help has them."""
    found = []
    for ids, what in rows:
        names = ids.split()
        signs = [
            sign(key)
            for name in names
            for key in (known[name].keys or ALWAYS.get(name, ()) if name in known else (name,))
        ]
        found.append((_code(signs), what, _code(name for name in names if name in known)))
    return ("key", "what it does", "id"), found


def _about(action: Action) -> str:
    kinds = sorted(kind for kind in action.kinds if kind != "cluster")
    if "cluster" in action.kinds and (not kinds or not action.about_subject):
        return "the cluster"
    return " or ".join(kinds)


def dashboard_page() -> str:
    """The text of the page."""
    known = {each.id: each for each in known_keys_now()}
    story = [("next", "the next step of a story, where `logctl demo` tells one")]
    parts: list[tuple[str, Table]] = [
        ("Keys everywhere", _of_ids([*EVERYWHERE, *story], known)),
        *(
            (
                f"Keys of the page {page.KIND}",
                (
                    ("key", "what it does", "id"),
                    [
                        (
                            _code(map(sign, binding.key.split(","))),
                            binding.description,
                            _code([binding.id or ""]),
                        )
                        for binding in bindings_of(page)
                    ],
                ),
            )
            for page in PAGES.values()
            if bindings_of(page)
        ),
        (
            "Actions",
            (
                ("key", "what it does", "word after `:`", "about", "id"),
                [
                    (
                        _code([sign(each.key)]),
                        each.title,
                        _code([f":{each.name}"]),
                        _about(each),
                        _code([f"action.{each.name}"]),
                    )
                    for each in ACTIONS
                ],
            ),
        ),
        ("Keys of dialogs, records and the help", _of_ids(OVER, known)),
        (
            "Keys that stay what they are",
            (("key", "what it does"), [(_code([sign(key)]), FIXED[key]) for key in FIXED]),
        ),
        ("Mouse", (("what", "what it does"), [*MOUSE])),
        ("Words after `:`", (("word", "short", "what follows"), _words())),
    ]
    lines = ["# Keys and words of the dashboard", "", INTRODUCTION, ""]
    for title, (head, rows) in parts:
        lines += [f"## {title}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        lines += ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _words() -> list[tuple[str, ...]]:
    follows = {name: "a name, or alone the list" for name in WITHOUT_NAME if name[:-1] in WITH_NAME}
    follows |= dict.fromkeys(WITH_NAME, "a name") | dict.fromkeys(WITH_FILTER, "a filter")
    follows |= {word: NAMED[word] for word in (RECORDS, SETTINGS)}
    follows |= {"theme": "the name of a theme", "filter": "a filter", "save": "the name of a file"}
    words = dict.fromkeys([*WITHOUT_NAME, *WITH_NAME, *WITH_FILTER, RECORDS, SETTINGS, *OTHERS])
    short = {word: [f":{a}" for a, of in ALIASES.items() if of == word] for word in words}
    return [(_code([f":{word}"]), _code(short[word]), follows.get(word, "")) for word in words]
