"""The keys of the dashboard: which there are, which a person chose instead, how each is written.

Pure. No key that was chosen may be left without effect in silence: what cannot be pressed, is taken
twice, or takes the only key of something else is told.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from textual.binding import Binding
from textual.keys import KEY_NAME_REPLACEMENTS, Keys

from clusters.nearest import hint

APP, TABLE, ACTION = "dashboard", "table", "action"
# Screens over the page: questions, the help, a record. Keys of the page do nothing in them.
DIALOG, HELP, RECORD = "dialog", "help", "record"
OVER = frozenset({DIALOG, HELP, RECORD})
# What works in those, too.
WORKS_OVER = frozenset({"suspend"})
# Nothing on a keyboard is called so: a binding that lost its only key.
NO_KEY = "no_key"
# What always does the same, so that there is always a way on and a way out.
FIXED = {
    "escape": "goes back",
    "backspace": "goes back",
    "enter": "opens and agrees",
    "tab": "goes to the next panel",
    "shift+tab": "goes to the panel before",
    "ctrl+c": "leaves",
    "ctrl+q": "leaves",
    "ctrl+p": "lists all commands",
}
# What a key that always does the same does in dialogs, by the id of other keys for that.
ALWAYS = {
    "dialog.agree": ("enter",),
    "dialog.leave": ("escape",),
    "dialog.next": ("tab",),
    "dialog.before": ("shift+tab",),
}
NAMES = {",": "comma", " ": "space"}
MODIFIERS = ("ctrl", "alt", "shift")
SIGNS = {
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pageup": "PageUp",
    "pagedown": "PageDown",
    "exclamation_mark": "!",
    "question_mark": "?",
    "full_stop": ".",
    "minus": "-",
    "plus": "+",
}


@dataclass(frozen=True, slots=True)
class Known:
    """Something that a key does. `owner` is APP, TABLE, ACTION, one of OVER or the kind of a page.

    Without `keys` one of ALWAYS does it, and others may be chosen beside that.
    """

    id: str
    owner: str
    keys: tuple[str, ...]
    what: str
    kinds: frozenset[str] = frozenset()

    def meets(self, other: "Known") -> bool:
        """Whether both can be meant by the same press of a key."""
        if self.owner != other.owner and OVER & {self.owner, other.owner}:
            return bool(WORKS_OVER & {self.id, other.id})
        if self.owner == other.owner == ACTION:
            return bool(self.kinds & other.kinds)
        shared = {APP, TABLE, ACTION}
        return self.owner == other.owner or bool({self.owner, other.owner} & shared)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The keys by the id of what they do; those that are not in it are as they were made."""

    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def keymap(self) -> dict[str, str]:
        """For Textual: keys with commas between them."""
        return {id_: ",".join(keys or (NO_KEY,)) for id_, keys in self.keys.items()}

    def keys_of(self, binding: Binding) -> tuple[str, ...]:
        """The keys of a binding; none when another took them all."""
        id_ = binding.id or ""
        made = tuple(key for key in binding.key.split(",") if key != NO_KEY)
        return self.keys.get(id_) or made if id_ in ALWAYS else self.keys.get(id_, made)

    def signs(self, binding: Binding) -> list[str]:
        """How the keys of a binding are written; none when another took them all."""
        return [sign(key) for key in self.keys_of(binding)]


def bindings_of(owner: type) -> list[Binding]:
    """The bindings that a class has of its own."""
    return [each for each in vars(owner).get("BINDINGS", ()) if isinstance(each, Binding)]


def known_keys(owners: Mapping[str, type], actions: Iterable[Any]) -> list[Known]:
    """All that can be given another key: bindings of classes by owner, and actions."""
    found = [
        Known(each.id, owner, Chosen().keys_of(each), each.description.lower())
        for owner, made in owners.items()
        for each in bindings_of(made)
        if each.id
    ]
    return found + [
        Known(f"action.{each.name}", ACTION, (each.key,), each.title.lower(), each.kinds)
        for each in actions
    ]


