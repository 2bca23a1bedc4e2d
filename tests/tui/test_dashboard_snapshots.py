"""Every screen at three sizes, in both themes, with a clock that stands still.

Kept is what a person reads, and how it is drawn: both themes must say the same words, so each is
kept once, with the styles of the dark and of the light theme side by side. What is read must stand
out from what is behind it (WCAG 2.1, 1.4.3). Two pictures are kept as SVG for what text cannot
tell. Refresh: `pytest tests/tui/test_dashboard_snapshots.py --snapshot-update`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import groupby
from string import ascii_letters
from typing import Any, NamedTuple

import pytest
from rich.style import Style
from textual.color import Color
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from clusters.admin import (
    ConfigEntry,
    Gathered,
    GroupDetail,
    GroupMember,
    GroupSummary,
    LogDir,
    PartitionLag,
    ReplicaSize,
)
from clusters.admin.denied import Rights
from clusters.polls import PollKind
from tui.action_screen import ActionScreen, Phase
from tui.app import DashboardApp
from tui.done import DoneLog
from tui.pages import PAGES, Place

SIZES = [(80, 24), (120, 36), (250, 70)]
SUBJECTS = {
    "broker": "2",
    "topic": "orders",
    "group": "billing",
    "records": "orders",
    "settings": "topic orders",
}
PLACES = [Place(kind, SUBJECTS.get(kind, "")) for kind in PAGES]
# Of these what is told stays so, whether the cluster is heard or not.
TOLD = ("events", "commands")
# WCAG 2.1, level AA, for text of ordinary size.
CONTRAST_MIN = 4.5
STEP_S = 0.01
STEPS = 1_500


def answers(cluster) -> None:
    """What polls tell, the same each time."""
    keys = [
        (n, i) for n, t in cluster.projector.image.topics.items() for i in range(len(t.partitions))
    ]
    lag = Gathered(
        tuple(
            PartitionLag(
                topic="orders",
                partition=i,
                committed=100 * i,
                start=0,
                end=100 * i + 7 * i,
                lag=7 * i,
                member="m-1" if i < 3 else None,
            )
            for i in range(6)
        )
    )
    member = GroupMember(
        member_id="m-1",
        instance_id=None,
        client_id="biller",
        host="10.0.0.7",
        partitions=(("orders", 0), ("orders", 1), ("orders", 2)),
    )
    replica = {"offset_lag": 0, "is_future": False}
    cluster.polled.update(
        {
            "rights": Rights("User:ANONYMOUS", frozenset()),
            "ends": dict.fromkeys(keys, 1_000),
            "ranges": lambda topic: {key: (10, 1_000) for key in keys if key[0] == topic},
            "groups": Gathered(
                (
                    GroupSummary(
                        group="billing",
                        state="Stable",
                        protocol_type="consumer",
                        group_type="classic",
                        coordinator=2,
                    ),
                )
            ),
            "group": GroupDetail(
                group="billing",
                state="Stable",
                protocol_type="consumer",
                assignor="range",
                coordinator=2,
                generation=4,
                members=(member,),
            ),
            "lag": lag,
            "lags": {"billing": lag},
            "configs": [
                ConfigEntry(name="retention.ms", value="604800000", source="dynamic topic")
            ],
            "broker configs": [
                ConfigEntry(name="min.insync.replicas", value="2", source="static broker")
            ],
            "transactions": (),
            "settings": [
                ConfigEntry(
                    name="retention.ms",
                    value="604800000",
                    source="topic",
                    type="long",
                    documentation="How long records are kept, -1 for ever.",
                    synonyms=[
                        ("retention.ms", "604800000", "topic"),
                        ("log.retention.ms", "86400000", "static broker"),
                        ("log.retention.hours", "168", "default"),
                    ],
                ),
                ConfigEntry(name="cleanup.policy", value="delete", source="default", type="list"),
                ConfigEntry(
                    name="sasl.jaas.config",
                    value=None,
                    source="static broker",
                    type="password",
                    read_only=True,
                    is_sensitive=True,
                ),
            ],
            "log dirs": Gathered(
                tuple(
                    LogDir(
                        broker=broker,
                        path="/var/lib/logd",
                        error=None,
                        total_bytes=10 << 30,
                        usable_bytes=4 << 30,
                        replicas=tuple(
                            ReplicaSize(topic=t, partition=p, size_bytes=4_096, **replica)
                            for t, p in keys
                        ),
                    )
                    for broker in (1, 2, 3)
                )
            ),
        }
    )


class Clerk:
    """Tells three records and waits for more; of an action, what it would do."""

    deploys = False

    def shown(self, words: Sequence[str]) -> str:
        return "logctl " + " ".join(words)

    async def run(self, words: Sequence[str], on_line: Callable[[str], Any]) -> int:
        if words[0] != "tail":
            on_line(f"would {words[1]} the topic; 6 partitions, 18 replicas")
            return 0
        for offset in range(3):
            told = {
                "topic": "orders", "partition": offset, "offset": 100 + offset,
                "timestamp": "2026-01-31T12:00:00.000Z", "key": f"order-{offset}",
                "value": '{"total": 12, "sku": "A1"}', "encoding": "utf-8",
                "headers": [{"name": "source", "value": "web", "encoding": "utf-8"}],
                "key_encoding": "utf-8",
            }  # fmt: skip
            on_line(json.dumps(told))
        await asyncio.Event().wait()
        return 0


class Cell(NamedTuple):
    """A place of the screen. Colours are what the terminal is told, after all blending."""

    sign: str
    style: str
    front: str
    back: str


Cells = list[list[Cell]]


def _cell(sign: str, style: Style) -> Cell:
    front, back = (
        colour.get_truecolor().hex if colour is not None else "default"
        for colour in (style.color, style.bgcolor)
    )
    if style.reverse:
        front, back = back, front
    names = [name for name in ("bold", "dim", "italic", "underline") if getattr(style, name)]
    return Cell(sign, " ".join([front, "on", back, *names]), front, back)


def cells(app: DashboardApp) -> Cells:
    """The screen as it is drawn."""
    rows: Cells = []
    for strip in app.screen._compositor.render_strips():
        known: dict[Style | None, Cell] = {}
        row: list[Cell] = []
        for text, style, control in strip:
            if control:
                continue
            if style not in known:
                known[style] = _cell("", style or Style.null())
            _, *how = known[style]
            row += [Cell(sign, *how) for sign in text]
        rows.append(row)
    return rows


def words(screen: Cells) -> str:
    """The screen as a person without colours reads it."""
    return "\n".join("".join(cell.sign for cell in row).rstrip() for row in screen)


def folded(lines: Sequence[str]) -> list[str]:
    """Lines, what comes again and again written once."""
    told = []
    for line, same in groupby(lines):
        number = len(list(same))
        told.append(line if number == 1 else f"{line}  x{number}")
    return told


def drawn(dark: Cells, light: Cells) -> str:
    """Words, then for each line its runs of style by letter, then what the letters stand for.

    `3a 12b` are three places in the style a, then twelve in b; each is told as dark | light.
    """
    letters: dict[str, str] = {}
    names = [*ascii_letters, *(a + b for a in ascii_letters for b in ascii_letters)]
    runs = []
    for row, other in zip(dark, light, strict=True):
        pairs = [f"{a.style} | {b.style}" for a, b in zip(row, other, strict=True)]
        parts = []
        for pair, same in groupby(pairs):
            letter = letters.setdefault(pair, names[len(letters)])
            parts.append(f"{len(list(same))}{letter}")
        runs.append(" ".join(parts))
    legend = [f"{letter} = {pair}" for pair, letter in letters.items()]
    return "\n".join([*folded(words(dark).split("\n")), "", *folded(runs), "", *legend])


def faint(screen: Cells, region: Region) -> list[str]:
    """Words that stand out too little from what is behind them, with their contrast.

    A zero of what should not be steps back: it is no news.
    """
    found = []
    for row in (line[region.x : region.right] for line in screen[region.y : region.bottom]):
        for (style, front, back), run in groupby(row, key=lambda cell: cell[1:]):
            text = "".join(cell.sign for cell in run)
            if any(sign.isalnum() and sign != "0" for sign in text):
                ratio = contrast(front, back)
                if ratio < CONTRAST_MIN:
                    found.append(f"{ratio:.1f} {style}: {text.strip()}")
    return found


def contrast(front: str, back: str) -> float:
    """WCAG 2.1, relative luminance and contrast ratio: 1 to 21."""
    one, two = sorted(luminance(Color.parse(each)) for each in (front, back))
    return (two + 0.05) / (one + 0.05)


def luminance(colour: Color) -> float:
    """WCAG 2.1: 0 for black, 1 for white."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (colour.r / 255, colour.g / 255, colour.b / 255)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


