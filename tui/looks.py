"""The style sheet, which remembers what it found.

Textual asks all of its rules, a thousand and more, about each widget and each part of one that is
made: half the time until a dialog stood went there, and a theme was read from its text each time.
Two widgets look alike when they and all that they lie in are of the same kinds, with the same
names, classes and states; so the rules need be asked once for both. What a widget looks like must
be what Textual would have found.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from textual.cache import LRUCache
from textual.css.model import RuleSet, SelectorType
from textual.css.styles import RulesMap, Styles
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.style import Style

_ORDER = ("first-of-type", "last-of-type", "first-child", "last-child", "empty")
# Sets of rules that are kept: some for each theme, for rules come with the first widget of a kind.
RULES_MAX = 32
# Pieces of style sheet that are kept of a theme: one for each kind of widget, and ours.
PIECES_MAX = 256
STYLES_MAX = 4096
# Looks that are kept of one set of rules: all of the dashboard has some hundred.
LOOKS_MAX = 4096


class PutsOffLooks:
    """A part that is hidden for long: it gets other looks only when it is shown again.

    No widget itself, for Textual reads the styles of the first class that is one.
    """

    # Whether its looks may be those of a theme that was.
    is_outdated = False


class _Candidates:
    """What can make a difference among the rules that may be for widgets of some names."""

    __slots__ = ("by_order", "by_parity", "focus_within", "hover", "rules", "states")

    def __init__(self, rules: list[RuleSet]) -> None:
        self.rules = rules
        states: set[str] = set().union(*[each.pseudo_classes for each in rules])
        self.states = tuple(states)
        # What Textual looks at a widget again for.
        self.hover = "hover" in states
        self.focus_within = "focus-within" in states
        self.by_order = not states.isdisjoint(_ORDER)
        self.by_parity = not states.isdisjoint(("odd", "even"))


class _Known:
    """What was found by one set of rules; `rules` keeps them, for they are known by their ids."""

    __slots__ = ("candidates", "ids", "looks", "rules")

    def __init__(self, rules: list[RuleSet]) -> None:
        self.rules = rules
        # The ids that a rule asks for: each note that pops up has one of its own.
        self.ids = {
            selector.name
            for rule in rules
            for each in rule.selector_set
            for selector in each.selectors
            if selector.type is SelectorType.ID
        }
        self.candidates: dict[frozenset[str], _Candidates] = {}
        self.looks: dict[tuple[Any, ...], RulesMap] = {}


class _Texts:
    """What was read from the texts of style sheets with the variables of one theme."""

    __slots__ = ("pieces", "styles")

    def __init__(self) -> None:
        self.pieces: LRUCache[tuple[Any, ...], list[RuleSet]] = LRUCache(PIECES_MAX)
        self.styles: LRUCache[str, Style] = LRUCache(STYLES_MAX)


class RememberingStylesheet(Stylesheet):
    """Finds what Textual's own does, sooner the second time."""

    def __init__(self, *, variables: dict[str, str] | None = None) -> None:
        super().__init__(variables=variables)
        self._texts: dict[frozenset[tuple[str, str]], _Texts] = {}
        self._all_known: dict[tuple[int, ...], _Known] = {}
        self._known = _Known([])
        self._known_map: dict[str, list[RuleSet]] | None = None
        # What was found for the node that is looked at, and for those whose parts are.
        self._found: list[RulesMap | None] = []
        self._take_texts(variables or {})

    def set_variables(self, variables: dict[str, str]) -> None:
        """Take the variables of a theme: names without `$`, and what they stand for."""
        # Textual empties what it has read, which holds again once this theme is chosen again.
        self._parse_cache, self._style_parse_cache = LRUCache(1), LRUCache(1)
        super().set_variables(variables)
        self._take_texts(variables)

    def reparse(self) -> None:
        """Read all anew. Raises StylesheetParseError, and changes nothing then."""
        self.parse()

    def reading(self, variables: dict[str, str] | None = None) -> Iterator[None]:
        """Read what was not read yet, with the variables of another theme, a piece at each step."""
        other = self
        if variables is not None:
            other = RememberingStylesheet(variables=variables)
            other._texts = self._texts
            other._take_texts(variables)
        for place, (css, is_default, tie_breaker, scope) in list(self.source.items()):
            other._parse_rules(
                css, place, is_default_rules=is_default, tie_breaker=tie_breaker, scope=scope
            )
            yield

    def update(self, root: DOMNode, animate: bool = False) -> None:
        """Give a node and all below it that is not put off the looks that they have now."""
        self.update_nodes(_seen(root), animate=animate)

    def apply(
        self,
        node: DOMNode,
        *,
        animate: bool = False,
        cache: dict[tuple[Any, ...], RulesMap] | None = None,
    ) -> None:
        """Give a node its looks; `animate` has changes of them animated."""
        rules_map = self.rules_map
        if rules_map is not self._known_map:
            self._take_rules(rules_map)
        names = frozenset(rules_map.keys() & node._selector_names)
        candidates = self._known.candidates.get(names)
        if candidates is None:
            # By their ids: a rule says in Python what its hash is.
            mine = {id(rule) for name in names for rule in rules_map[name]}
            every = self._known.rules
            candidates = _Candidates([rule for rule in every if id(rule) in mine])
            self._known.candidates[names] = candidates
        key = _key_of(node, names, candidates.states, self._known.ids)
        looks = self._known.looks.get(key)
        if looks is None:
            self._find(node, candidates, key, animate=animate)
            return
        node._has_hover_style = candidates.hover
        node._has_focus_within = candidates.focus_within
        node._has_order_style = candidates.by_order
        node._has_odd_or_even = candidates.by_parity
        if looks:
            self._take_kept(node, looks, animate=animate)
        self._process_component_classes(node)

    def _find(
        self, node: DOMNode, candidates: _Candidates, key: tuple[Any, ...], *, animate: bool
    ) -> None:
        """Have Textual ask the rules that there can be for a node, and remember what it found."""
        every, self._rules = self._rules, candidates.rules
        self._found.append(None)
        try:
            super().apply(node, animate=animate)
        finally:
            self._rules = every
            looks = self._found.pop()
        if len(self._known.looks) >= LOOKS_MAX:
            self._known.looks.clear()
        self._known.looks[key] = _as_kept(looks or {})

    def replace_rules(  # type: ignore[override]
        self, node: DOMNode, rules: RulesMap, animate: bool = False
    ) -> None:
        """Take what was found for a node, and hear what it is."""
        self._found[-1] = rules
        with _once(node.styles.base):
            super().replace_rules(node, rules, animate=animate)

    def _take_kept(self, node: DOMNode, rules: RulesMap, *, animate: bool) -> None:
        """Give a node these rules in place of those it had, and draw it anew at most once."""
        styles = node.styles.base
        if styles._rules == rules:
            # What it lies in may look otherwise, still.
            node.notify_style_update()
        elif not styles._rules and not node._is_mounted:
            styles.merge_rules(rules)
            node.notify_style_update()
        else:
            with _once(styles):
                super().replace_rules(node, rules, animate=animate)

    def _take_texts(self, variables: dict[str, str]) -> None:
        texts = self._texts.setdefault(frozenset(variables.items()), _Texts())
        self._parse_cache, self._style_parse_cache = texts.pieces, texts.styles

    def _take_rules(self, rules_map: dict[str, list[RuleSet]]) -> None:
        self._known_map = rules_map
        key = tuple(map(id, self.rules))
        if key not in self._all_known:
            if len(self._all_known) >= RULES_MAX:
                del self._all_known[next(iter(self._all_known))]
            self._all_known[key] = _Known(self.rules)
        self._known = self._all_known[key]


