"""Dialogs of the records page: one record in full, and where to read from. They change nothing."""

import json
from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Input, Static

from tui.box import Box, all_taken
from tui.dialog import Dialog, at_once, chosen_only
from tui.long_text import LongText
from tui.records import Record, whole

HINTS = (
    ("record.next", "next", "screen.other(1)"),
    ("record.before", "before", "screen.other(-1)"),
    ("record.hex", "bytes or text", "screen.hex"),
    ("record.copy", "copies the value", "screen.copy"),
    ("record.copy.json", "all as JSON", "screen.copy_whole"),
    ("escape", "closes", "screen.dismiss"),
)
# More than this is wrapped in another thread: keys are answered meanwhile.
SHORT_MAX, SHORT_LINES_MAX = 12_000, 300
# What stands above and below the text: the frame, a margin, two lines of keys.
AROUND_LINES, TEXT_LINES_MAX = 5, 32
READ_HINTS = (
    ("dialog.agree", "reads", "screen.read"),
    ("dialog.next", "next field", "app.focus_next"),
    ("dialog.leave", "leaves", "screen.dismiss(None)"),
)


class RecordScreen(Dialog[None]):
    """One record: key, headers, value as pretty JSON, text or bytes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        at_once("escape,enter", "dismiss", "Close"),
        at_once("q", "dismiss", "Close a record", name="record.close"),
        at_once("x", "hex", "Bytes or text", name="record.hex"),
        at_once("y", "copy", "Copy the value", name="record.copy"),
        at_once("Y", "copy_whole", "Copy as JSON", name="record.copy.json"),
        at_once("n,right,l", "other(1)", "Next record", name="record.next"),
        at_once("p,left,h", "other(-1)", "Record before", name="record.before"),
        at_once("j,down", "scroll(1)", "Down", name="record.down"),
        at_once("k,up", "scroll(-1)", "Up", name="record.up"),
    ]

    def __init__(
        self, record: Record, beside: Callable[[Record, int], Record | None] = lambda _, __: None
    ) -> None:
        """`beside(record, step)` is the one after (1) or before (-1), None at the end."""
        super().__init__()
        self.record = record
        self._beside = beside
        self._hex = False

    def compose(self) -> ComposeResult:
        """One scrolled text."""
        with Vertical(id="record"):
            with VerticalScroll(id="record-scroll"):
                yield Static(self._short_text(), id="record-text", markup=False)
            yield LongText(id="record-long")
            yield Static(self.hint("", HINTS), id="record-hint")

    def on_mount(self) -> None:
        """Draw the record."""
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        """The keys stay in sight."""
        rows = max(3, min(TEXT_LINES_MAX, event.size.height - AROUND_LINES))
        self.query_one("#record-scroll").styles.max_height = rows
        self.query_one(LongText).styles.height = rows

    def on_click(self, event: events.Click) -> None:
        """A click beside it closes it."""
        if event.widget is self:
            self.dismiss()

    def action_hex(self) -> None:
        """Show bytes, or text again."""
        self._hex = not self._hex
        self._show()

    def action_other(self, step: int) -> None:
        """The record after this, or before it, as the table has them."""
        record = self._beside(self.record, step)
        if record is None:
            self.notify("that is the last one" if step > 0 else "that is the first one")
            return
        self.record = record
        self._show()
        self.query_one("#record-scroll", VerticalScroll).scroll_home(animate=False)

    def _short_text(self) -> str:
        """All of the record where that is soon laid out, else nothing."""
        short = self.record.is_short(SHORT_MAX, SHORT_LINES_MAX)
        return whole(self.record, as_hex=self._hex) if short else ""

    def _show(self) -> None:
        text, long = self._short_text(), self.query_one(LongText)
        self.query_one("#record-text", Static).update(text)
        self.query_one("#record-scroll").display = bool(text)
        long.display = not text
        if text:
            return
        record, as_hex = self.record, self._hex
        long.show(lambda: whole(record, as_hex=as_hex))

    def action_copy(self) -> None:
        """Copy the value (OSC 52); bytes that are no text as base64."""
        record = self.record
        if record.control:
            self.notify("nothing to copy: a control record has no value", severity="warning")
        elif record.value_bytes() is None:
            self.notify("nothing to copy: a tombstone has no value", severity="warning")
        elif record.is_text:
            self.app.copy_to_clipboard((record.value_bytes() or b"").decode(errors="replace"))
            self.notify("copied the value")
        else:
            self.app.copy_to_clipboard(str(record.told.get("value")))
            self.notify("copied the value as base64: it is no text")

    def action_copy_whole(self) -> None:
        """Copy all of it as JSON (OSC 52)."""
        self.app.copy_to_clipboard(json.dumps(self.record.to_json(), ensure_ascii=False))
        self.notify("copied the record as JSON")

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        for each in (self.query_one("#record-scroll"), self.query_one(LongText)):
            if each.display:
                each.scroll_relative(y=lines, animate=False)


class ReadScreen(Dialog[dict[str, str] | None]):
    """Where to read from, and which records; returns the answers, or None when left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        at_once("escape", "dismiss(None)", "Leave"),
        at_once("enter", "read", "Read"),
        # As in the dialogs of actions.
        chosen_only("read", "Read", "dialog.agree"),
        chosen_only("dismiss(None)", "Leave", "dialog.leave"),
        chosen_only("app.focus_next", "Next field", "dialog.next"),
        chosen_only("app.focus_previous", "Field before", "dialog.before"),
    ]
    FIELDS: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("from", "From", "start, end, offset 1500, last -100, time @-10m or @2026-01-31T12:00"),
        ("grep", "Only with this pattern", "a regular expression over key, value and headers"),
        ("where", "Only where", "a condition on JSON values: total>100"),
    )

    def __init__(self, now: dict[str, str]) -> None:
        super().__init__()
        self._now = now

    def compose(self) -> ComposeResult:
        """One input for each answer."""
        with Vertical(id="action"):
            yield Static("Read records", id="action-title")
            for name, title, hint in self.FIELDS:
                box = Box(self._now.get(name, ""), placeholder=hint, id=f"read-{name}")
                box.border_title = title
                yield box
            yield Static(self.hint("", READ_HINTS), id="action-hint")

    def on_mount(self) -> None:
        """Begin with the position."""
        self.query_one("#read-from", Input).focus()

    async def action_read(self) -> None:
        """Give the answers back."""
        if not await all_taken(self.query(Input)):
            return
        self.dismiss(
            {
                name: self.query_one(f"#read-{name}", Input).value.strip()
                for name, _, _ in self.FIELDS
            }
        )