def choose(known: Sequence[Known], wanted: Mapping[Any, Any]) -> Chosen:
    """The keys that were `wanted` (id: key, or list of keys), as far as they can be had."""
    by_id = {each.id: each for each in known}
    chosen: dict[str, tuple[str, ...]] = {}
    problems = []
    for id_, value in wanted.items():
        where = f"dashboard.keys.{id_}"
        if id_ not in by_id:
            problems.append(f"{where} is unknown; {hint(str(id_), list(by_id))}")
            continue
        try:
            keys = read_keys(value)
            for key in keys:
                _must_be_free(key, by_id[id_], [by_id[other] for other in chosen], chosen)
        except ValueError as error:
            problems.append(f"{where}: {error}")
        else:
            chosen[id_] = keys
    for each in known:
        if each.id in chosen:
            continue
        taken = {key: id_ for id_ in wanted if id_ in chosen for key in chosen[id_]
                 if by_id[id_].meets(each)}  # fmt: skip
        left = tuple(key for key in each.keys if key not in taken)
        if left != each.keys:
            chosen[each.id] = left
        if each.keys and not left:
            key = each.keys[0]
            where = f"dashboard.keys.{taken[key]}"
            problems.append(f"{where} takes {sign(key)} from {each.id}, which has no key now")
    return Chosen(chosen, tuple(problems))


def _must_be_free(
    key: str, mine: Known, others: Iterable[Known], chosen: Mapping[str, tuple[str, ...]]
) -> None:
    if key in FIXED:
        raise ValueError(f"{sign(key)} always {FIXED[key]}")
    if mine.owner == DIALOG and _is_typed(key):
        raise ValueError(f"{sign(key)} is typed into the fields of dialogs; such as F9 are free")
    for other in others:
        if key in chosen[other.id] and mine.meets(other):
            raise ValueError(f"{sign(key)} is already chosen for {other.id}")


def read_keys(value: Any) -> tuple[str, ...]:
    """Names of keys from what was written: `f3`, `?`, 8, `f3, t` or a list. Raises ValueError."""
    if isinstance(value, list):
        parts: list[Any] = value
    elif isinstance(value, str) and value != ",":
        parts = value.split(",")
    else:
        parts = [value]
    keys = []
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, str | int):
            raise ValueError(f'"{part}" is not the name of a key; put it in quotes')
        keys.append(_key_name(str(part)))
    if not keys:
        raise ValueError("no key is named")
    return tuple(dict.fromkeys(keys))


def _key_name(text: str) -> str:
    """Textual's name of one key. Raises ValueError when there is none."""
    text = text.strip() or text[:1]
    if text in NAMES:
        return NAMES[text]
    if len(text) == 1:
        return next(iter(Binding.make_bindings([Binding(text, "")]))).key
    *modifiers, base = text.split("+") if not text.endswith("+") else [text]
    name = base.lower() if len(base) > 1 or modifiers else base
    modifiers = [each.strip().lower() for each in modifiers]
    if len(name) == 1:
        name = _key_name(name)
    if modifiers == ["shift"] and name.isalpha() and len(name) == 1:
        return name.upper()
    if not (_is_key(name) and all(each in MODIFIERS for each in modifiers)):
        raise ValueError(
            f'"{text}" is not the name of a key; such are t, G, f3, ctrl+g, home, space and "?"'
        )
    return "+".join([*(each for each in MODIFIERS if each in modifiers), name])


def _is_key(name: str) -> bool:
    if len(name) == 1 or name in KEY_NAME_REPLACEMENTS.values():
        return True
    if name in {each.value for each in Keys}:
        return True
    try:
        unicodedata.lookup(name.replace("_", " "))
    except KeyError:
        return False
    return True


def _is_typed(key: str) -> bool:
    return len(key) == 1 or key == "space" or ("+" not in key and bool(_character(key)))


def sign(key: str) -> str:
    """How a key is written on the screen: `?`, `Ctrl+S`, `PageUp`, `F3`."""
    *modifiers, name = key.split("+")
    if name in SIGNS:
        name = SIGNS[name]
    elif len(name) > 1:
        name = _character(name) or name.capitalize()
    elif modifiers:
        name = name.upper()
    return "+".join([*(each.capitalize() for each in modifiers), name])


def _character(name: str) -> str:
    spoken = next((long for long, short in KEY_NAME_REPLACEMENTS.items() if short == name), name)
    try:
        found = unicodedata.lookup(spoken.replace("_", " "))
    except KeyError:
        return ""
    return found if found.isprintable() and found != " " else ""
