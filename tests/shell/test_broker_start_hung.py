"""Starting a broker whose process is there but does nothing: said, and what to do; no success."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from shell.commands import broker_process
from shell.exits import ExitCode
from shell.output import Output


class Operations:
    """A machine on which broker 2 runs already; `cluster_state` is what the cluster says of it."""

    def __init__(self, cluster_state: str | None) -> None:
        self.cluster_state = cluster_state

    async def start_broker(self, _: int) -> SimpleNamespace:
        return SimpleNamespace(changed=False, elapsed_ms=0, waits_for=None)

    async def status(self) -> SimpleNamespace:
        broker = SimpleNamespace(id=2, state="running", cluster_state=self.cluster_state)
        return SimpleNamespace(brokers=[broker], spec_path="spec.yaml")


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("cluster_state", "code"),
    [("fenced", ExitCode.UNHEALTHY), ("down", ExitCode.UNHEALTHY), ("up", None), (None, None)],
)
async def test_a_process_that_the_cluster_does_not_hear_is_told(
    monkeypatch, cluster_state, code, dry_run
) -> None:
    stderr = io.StringIO()
    session = SimpleNamespace(output=Output(stdout=io.BytesIO(), stderr=stderr))
    monkeypatch.setattr(broker_process, "open_operations", lambda *_: Operations(cluster_state))
    assert await broker_process._start(session, id=2, dry_run=dry_run) is code
    said = stderr.getvalue()
    assert ("`broker restart 2` ends it" in said) is (code is not None)
    assert "already" in said or (code and f"it is {cluster_state}" in said)
