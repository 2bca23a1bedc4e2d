"""Remember the cluster: the manifest is complete, and commands talk to it from now on."""

from __future__ import annotations

from clusters.manifest import save_manifest
from clusters.phases.base import Run
from clusters.state import Context, use_context


class Record:
    """Saves the manifest and makes the cluster the current context."""

    title = "record"

    async def run(self, run: Run) -> None:
        """Write what a later command needs."""
        save_manifest(run.saved())
        use_context(
            Context(
                name=run.spec.name,
                bootstrap=run.spec.bootstrap,
                spec_path=run.spec.source or None,
            )
        )
