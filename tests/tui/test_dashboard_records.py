"""Records in the dashboard: as they come, paused, from another place, one in full."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from textual.widgets import Input, Static

from tests.tui.piloting import until
from tui.record_screens import ReadScreen, RecordScreen
from tui.records import hex_lines, read_record, whole


def line(offset: int, value: Any = "v", **more: Any) -> str:
    told = {
        "topic": "orders", "partition": 0, "offset": offset,
        "timestamp": "2026-01-31T12:00:00.000Z", "key": f"k{offset}", "value": value,
        "headers": [{"name": "source", "value": "web", "encoding": "utf-8"}],
        "encoding": "utf-8", "key_encoding": "utf-8",
    }  # fmt: skip
    return json.dumps(told | more)


TAIL = ["tail", "orders", "--format", "json", "--control-records", "--from"]


class Reader:
    """Writes lines as `logctl tail` would, one after the other, until it is interrupted."""

    deploys = False

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        self.taken = 0
        self.ended = 0

    def shown(self, words: Sequence[str]) -> str:
        return " ".join(words)

    async def run(self, words: Sequence[str], on_line: Any) -> int:
        self.ran.append(list(words))
        try:
            while True:
                told = on_line(await self.lines.get())
                if told is not None:
                    await told
                self.taken += 1
        finally:
            self.ended += 1


@pytest.fixture
async def reading(cluster, open_dashboard):
    reader = Reader()
    app = open_dashboard(cluster, commander=reader)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: "orders" in app.known_names()["topic"], "the topic is known")
        app.run_command("records orders")
        await until(pilot, lambda: bool(reader.ran), "the reader")
        yield app, pilot, reader


def offsets(app) -> list[int]:
    return [record.offset for record in app.table("records").shown]


def in_transaction(offset: int, state: str, *, stable: bool = True, producer_id: int = 7) -> str:
    told = {"producer_id": producer_id, "producer_epoch": 0, "state": state}
    return line(offset, f"v{offset}", transaction=told, stable=stable)


def control(kind: str, offset: int, stable_end: int, **more) -> str:
    told = {"topic": "orders", "partition": 0, "offset": offset, "timestamp": None}
    told |= {"control": kind, "last_stable_offset": stable_end, "producer_epoch": 1}
    return json.dumps(told | {"producer_id": 7} | more)


def fates(app) -> list[tuple[int, str]]:
    return [(record.offset, record.fate) for record in app.table("records").shown]


async def test_transactions_show_how_they_end_once_that_is_read(reading) -> None:
    app, pilot, reader = reading
    table = app.table("records")
    reader.lines.put_nowait(line(0))
    await until(pilot, lambda: offsets(app) == [0], "one record")
    assert "txn" not in table.render_line(0).text, "no room is taken where nothing uses it"
    for each in (
        in_transaction(1, "aborted"),
        in_transaction(2, "committed"),
        in_transaction(3, "open", stable=False),
        line(4, stable=False),
        in_transaction(5, "open", stable=False, producer_id=8),
    ):
        reader.lines.put_nowait(each)
    before = [(0, ""), (1, "aborted"), (2, ""), (3, "open"), (4, "held"), (5, "open")]
    await until(pilot, lambda: fates(app) == before, "five more")
    assert "txn" in table.render_line(0).text
    assert "aborted" in table.render_line(2).text
    reader.lines.put_nowait(control("commit", 6, 5))
    after = [(0, ""), (1, "aborted"), (2, ""), (3, ""), (4, ""), (5, "open")]
    await until(pilot, lambda: fates(app) == after, "the commit of the first")
    reader.lines.put_nowait(control("progress", 7, 7, left_out=0, high_watermark=7, waits=False))
    reader.lines.put_nowait(control("abort", 7, 8, producer_id=8))
    await until(pilot, lambda: fates(app) == [*after[:5], (5, "aborted")], "the abort")
    assert app.page.read == 6, "what ends transactions is no record"
    await pilot.press("m")
    assert fates(app)[-2:] == [(6, "commit"), (7, "abort")]
    assert "— aborted, producer 8 —" in table.render_line(8).text
    await pilot.press("m")
    assert len(fates(app)) == 6
    await pilot.press("end", "enter")
    await until(pilot, lambda: isinstance(app.screen, RecordScreen), "the record")
    shown = str(app.screen.query_one("#record-text", Static).render())
    assert "transaction aborted, producer 8 epoch 0" in shown
    assert "readers of read_committed never get it" in shown
    await pilot.press("Y")
    assert json.loads(app.clipboard)["transaction"]["state"] == "aborted"


async def test_only_what_is_committed_and_what_that_leaves_out(reading) -> None:
    app, pilot, reader = reading
    await pilot.press("o")
    await until(pilot, lambda: len(reader.ran) == 2, "another reader")
    assert reader.ran[1] == [*TAIL, "-50", "--isolation-level=read_committed"]
    table = app.table("records")
    told = {"left_out": 12_345, "high_watermark": 170, "waits": True}
    reader.lines.put_nowait(control("progress", 160, 160, **told))
    await until(pilot, lambda: "12.3k aborted left out" in table.note, "what is left out")
    assert "only committed" in table.note
    assert fates(app) == [(160, "waits")]
    assert "— open transaction, 10 behind —" in table.render_line(1).text
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, RecordScreen), "why it waits")
    shown = str(app.screen.query_one("#record-text", Static).render())
    assert "logctl producer list orders:0" in shown
    await pilot.press("y")
    assert [*app._notifications][-1].message == "nothing to copy: a control record has no value"
    await pilot.press("escape")
    reader.lines.put_nowait(control("progress", 170, 170, **(told | {"waits": False})))
    await until(pilot, lambda: fates(app) == [], "it has ended")
    await pilot.press("o")
    await until(pilot, lambda: len(reader.ran) == 3, "all again")
    assert reader.ran[2] == [*TAIL, "-50"]
    await until(pilot, lambda: "committed" not in table.note, "no word of it")


async def test_records_are_shown_as_they_come(reading) -> None:
    app, pilot, reader = reading
    assert reader.ran == [[*TAIL, "-50"]]
    for offset in range(3):
        reader.lines.put_nowait(line(offset))
    await until(pilot, lambda: offsets(app) == [0, 1, 2], "three records")
    drawn = app.table("records").render_line(1).text
    assert "k0" in drawn
    assert "v" in drawn


async def test_a_pause_stops_reading_and_loses_nothing(reading) -> None:
    app, pilot, reader = reading
    reader.lines.put_nowait(line(0))
    await until(pilot, lambda: offsets(app) == [0], "one record")
    await pilot.press("space")
    for offset in (1, 2, 3):
        reader.lines.put_nowait(line(offset))
    await pilot.pause(0.3)
    assert offsets(app) == [0]
    assert reader.lines.qsize() >= 2
    await pilot.press("space")
    await until(pilot, lambda: offsets(app) == [0, 1, 2, 3], "all of them")


async def test_nothing_is_read_while_another_page_is_seen(reading) -> None:
    app, pilot, reader = reading
    app.run_command("topic orders")
    await until(pilot, lambda: app.place.kind == "topic", "another page")
    for offset in range(3):
        reader.lines.put_nowait(line(offset))
    await pilot.pause(0.3)
    assert reader.taken == 0
    await pilot.press("escape")
    await until(pilot, lambda: app.place.kind == "records", "back")
    await until(pilot, lambda: offsets(app) == [0, 1, 2], "all of them")


async def test_reading_from_another_place_starts_anew(reading) -> None:
    app, pilot, reader = reading
    reader.lines.put_nowait(line(0))
    await until(pilot, lambda: offsets(app) == [0], "one record")
    await pilot.press("f")
    await until(pilot, lambda: isinstance(app.screen, ReadScreen), "the questions")
    app.screen.query_one("#read-from", Input).value = "@-10m"
    app.screen.query_one("#read-grep", Input).value = "-x"
    await pilot.press("enter")
    await until(pilot, lambda: len(reader.ran) == 2, "another reader")
    assert reader.ran[1][-3:] == ["--from", "@-10m", "--grep=-x"]
    assert reader.ended == 1
    await until(pilot, lambda: offsets(app) == [], "a fresh start")


async def test_an_interrupted_reader_adds_nothing_to_what_the_next_one_reads(
    cluster, open_dashboard
) -> None:
    class Stubborn(Reader):
        """Tells what was in its pipe also after it is interrupted."""

        async def run(self, words: Sequence[str], on_line: Any) -> int:
            try:
                return await super().run(words, on_line)
            except asyncio.CancelledError:
                if (told := on_line(line(99))) is not None:
                    told.close()
                raise

    reader = Stubborn()
    app = open_dashboard(cluster, commander=reader)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: "orders" in app.known_names()["topic"], "the topic is known")
        app.run_command("records orders")
        await until(pilot, lambda: bool(reader.ran), "the reader")
        await pilot.press("o")
        await until(pilot, lambda: (len(reader.ran), reader.ended) == (2, 1), "another reader")
        reader.lines.put_nowait(line(3))
        await until(pilot, lambda: offsets(app) == [3], "only what the second one reads")


async def test_a_record_in_full_and_its_bytes(reading) -> None:
    app, pilot, reader = reading
    reader.lines.put_nowait(line(7, '{"total": 12, "sku": "A1"}'))
    await until(pilot, lambda: offsets(app) == [7], "one record")
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, RecordScreen), "the record")
    shown = str(app.screen.query_one("#record-text", Static).render())
    assert '  "total": 12,' in shown
    assert "source = web" in shown
    await pilot.press("x")
    await pilot.pause()
    assert "7b 22 74" in str(app.screen.query_one("#record-text", Static).render())
    await pilot.press("y")
    assert app.clipboard == '{"total": 12, "sku": "A1"}'


async def test_from_one_record_to_the_next(reading) -> None:
    app, pilot, reader = reading
    for offset in range(3):
        reader.lines.put_nowait(line(offset, f"value {offset}"))
    await until(pilot, lambda: offsets(app) == [0, 1, 2], "three records")
    await pilot.press("g", "enter")
    await until(pilot, lambda: isinstance(app.screen, RecordScreen), "the record")

    def shown() -> str:
        return str(app.screen.query_one("#record-text", Static).render())

    await pilot.press("n")
    assert "value 1" in shown()
    # One that comes meanwhile takes nothing away.
    reader.lines.put_nowait(line(3, "value 3"))
    await until(pilot, lambda: offsets(app) == [0, 1, 2, 3], "one more")
    await pilot.press("right", "n", "n")
    assert "value 3" in shown()
    await pilot.press("p", "left", "h", "h")
    assert "value 0" in shown()
    await pilot.press("escape")
    await until(pilot, lambda: not isinstance(app.screen, RecordScreen), "closed")
    assert app.table("records").cursor_row.offset == 0


async def test_what_is_copied_of_bytes_and_of_nothing(reading) -> None:
    app, pilot, reader = reading
    reader.lines.put_nowait(line(0, "/wAB", encoding="base64"))
    reader.lines.put_nowait(line(1, None))
    await until(pilot, lambda: offsets(app) == [0, 1], "two records")
    await pilot.press("g", "enter")
    await until(pilot, lambda: isinstance(app.screen, RecordScreen), "the record")
    await pilot.press("y")
    assert app.clipboard == "/wAB"
    await pilot.press("Y")
    assert json.loads(app.clipboard)["encoding"] == "base64"
    await pilot.press("n", "y")
    assert json.loads(app.clipboard)["offset"] == 0
    assert any("tombstone" in note.message for note in app._notifications)


async def test_what_the_reader_says_is_shown(reading) -> None:
    app, pilot, reader = reading
    reader.lines.put_nowait("warning: partition 3 has no leader")
    table = app.table("records")
    await until(pilot, lambda: "no leader" in str(table.border_title), "the warning")


async def test_leaving_for_good_ends_the_reader(reading) -> None:
    _app, pilot, reader = reading
    await pilot.press("3")
    await until(pilot, lambda: reader.ended == 1, "the reader has ended")


def test_binary_values_are_shown_as_bytes() -> None:
    record = read_record(line(1, "AAEC/w==", encoding="base64"))
    assert record is not None
    assert record.value_bytes() == b"\x00\x01\x02\xff"
    assert "00 01 02 ff" in whole(record)


def test_bytes_in_a_row_are_told_as_such() -> None:
    more = {"encoding": "base64", "key_encoding": "base64"}
    headers = [
        {"name": "b", "value": "/wA=", "encoding": "base64"},
        {"name": "none", "value": None, "encoding": "utf-8"},
    ]
    record = read_record(line(1, "AAEC/w==", key="/w==", headers=headers, **more))
    assert record is not None
    assert record.value == "(4 bytes) 00 01 02 ff"
    assert record.key == "(1 bytes) ff"
    assert "key        (1 bytes) ff" in whole(record)
    assert "header     b = (2 bytes) ff 00" in whole(record)
    assert "header     none = ∅" in whole(record)


def test_a_tombstone_is_no_empty_value() -> None:
    record, empty = read_record(line(1, None)), read_record(line(2, ""))
    assert record is not None
    assert empty is not None
    assert record.value == "∅"
    assert "tombstone" in whole(record)
    assert "0 bytes" in whole(empty)


def test_control_characters_never_reach_the_screen() -> None:
    record = read_record(line(1, "a\x1b[31mb\nc"))
    assert record is not None
    assert record.value == "a·[31mb·c"


@pytest.mark.parametrize("text", ["", "talk", "{", '{"topic": 1}', '{"topic":"a","offset":"x"}'])
def test_talk_is_no_record(text) -> None:
    assert read_record(text) is None


def test_bytes_in_lines_of_sixteen() -> None:
    lines = hex_lines(bytes(range(20)))
    assert lines[0].startswith("00000000  00 01 02")
    assert lines[1].startswith("00000010  10 11 12 13")
    assert lines[1].endswith("....")
