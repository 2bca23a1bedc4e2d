"""What destroys records says, before it asks, that nothing brings them back."""

from __future__ import annotations

from shell.exits import ExitCode


def test_deleting_a_topic_says_that_it_cannot_be_undone(logctl):
    refused = logctl("topic", "delete", "orders")
    assert refused.code == ExitCode.REFUSED
    assert "This cannot be undone." in refused.err
