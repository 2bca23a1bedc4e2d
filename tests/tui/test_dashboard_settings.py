"""Settings on the page of a topic: at once as the metadata log has them; the age of offsets."""

from dataclasses import replace

import pytest

from broker.protocol import metadata_records as rec
from clusters.admin import ConfigEntry
from tui.store import ENDS

WAIT_S = 60.0
STEP_S = 0.02


def entry(name: str, value: str, source: str, *below: tuple[str, str]) -> ConfigEntry:
    """`below` are (value, source) that hold when it is no longer set itself."""
    layers = [(name, value, source), *((name, each, origin) for each, origin in below)]
    return ConfigEntry(name=name, value=value, source=source, synonyms=layers)


POLLED = [
    entry("cleanup.policy", "compact", "topic", ("delete", "default")),
    entry("min.insync.replicas", "1", "topic", ("2", "broker"), ("1", "default")),
    entry("retention.ms", "604800000", "topic"),
    entry("segment.bytes", "1048576", "broker"),
    entry("flush.ms", "1", "default"),
]


def setting(name: str, value: str | None) -> rec.ConfigRecord:
    return rec.ConfigRecord(resource_type=2, resource_name="orders", name=name, value=value)


@pytest.fixture
async def panel(cluster, open_dashboard):
    cluster.polled["configs"] = POLLED
    for entry in POLLED[:3]:
        cluster.apply(setting(entry.name, entry.value))
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        app.run_command("topic orders")

        async def until(*lines: str) -> None:
            wanted: list[str] = []
            for _ in range(int(WAIT_S / STEP_S)):
                cluster.now_ms += 20
                text = str(app.page.texts["settings"].content).strip()
                if (wanted := text.splitlines()) == list(lines):
                    return
                await pilot.pause(STEP_S)
            raise AssertionError(f"{wanted}, and not {lines}")

        until.app = app
        yield until


async def test_a_change_is_seen_before_it_is_asked_for_again(panel, cluster) -> None:
    before = (
        "cleanup.policy = compact",
        "min.insync.replicas = 1",
        "retention.ms = 604800000 (7 d)",
        "segment.bytes = 1048576 (1 MiB)",
    )
    await panel(*before)
    cluster.apply(setting("retention.ms", "3600000"), setting("max.message.bytes", "5"))
    await cluster.tell()
    await panel(
        "cleanup.policy = compact",
        "max.message.bytes = 5",
        "min.insync.replicas = 1",
        "retention.ms = 3600000 (60 min)",
        "segment.bytes = 1048576 (1 MiB)",
    )


async def test_what_is_no_longer_set_falls_back_to_what_lies_below(panel, cluster) -> None:
    cluster.apply(setting("cleanup.policy", None), setting("min.insync.replicas", None))
    await cluster.tell()
    await panel(
        "min.insync.replicas = 2",
        "retention.ms = 604800000 (7 d)",
        "segment.bytes = 1048576 (1 MiB)",
    )


async def test_a_sampled_cluster_shows_what_was_answered(panel, cluster) -> None:
    cluster.status = replace(cluster.status, mode="sampled")
    cluster.apply(setting("cleanup.policy", None))
    await cluster.tell()
    await panel(
        "cleanup.policy = compact",
        "min.insync.replicas = 1",
        "retention.ms = 604800000 (7 d)",
        "segment.bytes = 1048576 (1 MiB)",
    )


async def test_offsets_that_were_not_told_for_a_while_say_so(cluster, open_dashboard) -> None:
    cluster.polled["ends"] = {("orders", 0): 5}
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        for _ in range(int(WAIT_S / STEP_S)):
            if app.store.answer(ENDS).at_ms is not None:
                break
            cluster.now_ms += 20
            await pilot.pause(STEP_S)
        told = app.store.answer(ENDS)
        at_ms = told.at_ms + 9_000
        cluster.polled["ends"] = OSError("frozen")
        app.page.desk = replace(app.page.desk, now_ms=lambda: at_ms)
        app.store.answers[ENDS] = told
        for _ in range(int(WAIT_S / STEP_S)):
            app.page.paint()  # the panel is drawn once the page knows its size
            if "9 s old" in (said := str(app.page.texts["rates"].content)):
                break
            await pilot.pause(STEP_S)
        assert "9 s old" in said


async def test_a_topic_that_is_deleted_leaves_nothing_of_it_on_its_page(panel, cluster) -> None:
    await panel(
        "cleanup.policy = compact",
        "min.insync.replicas = 1",
        "retention.ms = 604800000 (7 d)",
        "segment.bytes = 1048576 (1 MiB)",
    )
    cluster.apply(rec.RemoveTopicRecord(topic_id=cluster.topic_ids["orders"]))
    await cluster.tell()
    await panel()
    page = panel.app.page
    assert not page.tables["partitions"].shown
    assert "The topic orders was deleted" in str(page.texts["facts"].content)
    assert str(page.texts["readers"].content) == ""
