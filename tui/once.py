"""Screens that draw once what changed together.

Textual draws as soon as the first part of a change is there, then what the other parts had to say
meanwhile, then what follows from their new sizes: a page was drawn three times, under somebody's
key. Here all parts are heard first, for a few turns of the event loop. What is drawn must never
wait for long, and never for what keeps changing.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from textual.css.model import RuleSet
from textual.events import ScreenResume
from textual.geometry import Size
from textual.reactive import Reactive
from textual.screen import UPDATE_PERIOD, Screen
from textual.timer import Timer
from textual.widget import Widget

from tui.compositing import FrontToBack

if TYPE_CHECKING:
    _Drawn = Screen[Any]
else:
    # No screen itself, for Textual reads the styles of the first class that is one.
    _Drawn = object

# How long is waited for the rest of a change: turns of the event loop, and seconds.
TURNS_MAX = 24
WAIT_S_MAX = 0.035


class DrawnOnce(_Drawn):
    """Stands before the kind of screen that a class is otherwise."""

    _draws = _lays_out = _draws_together = False
    # The rules that it got its looks from.
    _known_looks: list[RuleSet] | None = None
    _timer: Timer | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._compositor = FrontToBack()

    @property
    def _update_timer(self) -> Timer:
        if self._timer is None:
            self._timer = self.set_interval(
                UPDATE_PERIOD, self._draw_together, name="screen_update", pause=True
            )
        return self._timer

    async def _draw_together(self) -> None:
        """Lay out, hear what all parts make of that, and draw."""
        self._draws_together = True
        try:
            await self._hear_and_draw()
        finally:
            self._draws_together = False

    async def _hear_and_draw(self) -> None:
        self._update_timer.pause()
        until = time.thread_time() + WAIT_S_MAX
        await self._hear_all(until)
        if self.is_current and not self.app._batch_count:
            with self._laying_out():
                while self._layout_required or self._scroll_required:
                    super()._on_timer_update()
                    if time.thread_time() >= until:
                        break
                    await self._hear_all(until)
        self._on_timer_update()

    @property
    def is_undrawn(self) -> bool:
        """Whether something is yet to be drawn, or is being."""
        waits = self._layout_required or self._scroll_required or bool(self._dirty_widgets)
        return self._draws_together or waits or self._update_timer._active.is_set()

    def _on_timer_update(self) -> None:
        """Lay out and draw what is known to have changed."""
        with self._laying_out():
            super()._on_timer_update()
        # What is not seen has nothing to be drawn, and must not wait for it either.
        if self.is_current and (self._compositor._dirty_regions or self._dirty_widgets):
            if self.app._batch_count:
                self._update_timer.resume()
                return
            self._draws = True
            try:
                super()._compositor_refresh()
            finally:
                self._draws = False
        if self._callbacks:
            self.call_next(self._invoke_and_clear_callbacks)

    @contextlib.contextmanager
    def _laying_out(self) -> Iterator[None]:
        self._lays_out = True
        try:
            yield
        finally:
            self._lays_out = False

    def _on_screen_resume(self, event: ScreenResume) -> None:
        # It got its looks when it was made, or when it was shown last, unless they are others now.
        known, self._known_looks = self._known_looks, self.app.stylesheet.rules
        same = known is None or known is self._known_looks
        event.refresh_styles = event.refresh_styles and not same

    def _screen_resized(self, size: Size) -> None:
        # Textual lays out once more what has just got this size, and what lies under a dialog
        # whenever one is opened.
        if size != self._size:
            super()._screen_resized(size)

    def _compositor_refresh(self) -> None:
        """Have it drawn soon, with what else is to be drawn then."""
        if self._draws:
            super()._compositor_refresh()
        elif not self._lays_out:
            self._update_timer.resume()

    async def _invoke_and_clear_callbacks(self) -> None:
        # Those wait until all is drawn.
        if not self._lays_out:
            await super()._invoke_and_clear_callbacks()

    async def _hear_all(self, until_s: float) -> None:
        """Let parts say what they have to."""
        for _ in range(TURNS_MAX):
            if time.thread_time() >= until_s or not self._is_awaited():
                return
            await asyncio.sleep(0)

    def _is_awaited(self) -> bool:
        """Whether a part has yet to say what changed, or does not know its size yet.

        What the screen and the application have yet to do is waited for, too: a line that was
        closed by Enter is drawn together with the page that it asked for.
        """
        if self.message_queue_size or self.app.message_queue_size:
            return True
        return any(_has_to_say(each) for each in self._compositor.visible_widgets)


class PageScreen(DrawnOnce, Screen[None]):
    """The screen of the pages."""

    # The focus is drawn by what has it: the rest stands as it was.
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)


def _has_to_say(widget: Widget) -> bool:
    told = not (widget._repaint_required or widget._layout_required or widget._next_callbacks)
    return not (told and widget._message_queue.empty())
