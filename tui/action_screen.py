"""The dialog of an action: its questions, what it will touch, its command, and how it went.

Nothing is changed before the preview was on the screen and was agreed to; what destroys also wants
the name typed. The command shown is the one that runs.
"""

import asyncio
import contextlib
import time
from enum import Enum
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Input, Static

from tui.actions import Action, Values
from tui.badge import badge, badge_text
from tui.box import Box, all_taken
from tui.dialog import Dialog, at_once, chosen_only
from tui.done import INTERRUPTED, kept_words
from tui.doors import Commander
from tui.drawing import age
from tui.keys import sign
from tui.pages.base import Desk, Subject
from tui.pressing import Press, Presses
from tui.words import with_flag

LINES_MAX = 500
# Of them the log of what was done has so many: an error and what to do about it.
KEPT_LINES = 4
# Cells of a name that is to be typed, as it is asked for.
NAME_SHOWN_MAX = 40
# For so long is what was shown good enough to be agreed to.
LOOKED_MS_MAX = 60_000
# A click so soon after a question is the second of two that began before it.
TWICE_S = 0.3
# Lines of a preview that begin so tell what would break.
BREAKS = ("✖", "◔")


class Phase(Enum):
    """Where the dialog is."""

    ASKING = "asking"
    LOOKING = "looking"
    AGREEING = "agreeing"
    DOING = "doing"
    DONE = "done"


COPY = ("dialog.copy", "copies the command", "screen.copy")
LOOK_BACK = ("dialog.up", "more", "screen.look(-1)")
LEAVE = ("dialog.leave", "leaves", "screen.leave")
# What stands before, and keys with what they do and the action of a click on them.
HINTS: dict[Phase, tuple[str, tuple[tuple[str, str, str], ...]]] = {
    Phase.ASKING: (
        "",
        (
            ("enter", "shows what it would do", "screen.go_on"),
            ("dialog.next", "next field", "screen.field(1)"),
            LEAVE,
        ),
    ),
    Phase.LOOKING: ("asking the cluster what it would do …", (LEAVE,)),
    Phase.AGREEING: ("", (("dialog.agree", "does it", "screen.go_on"), COPY, LEAVE)),
    Phase.DOING: (
        "under way …",
        (("dialog.leave", "interrupts it, as Ctrl-C does", "screen.leave"),),
    ),
    Phase.DONE: ("", (("enter", "or Escape closes", "screen.go_on"), COPY)),
}


NOTHING_PRESSED = Presses()


class AtItsEnd(Vertical):
    """Parts below one another, of which the last is seen where not all are, while `stays`."""

    stays = False

    def _scroll_update(self, virtual_size: Size) -> None:
        super()._scroll_update(virtual_size)
        if self.stays:
            # Within the layout: whatever got longer, and however late, it is never drawn without.
            self.scroll_end(animate=False, immediate=True)