def _seen(root: DOMNode) -> Iterator[DOMNode]:
    yield root
    for child in root.children:
        if isinstance(child, PutsOffLooks) and not child.display:
            child.is_outdated = True
        else:
            yield from _seen(child)


def _as_kept(rules: RulesMap) -> RulesMap:
    """The values that styles make of those of a style sheet."""
    styles = Styles()
    for name, value in rules.items():
        setattr(styles, name, value)
    return styles._rules


@contextlib.contextmanager
def _once(styles: Styles) -> Iterator[None]:
    """Draw what these styles are of once for all rules that are set: each asks for it."""
    asked = dict.fromkeys(("layout", "children", "parent", "repaint"), False)
    times = 0

    def ask(
        *, layout: bool = False, children: bool = False, parent: bool = False, repaint: bool = True
    ) -> None:
        nonlocal times
        times += 1
        asked["layout"] |= bool(layout)
        asked["children"] |= bool(children)
        asked["parent"] |= bool(parent)
        asked["repaint"] |= repaint

    styles.refresh = ask  # type: ignore[method-assign]
    try:
        yield
    finally:
        del styles.refresh
    if times:
        styles.refresh(**asked)


def _key_of(
    node: DOMNode, names: frozenset[str], states: tuple[str, ...], ids: set[str]
) -> tuple[Any, ...]:
    key: list[Any] = [names]
    each: Any = node
    while isinstance(each, DOMNode):
        ways: Mapping[str, Callable[[Any], bool]] = each._PSEUDO_CLASSES
        now = [state for state in states if state in ways and ways[state](each)]
        key += (type(each), each._id if each._id in ids else None, each.classes, tuple(now))
        each = each._parent
    return tuple(key)
