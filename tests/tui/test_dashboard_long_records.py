"""Long records in the dashboard: shown whole, keys answered, memory bounded."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.widgets import Static

from tests.tui.piloting import until
from tests.tui.test_dashboard_records import Reader, line
from tui.long_text import LongText, wrapped
from tui.pages import records
from tui.record_screens import RecordScreen
from tui.records import read_record


@pytest.fixture
async def reading(cluster, open_dashboard):
    reader = Reader()
    app = open_dashboard(cluster, commander=reader)
    async with app.run_test(size=(80, 24)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: "orders" in app.known_names()["topic"], "the topic is known")
        app.run_command("records orders")
        await until(pilot, lambda: bool(reader.ran), "the reader")
        yield app, pilot, reader


def drawn(app: Any) -> str:
    """What the screen shows, all of it."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    assert len(strips) == height
    return "\n".join(strip.crop(0, width).text for strip in strips)


async def test_a_long_record_is_shown_to_its_last_line(reading) -> None:
    app, pilot, reader = reading
    rows = [{"id": number, "name": "ü" * 100} for number in range(3_000)]
    value = json.dumps(rows, ensure_ascii=False)
    reader.lines.put_nowait(line(0, value))
    reader.lines.put_nowait(line(1, "short"))
    await until(pilot, lambda: len(app.table("records").shown) == 2, "both")
    await pilot.press("g", "enter")
    await until(pilot, lambda: isinstance(app.screen, RecordScreen), "the record")
    text = app.screen.query_one(LongText)
    # Five lines for each, a name takes two; what is told above, and the brackets.
    await until(pilot, lambda: len(text.lines) > 15_000, "all lines")
    assert str(app.screen.query_one("#record-text", Static).render()) == ""
    assert '"id": 0,' in drawn(app)
    # Also on the smallest screen the keys are seen.
    assert "Escape closes" in drawn(app)
    text.scroll_end(animate=False)
    await until(pilot, lambda: '"id": 2999,' in drawn(app), "the end")
    await pilot.press("k", "k")
    await until(pilot, lambda: text.scroll_offset.y == text.max_scroll_y - 2, "two lines up")

    await pilot.resize_terminal(60, 30)
    await until(pilot, lambda: max(map(cell_len, text.lines)) <= 56, "wrapped anew")
    await pilot.press("x")
    await until(pilot, lambda: "5b 7b 22 69 64 22" in drawn(app), "bytes")
    await pilot.press("n")
    await until(pilot, lambda: "short" in drawn(app), "the next, drawn as ever")
    assert not text.display


async def test_large_records_are_fewer(reading, monkeypatch) -> None:
    app, pilot, reader = reading
    monkeypatch.setattr(records, "KEPT_CHARACTERS_MAX", 50_000)
    for offset in range(8):
        reader.lines.put_nowait(line(offset, "x" * 20_000))
    await until(pilot, lambda: reader.taken == 8, "all of them")
    assert [record.offset for record in app.page.records] == [6, 7]
    reader.lines.put_nowait(line(8, "x" * 60_000))
    await until(pilot, lambda: reader.taken == 9, "one that is too large alone")
    assert [record.offset for record in app.page.records] == [8]


@pytest.mark.parametrize("size", [0, 1, 48, 49, 71, 72, 73, 74, 1_000])
def test_bytes_are_counted_without_reading_all_of_them(size) -> None:
    data = bytes(index % 256 for index in range(size))
    text = base64.b64encode(data).decode()
    record = read_record(line(0, text, encoding="base64"))
    more = " …" if size > 48 else ""
    assert record.value == f"({size} bytes) {data[:48].hex(' ')}{more}"


@given(st.text(max_size=300), st.integers(2, 40))
def test_wrapped_lines_fit_and_lose_nothing(text, width) -> None:
    lines = wrapped(text, width)
    assert all(cell_len(each) <= width for each in lines)
    assert all(each.isprintable() for each in lines)
    kept = [each for each in text if each.isprintable()]
    shown = [each for line in lines for each in line]
    missing = iter(shown)
    assert all(each in missing for each in kept)
