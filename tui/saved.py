"""The context that is shown, as it is saved: what was changed in its file is taken up.

Addresses move, certificates are given other places, a cluster is made read-only, while a dashboard
hangs on the wall for weeks. Must never go over to another cluster because somebody chose another
context elsewhere, and never end the dashboard over a file that cannot be read: it says so, once.
"""

import os
from typing import Any

from clusters.errors import StateError
from tui.doors import Target, TargetProblem

# What of a context is called how, for the person.
PARTS = {
    "bootstrap": "addresses",
    "properties": "security",
    "secrets": "security",
    "read_only": "whether it may be changed",
    "cluster_id": "the cluster's id",
    "color": "colour",
    "spec_path": "cluster file",
}


class SavedContext:
    """What is saved of the context of a target, compared with what the target was made of."""

    def __init__(self, target: Target) -> None:
        self._name, self._again = target.name, target.again
        self._saved: Any = target.saved
        self._stamp: tuple[int, int, int] | None = None
        # What was wrong at the last look, and whether that was told.
        self._problem, self._is_told = "", False

    @property
    def is_watched(self) -> bool:
        """Whether there is a file in which it can change."""
        return self._again is not None and self._saved is not None

    def has_moved(self) -> bool:
        """Whether the file is another than at the last look; cheap."""
        from clusters import state  # reads YAML: not before the first picture

        try:
            status = os.stat(state.config_path())
        except OSError:
            stamp = (0, 0, 0)
        else:
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        before, self._stamp = self._stamp, stamp
        return stamp != before

    def look(self) -> tuple[Target, str] | None:
        """The target as it is saved now, and what is another; None while nothing is.

        May take as long as the sources of secrets do. Raises TargetProblem, once for each reason.
        """
        from clusters import state

        assert self._again is not None
        try:
            found = state.contexts().get(self._name)
            if found is None:
                raise TargetProblem(f"The context {self._name} is not saved any more")
            if found == self._saved:
                self._problem = ""
                return None
            target = self._again()
        except (StateError, TargetProblem) as error:
            # Looked at again, for the reason may lie outside of the file.
            self._stamp = None
            if str(error) != self._problem:
                # At the next look it is told: a file that is being written is half there.
                self._problem, self._is_told = str(error), False
                return None
            if self._is_told:
                return None
            self._is_told = True
            raise TargetProblem(f"{error} (what it was is still shown)") from None
        what = _difference(self._saved, found)
        self._saved, self._problem = found, ""
        return target, what


def _difference(before: Any, now: Any) -> str:
    parts = [
        words
        for name, words in PARTS.items()
        if getattr(before, name, None) != getattr(now, name, None)
    ]
    return ", ".join(dict.fromkeys(parts))