async def until(pilot: Pilot[int], condition: Callable[[], bool], what: str) -> None:
    for _ in range(STEPS):
        if condition():
            return
        await pilot.pause(STEP_S)
    raise AssertionError(f"not within {STEPS * STEP_S:.0f} s: {what}")


def answered(app: DashboardApp) -> bool:
    """Whether all that was asked has been told, and what was told has been painted."""
    if not app.store.view.partitions or app._paint_due or not app.page.is_mounted:
        return False
    if getattr(app.page, "_due", False):
        return False
    return all(app.store.answer(poll).at_ms is not None for poll in app._wanted())


async def settled(pilot: Pilot[int], app: DashboardApp) -> Cells:
    """The screen once every answer is in and it is drawn the same three times running."""
    before: list[Any] = []
    same = 0
    for _ in range(STEPS):
        await pilot.pause(STEP_S)
        for box in app.screen.query(Input):
            box.cursor_blink = False
        if not answered(app):
            same = 0
            continue
        # What the next tick would do: the keys that are offered follow the cursor.
        app._paint_status()
        await pilot.pause()
        now = [strip._segments for strip in app.screen._compositor.render_strips()]
        same = same + 1 if now == before else 0
        before = now
        if same >= 2:
            return cells(app)
    raise AssertionError(f"the screen does not come to rest:\n{words(cells(app))}")


