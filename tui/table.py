"""A table that draws only what is seen: sorted, filtered, with a cursor that stays on its row.

The rows are any objects; columns say how to draw and sort them. Ten thousand rows cost as much to
draw as the thirty on the screen. It must never fetch anything: rows are handed in.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui.filters import RowFilter, row_filter
from tui.order import Order, Rules, Shift
from tui.panel import KeepsSize
from tui.rings import ComponentStyles

R = TypeVar("R")
# What stands before a name to be seen at a glance.
SIGN = re.compile(r"^[^\w\s\"'(<\[{-] (?=\w)")
FLEXIBLE_MIN = 12
# Cells with styles of their own that are kept.
PARTS_MAX = 4096
# A name takes no more, so that the numbers beside it stay near; the border tells all of it.
NAME_MAX = 64


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """One column. `width` in cells, 0 shares what is left; `draw` gives text or styled text.

    Without `fill` a column of width 0 takes no more than its longest cell so far, so that numbers
    stand near the names they are about. `wide`: shown only in tables of at least that many cells.
    `numbered`: what is too long is cut before the number at its end, as in `orders-12`. `exact`: it
    shows data of others, in which a sign at the beginning is no sign of ours.
    """

    title: str
    width: int
    draw: Callable[[R], "Text | str"]
    sort: Callable[[R], Any]
    right: bool = False
    wide: int = 0
    fill: bool = False
    numbered: bool = False
    exact: bool = False


def _apart(version: Any) -> Any:
    """What of a version is told apart from the changes of the rows themselves."""
    return version[1:] if isinstance(version, tuple) else ()


def _no_fields(_: Any) -> Mapping[str, Any]:
    return {}


def shortened(text: str, width: int, numbered: bool) -> str:
    """What is too long, cut to so many cells; `numbered`: before a number at its end."""
    _, dash, number = text.rpartition("-") if numbered else ("", "", "")
    end = dash + number if number.isdigit() and len(number) + 3 < width else ""
    return set_cell_size(text, width - 1 - len(end)) + "…" + end


class LiveTable(KeepsSize, ScrollView, Generic[R], can_focus=True):
    """A virtual table. Enter opens a row, a click puts the cursor on it, and opens it where the
    cursor was before; a click on a title sorts by it.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "live-table--header",
        "live-table--cursor",
        "live-table--warning",
        "live-table--error",
        "live-table--flash",
        "live-table--dim",
        "live-table--strong",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "cursor(-1)", "A row up", show=False, id="row.up"),
        Binding("down,j", "cursor(1)", "A row down", show=False, id="row.down"),
        Binding("pageup,ctrl+b", "page(-1)", "A screen up", show=False, id="screen.up"),
        Binding("pagedown,ctrl+f", "page(1)", "A screen down", show=False, id="screen.down"),
        Binding("ctrl+u", "half(-1)", "Half a screen up", show=False, id="half.up"),
        Binding("ctrl+d", "half(1)", "Half a screen down", show=False, id="half.down"),
        Binding("home,g", "edge(0)", "First row", show=False, id="row.first"),
        Binding("end,G", "edge(1)", "Last row", show=False, id="row.last"),
        Binding("enter", "select", "Open", show=False),
    ]

    class Selected(Message):
        """A row was opened with Enter or a click."""

        def __init__(self, table: "LiveTable[Any]", row: Any) -> None:
            self.table = table
            self.row = row
            super().__init__()

        @property
        def control(self) -> "LiveTable[Any]":
            """The table, for `on` selectors."""
            return self.table

    class Moved(Message):
        """The cursor is on another row, or on none; or it is seen in another table."""

    def __init__(
        self,
        columns: Sequence[Column[R]],
        *,
        key: Callable[[R], Any],
        search: Callable[[R], str],
        row_class: Callable[[R], str] = lambda row: "",
        title: str = "",
        sort_column: int | None = 0,
        follow_end: bool = False,
        query_table: str | None = None,
        fields: Callable[[R], Mapping[str, Any]] = _no_fields,
        swept: Callable[[R, float], bool] | None = None,
        phase: Callable[[R], Any] | None = None,
        id: str | None = None,  # noqa: A002 - Textual's own name
    ) -> None:
        super().__init__(id=id)
        self._component_styles = ComponentStyles()
        self.columns = list(columns)
        self.sort_column = sort_column
        self.sort_reverse = False
        self._filter: RowFilter = row_filter("", None)
        self.query_table = query_table
        self._fields = fields
        self._swept = swept
        self._phase = phase
        # How each row that is seen looked when it was drawn last, by its index.
        self._phases: dict[int, tuple[Any, bool]] = {}
        self.note = ""
        self._size_drawn = Size(0, 0)
        self._style: Style | None = None
        self.follow_end = follow_end
        self._order: Order[R] = Order()
        self._all: Sequence[R] = ()
        self._version: Any = None
        self._within: Callable[[R], bool] | None = None
        self._only: Callable[[R], bool] | None = None
        self._only_label = ""
        self._key = key
        self._search = search
        self._row_class = row_class
        self._title = title
        self._cursor_key: Any = None
        self._told_key: Any = None
        self._cursor = 0
        self._had_focus = False
        # Whether it is drawn as having the focus; `_lighting` while that changes.
        self._lit = self._lighting = False
        # Whether somebody scrolled away from the end that is followed.
        self._looks_back = self._followed = False
        self._revealing = False
        # Where the row of the cursor stands among all rows, shown or not.
        self._cursor_place = -1
        # (number, column, width) of each column that is seen, worked out once a painting.
        self._fitted: list[tuple[int, Column[R], int]] | None = None
        # How wide what is seen is, and all of it; worked out once a painting, too.
        self._width = self._whole_width = 0
        self._known_parts: dict[tuple[Any, ...], list[Segment]] = {}
        # The longest cell so far of each column that takes what it needs.
        self._longest: dict[int, int] = {}
        self.border_title = title

    # -- rows

    def set_rows(self, rows: Sequence[R], version: Any = None) -> None:
        """Show these rows; order and filter are the table's own.

        With a version, the same version again means the same rows and costs nothing. The same
        `tui.rows.Rows` again are asked what changed in them, and only that is put in its place,
        unless parts of the version after the first differ: those are what columns depend on.
        """
        if version is not None and version == self._version:
            return
        known = rows is self._all and _apart(version) == _apart(self._version)
        self._version = version
        self._all = rows
        at_end = self._at_end
        shift = self._order.follow(rows) if known else None
        if shift is None:
            self._arrange()
        elif shift.moved:
            self._arranged(at_end)
        else:
            self._draw_changed(shift)

    def forget(self) -> None:
        """Let go of rows and drawn lines: for a table that is not shown any more."""
        self._all, self._version, self._order = (), None, Order()
        self._phases.clear()
        self._styles_cache.clear()

    @property
    def shown(self) -> list[R]:
        """The rows that are shown, in their order; not to be changed."""
        return self._order.shown

    @property
    def _at_end(self) -> bool:
        return self._cursor >= len(self.shown) - 1 and not self._looks_back

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow the end no more once a wheel or a bar leads away from it."""
        super().watch_scroll_y(old_value, new_value)
        if self.follow_end and not self._revealing:
            back = round(new_value) < self.max_scroll_y
            if back and not self._looks_back:
                self._followed = self._cursor >= len(self.shown) - 1
            elif self._looks_back and not back and self._followed and self.shown:
                self._cursor = len(self.shown) - 1
                self._note_cursor()
                self.refresh()
            self._looks_back = back

    def _draw_changed(self, shift: Shift) -> None:
        """Draw the lines of rows that changed where they stand."""
        # Of thousands that changed a screen is seen.
        top, height, width = self.scroll_offset.y, self.size.height, self.size.width
        lines = {index - top + 1 for index in shift.changed}
        for line in lines.intersection(range(1, height)):
            self.refresh(Region(0, line, width, 1))

    def _draw_row(self, index: int) -> None:
        line = index - self.scroll_offset.y + 1
        if 1 <= line < self.size.height:
            self.refresh(Region(0, line, self.size.width, 1))

    @property
    def filter_text(self) -> str:
        """What was typed to narrow the rows."""
        return self._filter.text

    @property
    def filter_problem(self) -> str:
        """Why the filter cannot be read, "" when it can."""
        return self._filter.problem

    def set_filter(self, text: str) -> None:
        """Show only rows that match words or a condition (see `tui.filters`)."""
        if text != self._filter.text:
            self._filter = row_filter(text, self.query_table)
            self._arrange()

    def set_title(self, title: str, note: str = "") -> None:
        """Name the table anew; `note` stands after the count."""
        if (title, note) != (self._title, self.note):
            self._title, self.note = title, note
            self._entitle()

    def set_column(self, index: int, title: str, width: int) -> None:
        """Name a column anew and give it another width."""
        column = self.columns[index]
        if (column.title, column.width) != (title, width):
            self.columns[index] = replace(column, title=title, width=width)
            self._fitted = None
            self.refresh()

    def set_within(self, within: Callable[[R], bool] | None) -> None:
        """The rows that belong in this table at all; the others are not counted either."""
        self._within = within
        self._arrange()

    def set_only(self, wanted: Callable[[R], bool] | None, label: str = "") -> None:
        """Show only rows that are wanted, `label` says which; None shows all."""
        self._only, self._only_label = wanted, label
        self._arrange()

    @property
    def is_narrowed(self) -> bool:
        """Whether `set_only` hides rows."""
        return self._only is not None

    def sort_by(self, column: int) -> None:
        """Sort by a column; the same column again reverses."""
        if column == self.sort_column:
            self.sort_reverse = not self.sort_reverse
        else:
            self.sort_column, self.sort_reverse = column, False
        self._arrange()

    def sort_next(self) -> None:
        """Sort by the next column."""
        current = -1 if self.sort_column is None else self.sort_column
        self.sort_column, self.sort_reverse = (current + 1) % len(self.columns), False
        self._arrange()

    @property
    def cursor_row(self) -> R | None:
        """The row under the cursor."""
        return self.shown[self._cursor] if self.shown else None

    def move_to_key(self, key: Any) -> None:
        """Put the cursor on the row of this key, when it is shown."""
        self._cursor_key, self._cursor_place = key, -1
        self._place_cursor()

    def _arrange(self) -> None:
        """Narrow and sort all rows: what changes of single rows must not lead to."""
        at_end = self._at_end
        column = self.sort_column
        self._order.arrange(
            self._all,
            Rules(
                sort=None if column is None else self.columns[column].sort,
                reverse=self.sort_reverse,
                within=self._within,
                wants=self._wanted(),
            ),
        )
        self._cursor_place = -1
        self._arranged(at_end)

    def _arranged(self, at_end: bool) -> None:
        rows = self.shown
        self._fitted = None
        self._phases.clear()
        if self.follow_end and at_end and rows:
            self._cursor = len(rows) - 1
            self._note_cursor()
        self._place_cursor()
        self._extend()
        self._entitle()
        if self.follow_end and at_end:
            self._reveal()
            if self.styles.auto_dimensions or not self.is_attached:
                # The new height counts for scrolling only after the next layout.
                self.call_after_refresh(self._reveal)
        self._tell_moved()
        self.refresh()

    def _tell_moved(self) -> None:
        key = self._key(self.shown[self._cursor]) if self.shown else None
        if key != self._told_key:
            self._told_key = key
            self.call_after_refresh(self._tell_whole)
            if self.has_focus:
                self.post_message(self.Moved())

    def _tell_whole(self) -> None:
        """On the border below: the name of the row under the cursor, where it is cut."""
        whole, row = "", self.cursor_row
        fitted = self._fit()
        number, column, width = next((each for each in fitted if each[1].numbered), fitted[0])
        if row is not None and self._longest.get(number, 0) > width:
            drawn = column.draw(row)
            plain = drawn if isinstance(drawn, str) else drawn.plain
            whole = SIGN.sub("", plain).replace("[", "\\[") if cell_len(plain) > width else ""
        if whole != (self.border_subtitle or ""):
            self.border_subtitle = whole

    def _extend(self) -> None:
        """Be as long as there are rows: only the bar changes, unless the height follows them."""
        if not self._size and self.is_attached and len(self.shown) >= self.app.size.height:
            # There will be a bar, wherever it is laid out: so that is done once.
            self.set_reactive(Widget.show_vertical_scrollbar, True)
        size = Size(self._content_width(), len(self.shown) + 1)
        if size == self.virtual_size:
            return
        if self.styles.auto_dimensions or not self.is_attached:
            self.virtual_size = size
            return
        self.set_reactive(Widget.virtual_size, size)
        self._scroll_update(size)

    def _wanted(self) -> Callable[[R], bool] | None:
        """What says of a row whether it is shown; None where all are."""
        only = self._only
        if not self._filter.text:
            return only
        test = self._filter.test(self._search, self._fields)
        return test if only is None else lambda row: only(row) and test(row)

    def _entitle(self) -> None:
        shown, everything = len(self.shown), self._order.total
        label = f"{self._title} ({shown if shown == everything else f'{shown} of {everything}'})"
        if self._only is not None:
            label += f" {self._only_label}"
        if self.note:
            label += f" {self.note}"
        if self._filter.text:
            label += f" /{self._filter.text}"
        if self._filter.problem:
            label += " ⚠ not a condition"
        label = label.replace("[", "\\[")
        if label != self.border_title:
            self.border_title = label

    def _note_cursor(self) -> None:
        """Remember which row the cursor is on."""
        self._cursor_key = self._key(self.shown[self._cursor])
        self._cursor_place = self._order.place_at(self._cursor)

    def _place_cursor(self) -> None:
        if self._cursor_key is not None:
            index = self._index_of_cursor()
            if index is not None:
                self._cursor = index
                self._cursor_place = self._order.place_at(index)
                return
        self._cursor = max(0, min(self._cursor, len(self.shown) - 1))
        if self.shown and self._cursor_key is None:
            self._note_cursor()

    def _index_of_cursor(self) -> int | None:
        """Where the row of the cursor is shown now."""
        rows, key = self.shown, self._cursor_key
        if self._cursor < len(rows) and self._key(rows[self._cursor]) == key:
            return self._cursor
        if self._cursor_place >= 0:
            return self._order.index_of_place(self._cursor_place)
        return next((index for index, row in enumerate(rows) if self._key(row) == key), None)

    # -- drawing

    def _columns(self) -> list[tuple[int, Column[R]]]:
        """The columns for which there is room, with their numbers."""
        width = self.size.width
        return [(i, c) for i, c in enumerate(self.columns) if not c.wide or width >= c.wide]

    def _content_width(self) -> int:
        columns = [column for _, column in self._columns()]
        return max(self.size.width, sum(c.width or FLEXIBLE_MIN for c in columns) + len(columns))

    def _fit(self) -> list[tuple[int, Column[R], int]]:
        """(number, column, width) of the columns that are seen."""
        if self._fitted is not None:
            return self._fitted
        columns = self._columns()
        fixed = sum(c.width for _, c in columns) + len(columns)
        flexible = sum(1 for _, c in columns if c.width == 0)
        left = max(self._content_width() - fixed, FLEXIBLE_MIN * flexible)
        # Those that need little leave the others more.
        short = sorted((self._need(i), i) for i, c in columns if not (c.width or c.fill))
        needed = {}
        for need, i in short:
            needed[i] = min(left // flexible, need)
            left, flexible = left - needed[i], flexible - 1
        rest = left // max(1, flexible)
        self._fitted = [(i, c, c.width or needed.get(i, rest)) for i, c in columns]
        return self._fitted

    def _need(self, index: int) -> int:
        column = self.columns[index]
        need = max(FLEXIBLE_MIN, cell_len(column.title) + 1, self._longest.get(index, 0))
        return min(need, NAME_MAX) if column.numbered or not index else need

    def render_lines(self, crop: Region) -> list[Strip]:
        """Lines of the screen; what holds for all of them is worked out once."""
        self._style = self.rich_style
        self._fitted = None
        self._width, self._whole_width = self.size.width, self._content_width()
        if self._measure(crop):
            # A longer cell than any before: lines that were drawn before have the old widths.
            self._styles_cache.clear()
            # Only now it is known whether the name under the cursor is cut.
            self.call_later(self._tell_whole)
            if crop.size != self.outer_size:
                self.call_later(self.refresh)
        return super().render_lines(crop)

    def _measure(self, crop: Region) -> bool:
        """Whether lines that are drawn now have a longer cell than any before."""
        grew = False
        first = max(0, self.scroll_offset.y + crop.y - self.gutter.top - 1)
        rows = self.shown[first : first + crop.height]
        for number, column in self._columns():
            if column.width or column.fill:
                continue
            longest = self._longest.get(number, 0)
            cells = map(column.draw, rows)
            long = max(
                (cell_len(c) if isinstance(c, str) else c.cell_len for c in cells), default=0
            )
            if long > longest:
                self._longest[number], grew = long, True
        return grew

    def render_line(self, y: int) -> Strip:
        """One line of the screen: the titles, a row, or nothing."""
        if self._style is None:
            self._style = self.rich_style
        width = self._width
        scroll_x, scroll_y = self.scroll_offset
        if y == 0:
            return self._header().crop_extend(scroll_x, scroll_x + width, self._style)
        index = scroll_y + y - 1
        if index >= len(self.shown):
            return Strip.blank(width, self._style)
        return self._row(index).crop_extend(scroll_x, scroll_x + width, self._style)

    def _header(self) -> Strip:
        style = self.get_component_rich_style("live-table--header")
        segments = []
        for index, column, width in self._fit():
            title = column.title
            if index == self.sort_column:
                title += "▼" if self.sort_reverse else "▲"
            text = set_cell_size(title, width)
            if column.right:
                text = " " * max(0, width - cell_len(title)) + title[:width]
            segments.append(Segment(text + " ", style))
        return Strip(segments)

    def _row(self, index: int) -> Strip:
        row = self.shown[index]
        style = self._style or self.rich_style
        if name := self._row_class(row):
            style = self.get_component_rich_style(f"live-table--{name}")
        phase = self._phase_of(index)
        self._phases[index] = phase
        if phase[1]:
            style = self.get_component_rich_style("live-table--flash")
        if index == self._cursor and self._lit:
            style += self.get_component_rich_style("live-table--cursor")
        segments: list[Segment] = []
        taken = 0
        for _, column, width in self._fit():
            segments += self._cell(column, row, width, style)
            taken += width + 1
        rest = self._whole_width - taken
        if rest > 0:
            segments.append(Segment(" " * rest, style))
        # In few pieces: each is looked at many times on its way to the terminal.
        return Strip(Segment.simplify(segments))

    def _cell(self, column: Column[R], row: R, width: int, style: Style) -> list[Segment]:
        drawn = column.draw(row)
        plain = drawn if isinstance(drawn, str) else drawn.plain
        long = cell_len(plain)
        if isinstance(drawn, Text) and drawn.spans:
            if long > width:
                drawn = drawn.copy()
                drawn.truncate(width, overflow="ellipsis")
                long = drawn.cell_len
            pad = Segment(" " * (width - long), style)
            parts = self._parts(drawn, style)
            end = Segment(" ", style)
            return [pad, *parts, end] if column.right else [*parts, pad, end]
        if isinstance(drawn, Text) and drawn.style:
            style += self.app.console.get_style(drawn.style)
        if long > width:
            plain = shortened(plain, width, column.numbered)
            long = width
        pad_text = " " * (width - long)
        return [Segment((pad_text + plain if column.right else plain + pad_text) + " ", style)]

    def _parts(self, drawn: Text, style: Style) -> list[Segment]:
        """A cell with styles of its own; most say what another said before."""
        key = (drawn.plain, tuple(drawn.spans), drawn.style, style)
        parts = self._known_parts.get(key)
        if parts is None:
            if len(self._known_parts) >= PARTS_MAX:
                self._known_parts.clear()
            parts = self._known_parts[key] = [
                Segment(segment.text, style + segment.style if segment.style else style)
                for segment in drawn.render(self.app.console)
            ]
        return parts

    # -- what fades

    def _phase_of(self, index: int) -> tuple[Any, bool]:
        """How a row looks as time goes by: its own phase, and whether a sweep passes over it."""
        row, swept = self.shown[index], False
        if self._swept is not None:
            place = (index - self.scroll_offset.y) / max(1, self.size.height - 1)
            swept = self._swept(row, place)
        return (self._phase(row) if self._phase is not None else None), swept

    def refresh_fading(self) -> None:
        """Draw again the lines that look different now only because time went by."""
        if self._phase is None and self._swept is None:
            return
        top = self.scroll_offset.y
        for index in range(top, min(top + self.size.height - 1, len(self.shown))):
            if self._phases.get(index) != self._phase_of(index):
                self._draw_row(index)

    def on_resize(self) -> None:
        """Take the new width; nothing is to be done for a table that is only shown again."""
        if self.size == self._size_drawn:
            return
        self._size_drawn = self.size
        self._fitted = None
        self._extend()
        # A table that became lower must not hide the row that somebody is on, or the newest: not
        # in its first drawing either, unless its height is known after that only.
        self._reveal()
        self.call_after_refresh(self._reveal)
        self.call_after_refresh(self._tell_whole)

    # -- the focus

    def on_focus(self, event: events.Focus) -> None:
        """Show the cursor. Textual's way draws all anew and reads the styles of each part."""
        event.prevent_default()
        self.has_focus = True
        if not self._lit:
            self.post_message(self.Moved())
        self.light(True)

    def on_blur(self, event: events.Blur) -> None:
        """Hide the cursor; on a page that is hidden now nobody sees it, and it comes back."""
        event.prevent_default()
        self.has_focus = False
        if all(each.display for each in self.ancestors_with_self):
            self.light(False)

    def watch_has_focus(self, _has_focus: bool) -> None:
        """How it looks with the focus is said by `light`."""

    @property
    def is_lit(self) -> bool:
        """Whether it looks as if it had the focus."""
        return self._lit

    def light_before_drawn(self) -> None:
        """Look from the first drawing on as a table does that has the focus: it will get it."""
        self._lit = True
        self.set_class(True, "-lit", update=False)

    def light(self, lit: bool) -> None:
        """Look as a table does that has the focus, or has it not."""
        if lit != self._lit:
            self._lit = lit
            self.set_class(lit, "-lit", update=False)
            self._lighting = True
            try:
                self.app.stylesheet.apply(self)
            finally:
                self._lighting = False
            self.refresh()

    def _get_component_classes(self) -> frozenset[str]:  # type: ignore[override]
        # What is drawn inside is the same with the focus and without.
        return frozenset() if self._lighting else super()._get_component_classes()

    # -- moving

    def action_cursor(self, step: int) -> None:
        """Move the cursor by `step` rows."""
        self._go(self._cursor + step)

    def action_page(self, pages: int) -> None:
        """Move the cursor by screens."""
        self._go(self._cursor + pages * max(1, self.size.height - 2))

    def action_half(self, way: int) -> None:
        """Move the cursor by half a screen."""
        self._go(self._cursor + way * max(1, self.size.height // 2))

    def action_edge(self, end: int) -> None:
        """Move the cursor to the first (0) or last (1) row."""
        self._go(len(self.shown) - 1 if end else 0)

    def action_select(self) -> None:
        """Choose the row under the cursor."""
        if (row := self.cursor_row) is not None:
            self.post_message(self.Selected(self, row))

    def on_click(self, event: events.Click) -> None:
        """A title sorts; a row gets the cursor, and is opened by another click."""
        place = event.get_content_offset(self)
        if place is None:
            return
        if place.y == 0:
            x = place.x + self.scroll_offset.x
            for index, _, width in self._fit():
                if x <= width:
                    self.sort_by(index)
                    return
                x -= width + 1
            return
        index = self.scroll_offset.y + place.y - 1
        if index < len(self.shown):
            if index == self._cursor and self._had_focus:
                self.action_select()
            self._had_focus = True
            self._go(index)

    def on_mouse_down(self) -> None:
        """Note whether the cursor was to be seen before this click."""
        self._had_focus = self.has_focus

    def _go(self, index: int) -> None:
        if not self.shown:
            return
        before, self._looks_back, self._followed = self._cursor, False, False
        self._cursor = max(0, min(index, len(self.shown) - 1))
        self._note_cursor()
        # Where nothing scrolls, two lines change; scrolling draws all of them anyway.
        self._draw_row(before)
        self._reveal()
        self._draw_row(self._cursor)
        self._tell_moved()

    def _reveal(self) -> None:
        rows_seen = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if self._cursor < top:
            top = self._cursor
        elif self._cursor >= top + rows_seen:
            top = self._cursor - rows_seen + 1
        self._revealing = True
        self.scroll_to(y=top, animate=False, immediate=True)
        self._revealing = False

    def region_of_cursor(self) -> Region:
        """Where the cursor is drawn, in cells of this widget."""
        return Region(0, self._cursor - self.scroll_offset.y + 1, self.size.width, 1)