class ActionScreen(Dialog[int | None]):
    """Returns the command's exit code, or None when it was not run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        at_once("escape", "leave", "Leave"),
        at_once("enter", "enter", "Go on"),
        # At once, or what is typed after it still goes into the field before.
        at_once("tab", "field(1)", "Next field"),
        at_once("shift+tab", "field(-1)", "Field before"),
        chosen_only("go_on", "Go on in a dialog", "dialog.agree"),
        chosen_only("leave", "Leave a dialog", "dialog.leave"),
        chosen_only("field(1)", "Next field", "dialog.next"),
        chosen_only("field(-1)", "Field before", "dialog.before"),
        Binding("ctrl+y", "copy", "Copy the command", id="dialog.copy"),
        # The field has the focus: without these what lies further up is seen with a mouse alone.
        Binding("pageup", "look(-1)", "Look back in what it says", id="dialog.up"),
        Binding("pagedown", "look(1)", "Look on in what it says", id="dialog.down"),
    ]

    def __init__(
        self, action: Action, subject: Subject | None, commander: Commander, desk: Desk
    ) -> None:
        super().__init__()
        self.action, self._about, self._commander = action, subject, commander
        self._desk = desk
        self._fields = tuple(action.fields(subject))
        self._preview: list[str] = []
        self._said: list[str] = []
        self._looked_ms = 0
        # When the question was drawn, by the clock of events; None while it is not.
        self._seen_s: float | None = None
        # When the key was pressed of which it was told that it is only held down.
        self._held_s = 0.0
        self._pressed = False
        self._code: int | None = None
        self._progressing = False
        self._looked: Values = {}
        self.phase = Phase.ASKING
        self._boxes: dict[str, Box] = {}
        # Where the name is to be typed that is destroyed, by an action that does so.
        self._typed: Box | None = None
        self._frame = AtItsEnd(id="action")
        self._command = Static(id="action-command", markup=False)
        self._scroll = VerticalScroll(id="action-scroll")
        self._lines = Static(id="action-said", markup=False)
        self._hint = Static(id="action-hint", markup=False)

    def compose(self) -> ComposeResult:
        """Title, questions, command, what it says, what to press."""
        title = Content(f"{self.action.title} {self._about or ''}".strip())
        if (desk := self._desk).color:
            # Where it acts comes first, as large as the colour of its context is meant to be.
            named = badge(desk.cluster, desk.color, no_color=self.app.no_color)
            title = named + " " + title
        for field in self._fields:
            box = Box(field.default, placeholder=field.hint, id=f"field-{field.name}")
            box.border_title = field.title + (" *" if field.required else "")
            self._boxes[field.name] = box
        if self.action.typed:
            # In a field without spaces to break at, a longer name would not be seen at all.
            name = str(self._about)
            name = name if cell_len(name) <= NAME_SHOWN_MAX else "its whole name"
            self._typed = Box(placeholder=f"type {name} to go on", id="action-typed")
            self._typed.display = False
        # Before the first layout: what changes after it has all laid out once more.
        self._draw()
        with self._frame:
            yield Static(title, id="action-title", markup=False)
            yield from self._boxes.values()
            yield self._command
            with self._scroll:
                yield self._lines
            if self._typed is not None:
                yield self._typed
            yield self._hint

    def on_mount(self) -> None:
        """Begin with the questions, or at once with what it would do."""
        if not self._fields:
            # Nothing was asked yet, so nothing can have been answered.
            self._look()
            return
        self.set_focus(self._boxes[self._fields[0].name])

    @property
    def words(self) -> list[str]:
        """The command, as far as the questions are answered."""
        return self.action.words(self._about, self._values())

    def _values(self) -> Values:
        return {name: box.value.strip() for name, box in self._boxes.items()}

    def _draw(self) -> None:
        command = self._commander.shown(self.words)
        self._command.update(f"$ {command}")
        self._lines.update("\n".join(self._said))
        before, hints = HINTS[self.phase]
        if self.phase is Phase.DONE and self._code is not None:
            known = {0: "done", INTERRUPTED: "interrupted"}
            before = known.get(self._code, f"failed (exit code {self._code})")
        hint = self.hint(before, (*hints, *([LOOK_BACK] if self._is_long() else ())))
        if self.phase is Phase.AGREEING and (desk := self._desk).color:
            # Beside what agrees, too: on a small screen the title may have gone out of sight.
            named = badge_text(desk.cluster, desk.color, no_color=self.app.no_color)
            hint = named.append(" ", "").append(hint)
        self._hint.update(hint)
        self._scroll.display = bool(self._said)
        self.set_class(self.phase is Phase.DONE and bool(self._code), "failed")

    def on_input_changed(self, event: Input.Changed) -> None:
        """The command follows what is typed; what was shown before no longer holds."""
        if event.input is self._typed:
            return
        # The news of a letter may come after the Enter that was typed after it.
        stale = self._values() != self._looked
        if stale and self.phase in (Phase.AGREEING, Phase.LOOKING):
            self.workers.cancel_group(self, "look")
            self.phase = Phase.ASKING
            self._said = []
            self._show_typed(False)
        self._draw()

    def is_ready_for(self, event: events.Event) -> bool:
        """What agrees waits until it is known not to come of a key that is held down."""
        press = self._goes_on(event)
        return press is None or self._presses.is_settled(press, time.monotonic())

    def is_meant(self, event: events.Event) -> bool:
        """What was typed or clicked before the question was on the screen is no answer to it.

        Nor is a key that was down before and is still held; and who holds one does not want to
        leave what came of it.
        """
        if self.phase is Phase.DONE:
            held = self._goes_on(event)
            return held is None or (self._seen_s is not None and held.since_s >= self._seen_s)
        if self.phase is not Phase.AGREEING:
            return True
        if isinstance(event, events.MouseUp):
            return self._pressed
        twice = TWICE_S if isinstance(event, events.MouseDown) else 0.0
        meant = self._seen_s is not None and event.time >= self._seen_s + twice
        if isinstance(event, events.MouseDown):
            self._pressed = meant
        if meant and (press := self._goes_on(event)) and press.since_s < (self._seen_s or 0.0):
            self._tell_held(press)
            return False
        return meant or (isinstance(event, events.Key) and event.key == "escape")

    @property
    def _presses(self) -> Presses:
        presses: Presses = getattr(self.app, "presses", NOTHING_PRESSED)
        return presses

    def _goes_on(self, event: events.Event) -> Press | None:
        """The press of a key that agrees, or closes what is done."""
        if not isinstance(event, events.Key) or self.phase not in (Phase.AGREEING, Phase.DONE):
            return None
        if event.key not in ("enter", self.key_of("dialog.agree")):
            return None
        return self._presses.find(event.key, event.time)

    def _tell_held(self, press: Press) -> None:
        if self._held_s != press.since_s:
            self._held_s = press.since_s
            said = f"Not done: {sign(press.key)} was down since before. Let go, and press it anew."
            self.notify(said, severity="warning", markup=False)

    # -- going on

    def action_field(self, step: int) -> None:
        """Go to the next field, or the one before."""
        if step > 0:
            self.focus_next()
        else:
            self.focus_previous()

    async def action_enter(self) -> None:
        """Enter goes on; who chose another key for that agrees with no other."""
        agrees = self.key_of("dialog.agree")
        if self.phase is Phase.AGREEING and agrees != "enter":
            self.notify(f"Not done: {sign(agrees)} does it.", severity="warning", markup=False)
        else:
            await self.action_go_on()

    async def action_go_on(self) -> None:
        """Look, agree, or close."""
        if not self.is_mounted or not await all_taken(self.query(Input)):
            return
        if self.phase is Phase.ASKING:
            self._look()
        elif self.phase is Phase.AGREEING:
            self._agree()
        elif self.phase is Phase.DONE:
            self.dismiss(self._code)

    def _look(self) -> None:
        self._looked = self._values()
        missing = [f for f in self._fields if f.required and not self._values()[f.name]]
        if missing:
            self._boxes[missing[0].name].focus()
            self._said = [f"{missing[0].title} is needed."]
            self._draw()
            return
        self._preview = self._known()
        self._said = list(self._preview)
        if not self.action.dry_run:
            self._ready()
            return
        self.phase = Phase.LOOKING
        self._draw()
        self.run_worker(self._dry_run(), group="look", exclusive=True)

    async def _dry_run(self) -> None:
        # Without --wait: there is nothing to wait for.
        words = [word for word in self.words if word != "--wait"]
        code = await self._commander.run(with_flag(words, "--dry-run"), self._hear)
        if code and self._fields:
            # What was asked for is not possible; it can be mended here.
            self.phase, self._code = Phase.ASKING, None
            self._draw()
        elif code:
            self._end(code)
        else:
            self._ready()

    def _known(self) -> list[str]:
        """What is known without asking, and whether that may be old."""
        store, old = self._desk.store, []
        if store.status.mode in ("lost", "slow"):
            old = [_unheard(self._desk.wall_ms(), store.status.last_contact_ms)]
        return [*old, *self.action.preview(store.view, self._about)]

    def _ready(self) -> None:
        self.phase, self._seen_s, self._pressed = Phase.AGREEING, None, False
        # On a small screen not all may be seen: the command and what agrees to it must be.
        self._frame.stays = True
        # What was typed before the question was on the screen is no answer to it.
        self.call_after_refresh(self._show_question)
        self._looked_ms = self._desk.now_ms()
        self._show_typed(True)
        self._draw()

    def _show_typed(self, shown: bool) -> None:
        if self._typed is not None:
            self._typed.display = shown
            if shown:
                self._typed.focus()

    def _show_question(self) -> None:
        self._seen_s = time.monotonic()
        self._frame.scroll_end(animate=False)
        if self._is_long():
            self._draw()

    def _is_long(self) -> bool:
        """Whether not all of what is said is seen at once."""
        return self._scroll.is_attached and self._scroll.max_scroll_y > 0

    def _agree(self) -> None:
        if self._seen_s is None:
            return
        if self._typed is not None and self._typed.value.strip() != str(self._about):
            self._typed.value = ""
            self.notify(f"Not done: type {self._about} to go on.", severity="warning", markup=False)
            return
        if self._has_changed():
            self.notify("Not done: look again, things have changed.", severity="warning")
            self._look()
            return
        self._show_typed(False)
        self.phase, self._said = Phase.DOING, []
        for box in self.query(Input):
            box.disabled = True
        self._draw()
        self.run_worker(self._do(), group="do", exclusive=True)

    def _has_changed(self) -> bool:
        """Whether what was shown is too old to be relied on, or something new would break.

        Mere numbers may change all the time: they must not keep anybody from acting.
        """
        now = set(self.action.preview(self._desk.store.view, self._about))
        broken = [line for line in now.difference(self._preview) if line.startswith(BREAKS)]
        return bool(broken) or self._desk.now_ms() - self._looked_ms > LOOKED_MS_MAX

    async def _do(self) -> None:
        words, log = self.words, self._desk.done
        kept, hidden = kept_words(words)
        shown = self._commander.shown(kept)
        code, began_ms = INTERRUPTED, self._desk.wall_ms()
        id_ = log.begin(self._desk.cluster, shown, hidden, began_ms)
        if self.action.yes:
            words = with_flag(words, "--yes")
        try:
            code = await self._commander.run(words, self._hear)
        finally:
            said = "\n".join(self._said[-KEPT_LINES:])
            log.end(id_, code, max(0, self._desk.wall_ms() - began_ms), said)
        self._end(code)

    def _end(self, code: int) -> None:
        """It was done, or could not be; how it ended stays until somebody has seen it."""
        self.phase, self._code, self._seen_s = Phase.DONE, code, None
        if self.is_current:
            self.call_after_refresh(self._show_end)
            self._draw()

    def _show_end(self) -> None:
        self._seen_s = time.monotonic()

    def _hear(self, line: str) -> None:
        if self._progressing:
            self._said.pop()
        self._progressing = line.startswith("\r")
        self._said.append(line.strip("\r").rstrip())
        del self._said[:-LINES_MAX]
        # Once it is left its parts go one by one, while lines may still come.
        if self.is_current:
            self._draw()
            self._scroll.scroll_end(animate=False)

    # -- leaving

    def action_leave(self) -> None:
        """Escape: leave without doing it, interrupt it, or close."""
        if self.phase is not Phase.DOING:
            self.dismiss(self._code)
        elif not any(each.group == "leave" and not each.is_finished for each in self.workers):
            # Not here: what ends meanwhile must not keep the keys of the whole application waiting.
            self.run_worker(self._interrupt(), group="leave")

    async def _interrupt(self) -> None:
        doing = [worker for worker in self.workers if worker.group == "do"]
        self.workers.cancel_group(self, "do")
        for worker in doing:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(5):
                    await worker.wait()
        self._said.append("Interrupted. What the cluster had begun, it may still finish.")
        self._end(INTERRUPTED)

    def action_look(self, step: int) -> None:
        """Go a page back or on in what was said; at its end in the whole dialog."""
        self._frame.stays = False
        at, most = self._scroll.scroll_offset.y, self._scroll.max_scroll_y
        part = self._scroll if (at > 0 if step < 0 else at < most) else self._frame
        part.scroll_relative(y=step * max(1, part.size.height - 1), animate=False)

    def action_copy(self) -> None:
        """Copy the command (OSC 52)."""
        command = self._commander.shown(self.words)
        self.app.copy_to_clipboard(command)
        self.notify(f"copied: {command}", markup=False)


def _unheard(now_ms: int, last_contact_ms: int) -> str:
    """That what is known of the cluster is old, or nothing; 0 where it was never heard."""
    if not last_contact_ms:
        return "⚠ The cluster has not been heard yet: nothing is known of it."
    return (
        f"⚠ The cluster has not been heard for {age(now_ms - last_contact_ms)}: this is how it was."
    )
