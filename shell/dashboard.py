"""The dashboard as the shell opens it. Loads Textual: import it only to show it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import tui.app
from tui.app import DashboardApp

if TYPE_CHECKING:
    from tui.app import Guide


class Dashboard(DashboardApp):
    """The same app; Ctrl-C leaves it as it ends every other command, and no traceback is drawn."""

    # Textual looks for the style beside the module of the class.
    CSS_PATH = os.path.join(os.path.dirname(tui.app.__file__), "dashboard.tcss")
    problem: BaseException | None = None

    def action_help_quit(self) -> None:
        """Take the key that Textual only answers with advice."""
        self.exit()

    def _fatal_error(self) -> None:
        self.problem = sys.exc_info()[1]
        self.panic()


async def show_dashboard(
    bootstrap: Sequence[str], *, guide: Guide | None = None, name: str = ""
) -> None:
    """Show the dashboard until the person leaves it. Raises the error that ended it, if one did."""
    app = Dashboard(bootstrap, guide=guide, name=name)
    await app.run_async()
    if app.problem is not None:
        raise app.problem
    if app.return_code:
        raise RuntimeError(f"the dashboard ended with code {app.return_code}")
