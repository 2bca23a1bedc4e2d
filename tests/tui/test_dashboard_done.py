"""What was done from dashboards is told afterwards: by this one, by others, after they ended."""

import json
import multiprocessing
import stat
from pathlib import Path

import pytest

from tests.tui.piloting import Clerk, until
from tui.action_screen import ActionScreen, Phase
from tui.done import COMMAND_MAX, FILE_BYTES_MAX, HIDDEN, SAID_MAX, Done, DoneLog, kept_words
from tui.pages.base import Place


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "logctl" / "done.jsonl"


def run(log: DoneLog, command: str, code: int = 0, said: str = "", at_ms: int = 1_000) -> str:
    id_ = log.begin("prod", command, (), at_ms)
    log.end(id_, code, 20, said)
    return id_


# -- the file


def test_what_was_run_is_told_after_the_dashboard_ended(path) -> None:
    log = DoneLog(str(path))
    first = run(log, "logctl topic create a", said="Created a.")
    second = log.begin("prod", "logctl topic delete a", (), 2_000)
    assert [each.ended for each in log.entries()] == ["under way", "done"]
    log.end(second, 1, 7, "error: no such topic")
    later = DoneLog(str(path)).entries()
    assert later == [
        Done(second, 2_000, "prod", "logctl topic delete a", 1, 7, "error: no such topic"),
        Done(first, 1_000, "prod", "logctl topic create a", 0, 20, "Created a."),
    ]
    assert [each.ended for each in later] == ["failed (1)", "done"]


def test_an_end_that_was_never_told_is_not_made_up(path) -> None:
    DoneLog(str(path)).begin("", "logctl broker stop 1", (), 1_000)
    assert [each.ended for each in DoneLog(str(path)).entries()] == ["end not known"]


@pytest.mark.parametrize(("code", "ended"), [(130, "interrupted"), (4, "refused"), (0, "done")])
def test_ends_in_words(path, code, ended) -> None:
    log = DoneLog(str(path))
    run(log, "logctl x", code)
    assert log.entries()[0].ended == ended


def test_nobody_else_may_read_it(path) -> None:
    run(DoneLog(str(path)), "logctl x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_stays_within_bounds_and_keeps_the_newest(path) -> None:
    log = DoneLog(str(path))
    for number in range(400):
        run(log, f"logctl topic create t-{number} " + "x" * 2 * COMMAND_MAX, said="y" * 5_000)
    files = [*path.parent.iterdir()]
    assert len(files) == 2
    assert all(each.stat().st_size < FILE_BYTES_MAX + 2 * COMMAND_MAX for each in files)
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
    kept = DoneLog(str(path)).entries()
    assert 30 < len(kept) < 400
    assert any(each.command.startswith("logctl topic create t-399 ") for each in kept)
    assert max(len(each.said) for each in kept) == SAID_MAX


def test_what_is_damaged_is_left_out_and_the_rest_is_told(path) -> None:
    log = DoneLog(str(path))
    run(log, "logctl a")
    with path.open("ab") as file:
        file.write(b'{"id": "x"}\n[1]\nnull\n{"id": 3, "command": []}\n\xff\xfe\n{"id"\n')
    run(log, "logctl b")
    assert {each.command for each in DoneLog(str(path)).entries()} == {"logctl a", "logctl b"}


def test_where_nothing_can_be_kept_it_is_said_and_this_dashboard_knows(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    log = DoneLog(str(tmp_path / "file" / "done.jsonl"))
    run(log, "logctl a")
    assert "could not be written" in log.problem
    assert [each.command for each in log.entries()] == ["logctl a"]


def _run_many(path: str, name: str) -> None:
    log = DoneLog(path)
    for number in range(60):
        run(log, f"logctl {name} {number} " + "x" * 1_500)


def test_two_dashboards_at_once_lose_nothing(path) -> None:
    """Both also put full files aside meanwhile."""
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_run_many, args=(str(path), name)) for name in "ab"]
    for each in others:
        each.start()
    for each in others:
        each.join(60)
    assert [each.exitcode for each in others] == [0, 0]
    commands = {each.command.split(" x")[0] for each in DoneLog(str(path)).entries()}
    assert commands == {f"logctl {name} {number}" for name in "ab" for number in range(60)}


def test_the_same_list_until_something_is_new(path) -> None:
    log, other = DoneLog(str(path)), DoneLog(str(path))
    run(log, "logctl a")
    assert log.entries() is log.entries()
    run(other, "logctl b", at_ms=2_000)
    assert [each.command for each in log.entries()] == ["logctl b", "logctl a"]


# -- what is not kept


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("topic create a --config retention.ms=7d", "topic create a --config retention.ms=7d"),
        ("produce a --key k -- v", "produce a --key (hidden) -- (hidden)"),
        ("produce --header s=1 -- -a v", "produce --header s=(hidden) -- -a (hidden)"),
        ("produce a -- --key", "produce a -- (hidden)"),
        ("produce a --key=-k -- v", "produce a --key=(hidden) -- (hidden)"),
        ("config set broker 1 ssl.key.password=x", "config set broker 1 ssl.key.password=(hidden)"),
        ("topic alter a --config my.secret=y", "topic alter a --config my.secret=(hidden)"),
    ],
)  # fmt: skip
def test_records_and_secrets_are_not_kept(words, kept) -> None:
    assert kept_words(words.split())[0] == kept.split()