async def hurt(cluster) -> None:
    """A broker dies, a partition has no leader."""
    await cluster.tell(replaying=True)
    cluster.kill(2)
    cluster.change("signups", 2, isr=(1,), leader=-1)
    await cluster.tell()


async def hurt_and_seen(cluster, pilot: Pilot[int], app: DashboardApp) -> None:
    """So long ago that nothing is lit any more, and trails still tell."""
    await hurt(cluster)
    view = app.store.view
    await until(pilot, lambda: bool(view.trails) and not app._paint_due, "what happened")
    cluster.now_ms += 5_000
    # What is lit goes out with a tick; the next comes in half a second, and may be late.
    app._tick()
    await until(pilot, lambda: not view.sweeping(app.now_ms()), "the light goes out")
    # Ages are told when something is painted, which nothing asks for while the clock stands still.
    app._paint()
    await until(pilot, lambda: not app._paint_due, "ages as of now")


@pytest.fixture(autouse=True)
def own_configuration(tmp_path, monkeypatch):
    """Two saved contexts, and no choice of anybody's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "logctl"
    folder.mkdir()
    (folder / "config.yaml").write_text(
        "contexts:\n"
        "  orders-cluster: {bootstrap: ['127.0.0.1:19092']}\n"
        "  spare: {bootstrap: ['127.0.0.1:29092'], read_only: true}\n"
    )


@pytest.fixture
def asked_once(cluster):
    """Polls are asked once: with a clock that stands still they tell the same for ever."""
    answers(cluster)
    kinds = cluster.kinds()
    cluster.kinds = lambda: {name: PollKind(kind.ask, 600_000) for name, kind in kinds.items()}
    return cluster


def deeds(log: DoneLog, at_ms: int) -> None:
    """What was done before, and is being done."""
    for context, command, code, said in (
        ("spare", "partition elect", 0, "Elected 3 leaders."),
        ("orders-cluster", "topic delete sign-ups", 1, "error: There is no topic sign-ups."),
        ("orders-cluster", "partition move orders:3=1,2,3 --wait", 130, "Interrupted."),
        ("orders-cluster", "broker restart 2", None, ""),
    ):
        at_ms += 61_000
        id_ = log.begin(context, f"logctl --context {context} {command}", (), at_ms)
        if code is not None:
            log.end(id_, code, 1_400, said)


class Tour:
    """Goes from screen to screen and keeps each, drawn in both themes."""

    def __init__(self, app: DashboardApp, pilot: Pilot[int]) -> None:
        self.app, self.pilot = app, pilot
        self.kept: dict[str, str] = {}
        self.faint: list[str] = []

    async def keep(self, name: str, *, stale: bool = False) -> str:
        """Keep the screen that is seen. What is stale may be faint: it is drawn as gone by."""
        app = self.app
        # Whichever is on comes first: to change it costs more than all the rest.
        first = app.theme
        screens = {first: await settled(self.pilot, app)}
        app.action_next_theme()
        screens[app.theme] = await settled(self.pilot, app)
        dark, light = screens["logctl-dark"], screens["logctl-light"]
        assert words(light) == words(dark), name
        assert light != dark, name
        self.kept[name] = drawn(dark, light)
        # What lies behind a dialog is dimmed, as what is stale.
        top = app.screen.children[0].region if len(app.screen_stack) > 1 else app.screen.region
        for screen in () if stale else (dark, light):
            self.faint += [f"{name}: {line}" for line in faint(screen, top)]
        return words(dark)

    async def leave(self) -> None:
        """Close what lies over the page."""
        await self.pilot.press("escape")
        await until(self.pilot, lambda: len(self.app.screen_stack) == 1, "the dialog is gone")

    async def pages(self) -> None:
        for place in PLACES:
            self.app.open_place(place)
            await self.keep(place.kind)

    async def record(self) -> None:
        self.app.open_place(Place("records", "orders"))
        await until(self.pilot, lambda: bool(self.app.table("records").shown), "records")
        await settled(self.pilot, self.app)
        await self.over("enter", "one record")
        await self.over("f", "read from")

    async def over(self, key: str, name: str) -> None:
        await self.pilot.press(key)
        await until(self.pilot, lambda: len(self.app.screen_stack) == 2, name)
        await self.keep(name)
        await self.leave()

    async def dialogs(self) -> None:
        app, pilot = self.app, self.pilot
        app.open_place(Place("topics"))
        await settled(pilot, app)
        await self.over("question_mark", "help")
        await self.over("C", "create topic")
        await pilot.press("D")
        await until(
            pilot,
            lambda: isinstance(app.screen, ActionScreen) and app.screen.phase is Phase.AGREEING,
            "what would go",
        )
        await self.keep("delete topic")
        await self.leave()

    async def lines(self) -> None:
        app, pilot = self.app, self.pilot
        await pilot.press("colon", *"topic si")
        await until(pilot, lambda: app._bar.value == "topic si", "what was typed")
        await self.keep("go to")
        await pilot.press("escape", "slash", *"sign")
        await until(pilot, lambda: len(app.table("topics").shown) == 1, "one topic")
        await self.keep("filter")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: len(app.table("topics").shown) == 2, "all topics")
        await pilot.press("ctrl+p", *"quorum")
        await until(pilot, lambda: len(app.screen_stack) == 2, "the palette")
        await until(
            pilot,
            lambda: (
                [o.id for o in app.screen.query_one(OptionList).options] != []
                and "uorum" in words(cells(app))
            ),
            "what was found",
        )
        # Its colours are Textual's own.
        await self.keep("palette", stale=True)
        await self.leave()

    async def states(self, cluster) -> None:
        app = self.app
        for place in (Place("overview"), Place("topics"), Place("topic", "orders")):
            app.open_place(place)
            whole = cluster.status
            cluster.status = replace(whole, mode="sampled")
            await cluster.tell()
            assert "sampled, may miss changes" in await self.keep(f"{place.kind} sampled")
            cluster.lose("nobody answers")
            await cluster.tell()
            assert "LOST for 7 s" in await self.keep(f"{place.kind} lost", stale=True)
            cluster.status = whole
            await cluster.tell()
            app.read_only = True
            app._paint()
            assert "(read-only)" in await self.keep(f"{place.kind} read-only")
            app.read_only = False


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_screens(snapshot, asked_once, open_dashboard, size) -> None:
    app = open_dashboard(asked_once, commander=Clerk())
    async with app.run_test(size=size) as pilot:
        await hurt_and_seen(asked_once, pilot, app)
        deeds(app.done, asked_once.now_ms - 3_600_000)
        tour = Tour(app, pilot)
        parts: list[Callable[[], Awaitable[None]]] = [
            tour.pages, tour.record, tour.dialogs, tour.lines
        ]  # fmt: skip
        for part in parts:
            await part()
        await tour.states(asked_once)
    wrong = [name for name, screen in tour.kept.items() if screen != snapshot(name=name)]
    for name in wrong[:1]:
        assert tour.kept[name] == snapshot(name=name), f"differ: {', '.join(wrong)}"
    assert tour.faint == []


@pytest.mark.parametrize("theme", ["logctl-dark", "logctl-light"])
def test_picture(snap_compare, asked_once, open_dashboard, theme) -> None:
    app = open_dashboard(asked_once)

    async def play(pilot: Pilot[int]) -> None:
        app.theme = theme
        await hurt_and_seen(asked_once, pilot, app)
        await settled(pilot, app)

    assert snap_compare(app, terminal_size=(120, 36), run_before=play)


async def test_lost_and_sampled_are_said_on_every_page(asked_once, open_dashboard) -> None:
    app = open_dashboard(asked_once, commander=Clerk())
    async with app.run_test(size=(100, 30)) as pilot:
        await asked_once.tell(replaying=True)
        for mode, said in (("sampled", "sampled, may miss changes"), ("lost", "LOST for 7 s")):
            asked_once.lose("nobody answers")
            asked_once.status = replace(asked_once.status, mode=mode)
            for place in PLACES:
                app.open_place(place)
                await asked_once.tell()
                assert said in words(await settled(pilot, app)), place
                table = app.page.main_table()
                assert table is not None
                assert table.has_class("stale") is (mode == "lost" and place.kind not in TOLD)
