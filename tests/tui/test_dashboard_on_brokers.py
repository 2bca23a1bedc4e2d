"""The dashboard on real brokers, logd and Apache Kafka: what happens there is on the screen."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pexpect
import pytest

from clusters.admin import AdminClient
from clusters.watch.events import EventKind
from tests.both_engines import ENGINES, running
from tests.shell.terminal import Terminal
from tui.app import DashboardApp
from tui.table import LiveTable

LOG = logging.getLogger(__name__)
START_S = 60
STEP_S = 0.05
# Generous: both take a tenth of a second where nothing else runs, and where tests run much does.
SEEN_AFTER_S_MAX, LOST_S_MAX = 15.0, 25.0


@pytest.fixture(scope="module", params=ENGINES)
def brokers(request):
    with running(request.param) as cluster:
        yield cluster


async def until(pilot, condition, what: str, seconds: float = START_S) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        await pilot.pause(STEP_S)
    raise AssertionError(f"not within {seconds} s: {what}")


def drawn(table: LiveTable) -> str:
    return "\n".join(table.render_line(y).text for y in range(table.size.height))


def states(app: DashboardApp) -> list[str]:
    """How each broker answers that counts as up."""
    return [each.state for _, each in sorted(app.store.view.standings.items())]


async def create(bootstrap: list[str], topic: str) -> None:
    """A topic of three replicas, once all brokers are there."""
    end = time.monotonic() + START_S
    async with AdminClient(bootstrap) as admin:
        while True:
            try:
                await admin.create_topic(topic, 3, 3)
                return
            except Exception:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)


@pytest.mark.timeout(300)
async def test_what_happens_is_on_the_screen(brokers) -> None:
    bootstrap = brokers.bootstrap.split(",")
    await create(bootstrap, "orders")
    app = DashboardApp(bootstrap)
    async with app.run_test(size=(140, 45)) as pilot:
        view = app.store.view
        await until(pilot, lambda: len(view.rows_of("orders")) == 3, "the topic")
        assert app.store.status.mode == "live"
        await until(pilot, lambda: all(len(r.isr) == 3 for r in view.rows_of("orders")), "in sync")
        assert len(app.table("brokers").shown) == 3

        victim = view.rows_of("orders")[0].leader
        touched = {r.key for r in view.rows_of("orders") if r.leader == victim}
        await until(pilot, lambda: states(app) == ["answers"] * 3, "all answer")
        brokers.kill(victim)
        killed = time.monotonic()
        await until(
            pilot,
            lambda: view.silent_brokers() == [victim] or view.health().brokers_up == 2,
            "the dead one is missed",
        )
        LOG.info("missed %.2f s after it was killed", time.monotonic() - killed)
        await until(
            pilot,
            lambda: all(
                r.leader not in (-1, victim) and victim not in r.isr for r in view.rows_of("orders")
            ),
            "leaders move, ISRs shrink",
        )
        moved = {(e.topic, e.partition) for e in view.events if e.kind is EventKind.LEADER_MOVED}
        assert touched <= moved
        await until(pilot, lambda: "✖" in drawn(app.table("brokers")), "the dead broker is drawn")
        assert "◐" in drawn(app.table("partitions"))

        brokers.start(victim)
        await until(
            pilot,
            lambda: all(len(r.isr) == 3 for r in view.rows_of("orders")),
            "it is back in sync",
            START_S,
        )
        await until(pilot, lambda: "✖" not in drawn(app.table("brokers")), "drawn whole again")
        await until(pilot, lambda: states(app) == ["answers"] * 3, "all answer again")
        expanded = [e for e in view.events if e.kind is EventKind.ISR_EXPANDED]
        assert {(e.topic, e.partition) for e in expanded} >= touched


@pytest.mark.timeout(300)
async def test_one_that_does_not_answer_is_missed_before_it_is_called_down(brokers) -> None:
    app = DashboardApp(brokers.bootstrap.split(","))
    async with app.run_test(size=(140, 45)) as pilot:
        view = app.store.view

        def heard(broker: int) -> str:
            return next(row.heard for row in view.brokers if row.id == broker)

        await until(pilot, lambda: states(app) == ["answers"] * 3, "all answer")
        # Not the one that leads the quorum: that would be an election, and another story.
        victim = next(each for each in (1, 2, 3) if each != view.controller_id)
        attention, said = app.page.texts["attention"], f"broker {victim} has not answered for"
        before, process = len(view.events), brokers.processes[victim]
        process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            await until(
                pilot,
                lambda: (
                    heard(victim) == "silent"
                    and "? silent" in drawn(app.table("brokers"))
                    and said in str(attention.content)
                ),
                "the frozen one is missed, drawn so, and named",
            )
            LOG.info("missed %.2f s after it was frozen", time.monotonic() - stopped)
            # It counts as up, and the log of the cluster says nothing of it.
            assert next(r.state for r in view.brokers if r.id == victim) == "up"
            assert not [e for e in list(view.events)[before:] if e.broker == victim]
        finally:
            process.send_signal(signal.SIGCONT)
        await until(pilot, lambda: all(row.state == "up" for row in view.brokers), "up")
        await until(pilot, lambda: states(app) == ["answers"] * 3, "it answers again")
        await until(pilot, lambda: said not in str(attention.content), "named no more")


@contextmanager
def on_a_terminal(bootstrap: str, folder: Path) -> Iterator[Terminal]:
    """`logctl dash` as a person has it: what is asserted is what the screen shows."""
    environment = {f"XDG_{name}_HOME": str(folder) for name in ("CONFIG", "DATA", "STATE")}
    words = ("--bootstrap", bootstrap, "dash")
    terminal = Terminal(*words, environment=environment, lines=40, columns=140)
    try:
        yield terminal
    finally:
        terminal.close()


def row(partition: str, leader: str, *, sign: str = "[●◐]") -> str:
    """A pattern for the row of a partition: health, what happened to it, brokers, leader."""
    return rf"^│{sign} {partition} +[^\s│]* +(?:\S ){{3}} +({leader})(?:≠| )"


@contextmanager
def told_by_watch(bootstrap: str, folder: Path) -> Iterator[SimpleQueue[tuple[str, int, float]]]:
    """Leaders that moved as `logctl watch` tells them: topic, partition, when (monotonic)."""
    told: SimpleQueue[tuple[str, int, float]] = SimpleQueue()
    live = threading.Event()
    words = ["--bootstrap", bootstrap, "--format", "json", "watch", "--from-start"]
    process = subprocess.Popen(
        [sys.executable, "-m", "shell.main", *words],
        stdout=subprocess.PIPE,
        env=os.environ | {f"XDG_{name}_HOME": str(folder) for name in ("CONFIG", "DATA", "STATE")},
    )

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            live.set()
            if event["kind"] == EventKind.LEADER_MOVED:
                told.put((event["topic"], event["partition"], time.monotonic()))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert live.wait(START_S), "watch tells nothing"
        yield told
    finally:
        process.terminate()
        process.wait(60)
        reader.join(60)


@pytest.mark.timeout(300)
def test_a_killed_leader_is_seen_on_a_terminal(brokers, tmp_path) -> None:
    topic, bootstrap = "payments", brokers.bootstrap
    asyncio.run(create(bootstrap.split(","), topic))
    with told_by_watch(bootstrap, tmp_path) as told, on_a_terminal(bootstrap, tmp_path) as terminal:
        terminal.until(r"● live +brokers 3/3 +offline 0 +under-replicated 0 ")
        victim = terminal.until(row(f"{topic}-0", r"\d"))[1]
        others = "".join(each for each in "123" if each != victim)

        brokers.kill(int(victim))
        terminal.until(row(f"{topic}-0", f"[{others}]", sign="◐"))
        seen_at = time.monotonic()
        terminal.until(rf"^│{victim} +127.0.0.1:\d+ .*✖ fenced")
        terminal.until(r"● live +✖ brokers 2/3 +offline 0 +◐ under-replicated [36] +⇄ \d")
        terminal.type("6")
        terminal.until(rf"⇄ LeaderMoved +{topic}-0 +{victim} → [{others}] ")
        terminal.until(rf"▼ IsrShrunk +{topic}-0 +\[[^\]]*{victim}[^\]]*\] → \[[{others} ]+\]")
        terminal.until(rf"✖ BrokerFenced +broker {victim} ")
        told_at = 0.0
        while not told_at:
            moved, partition, at = told.get(timeout=START_S)
            told_at = at if (moved, partition) == (topic, 0) else 0.0
        after_s = seen_at - told_at
        LOG.info("on the screen %+.0f ms after watch told it", after_s * 1000)
        assert after_s < SEEN_AFTER_S_MAX
        terminal.type("1")
        terminal.until(r"^│◐ orders-0 |^│◐ payments-0 ")

        brokers.start(int(victim))
        terminal.until(r"● live +brokers 3/3 +offline 0 +under-replicated 0 ")
        terminal.until(row(f"{topic}-0", r"\d", sign="●"))
        terminal.until(rf"^│{victim} +127.0.0.1:\d+ .*● up")
        terminal.type("6")
        terminal.until(rf"▲ IsrExpanded +{topic}-\d +\[[{others} ]+\] → \[[^\]]*{victim}[^\]]*\]")
        terminal.type("1")
        terminal.until(row(f"{topic}-0", r"\d", sign="●"))

        for each in (1, 2, 3):
            brokers.kill(each)
        dead_at = time.monotonic()
        terminal.until(r"✖ LOST (for \d+ s +)?nobody answers")
        lost_s = time.monotonic() - dead_at
        LOG.info("LOST on the screen %.2f s after the last broker died", lost_s)
        assert lost_s < LOST_S_MAX
        assert "live" not in terminal.text
        terminal.until(r"Attention( \(\d+\))?, as it was")

        for each in (1, 2, 3):
            brokers.start(each)
        terminal.until(r"● live +brokers 3/3 +offline 0 +under-replicated 0 ")
        terminal.until("LOST", gone=True)
        terminal.type("q")
        terminal.process.expect(pexpect.EOF, timeout=START_S)
        terminal.process.wait()
        assert terminal.process.exitstatus == 0
