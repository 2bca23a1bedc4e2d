"""Starting a broker whose process is there but does nothing: said, and what to do; no success."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from clusters.errors import CheckFailed
from shell.commands import broker_process
from shell.exits import ExitCode
from shell.output import Output


class Stopped:
    """A machine on which broker 2 does not run; `refusal` is what stands in the way of its start."""

    def __init__(self, refusal: str = "", waits_for: str = "") -> None:
        self.refusal, self.waits_for = refusal, waits_for

    async def status(self) -> SimpleNamespace:
        broker = SimpleNamespace(id=2, state="stopped", cluster_state=None)
        return SimpleNamespace(brokers=[broker], spec_path="spec.yaml")

    async def plan_start(self, _: int) -> tuple[None, str]:
        if self.refusal:
            raise CheckFailed([self.refusal])
        return None, self.waits_for


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


async def test_trying_a_start_says_what_would_refuse_it(monkeypatch) -> None:
    stderr = io.StringIO()
    session = SimpleNamespace(output=Output(stdout=io.BytesIO(), stderr=stderr))
    monkeypatch.setattr(broker_process, "open_operations", lambda *_: Stopped("no room"))
    with pytest.raises(CheckFailed, match="no room"):
        await broker_process._start(session, id=2, dry_run=True)
    assert "would be started" not in stderr.getvalue()
    alone = Stopped(waits_for="1 of 3 voters run")
    monkeypatch.setattr(broker_process, "open_operations", lambda *_: alone)
    assert await broker_process._start(session, id=2, dry_run=True) is None
    assert "would be started; nothing was changed" in stderr.getvalue()
    assert "1 of 3 voters run." in stderr.getvalue()