def test_what_is_hidden_is_not_said_either(path) -> None:
    log = DoneLog(str(path))
    log.end(log.begin("", "logctl produce", ["hunter2", "hunter22"], 1), 1, 1, "bad: hunter22")
    assert log.entries()[0].said == f"bad: {HIDDEN}"
    assert b"hunter" not in path.read_bytes()


# -- in the dashboard


@pytest.fixture
def clerk() -> Clerk:
    return Clerk()


@pytest.fixture
async def desk(cluster, open_dashboard, clerk):
    app = open_dashboard(cluster, commander=clerk)
    async with app.run_test(size=(140, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: bool(app.store.view.topics), "the cluster")
        yield app, pilot


async def act(app, pilot, words: str, *keys: str) -> ActionScreen:
    app.run_command(words)
    await until(pilot, lambda: isinstance(app.screen, ActionScreen), "the dialog")
    screen = app.screen
    await pilot.press(*keys)
    await until(pilot, lambda: screen.phase is Phase.AGREEING, "the question")
    await until(pilot, lambda: screen._seen_s is not None, "it is seen")
    await pilot.press("enter")
    await until(pilot, lambda: screen.phase is Phase.DONE, "it is done")
    return screen


async def test_what_an_action_ran_is_on_the_page_and_in_the_file(desk, state_home) -> None:
    app, pilot = desk
    screen = await act(app, pilot, "elect-all")
    screen.dismiss(0)
    await pilot.press("h")
    await until(pilot, lambda: app.place == Place("commands"), "the page")
    table = app.page.main_table()
    await until(pilot, lambda: len(table.shown) == 1, "its row")
    row = table.shown[0]
    assert (row.context, row.command, row.ended) == ("orders-cluster", "logctl partition elect",
                                                     "done")  # fmt: skip
    assert row.said == "fine"
    assert "logctl partition elect" in str(app.page.texts["facts"].content)
    await pilot.press("y")
    assert app.clipboard == "logctl partition elect"
    await pilot.press("Y")
    assert json.loads(app.clipboard)["ended"] == "done"
    assert {offer.subject for offer in app.offers()} == {None}
    file = state_home / "logctl" / "dashboard-commands.jsonl"
    assert DoneLog(str(file)).entries()[0].command == "logctl partition elect"


async def test_the_last_lines_are_kept(cluster, open_dashboard) -> None:
    """An error says what to do next on a line of its own."""

    class Failing(Clerk):
        async def run(self, words, on_line) -> int:
            for number in range(6):
                on_line(f"line {number}")
            return 0 if "--dry-run" in words else 1

    app = open_dashboard(cluster, commander=Failing())
    async with app.run_test(size=(140, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: bool(app.store.view.topics), "the cluster")
        (await act(app, pilot, "elect-all")).dismiss(1)
        assert app.done.entries()[0].said.splitlines() == [f"line {n}" for n in (2, 3, 4, 5)]
        await pilot.press("h")
        await until(pilot, lambda: app.place == Place("commands"), "the page")
        await until(pilot, lambda: "line 5" in str(app.page.texts["facts"].content), "all of it")
        assert "✖ failed (1)" in str(app.page.texts["facts"].content)


async def test_the_value_of_a_record_stands_nowhere(desk, state_home) -> None:
    app, pilot = desk
    await act(app, pilot, "produce orders", *"hunter2", "enter")
    found = DoneLog(str(state_home / "logctl" / "dashboard-commands.jsonl")).entries()
    assert [each.command for each in found] == ["logctl produce orders -- (hidden)"]
    assert not any(b"hunter2" in each.read_bytes() for each in state_home.rglob("*.jsonl*"))


async def test_a_look_is_no_deed(desk, clerk) -> None:
    app, pilot = desk
    app.run_command("elect-all")
    await until(pilot, lambda: bool(clerk.ran), "what it would do")
    await pilot.press("escape")
    app.run_command("commands")
    await until(pilot, lambda: app.page.is_mounted, "the page")
    assert not app.page.main_table().shown
    assert "Nothing was run" in str(app.page.texts["facts"].content)


async def test_only_this_cluster(desk, state_home) -> None:
    """What another dashboard does meanwhile is seen too."""
    app, pilot = desk
    app.run_command("commands")
    run(DoneLog(app.done.path), "logctl topic create x")
    await until(pilot, lambda: len(app.page.main_table().shown) == 1, "that of another")
    await pilot.press("o")
    await until(pilot, lambda: not app.page.main_table().shown, "none of this one")
    await pilot.press("o")
    await until(pilot, lambda: len(app.page.main_table().shown) == 1, "all again")
