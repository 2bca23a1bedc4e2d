"""The prompt, driven by keys through a pipe."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from shell.exits import ExitCode
from shell.registry import Command
from shell.repl import LiveState, RegistryCompleter, Repl

ENTER, CTRL_C, CTRL_D, TAB = "\r", "\x03", "\x04", "\t"


@contextmanager
def shell_on(logctl):
    with create_pipe_input() as keys:
        repl = Repl(
            logctl.registry,
            logctl.runner,
            history=InMemoryHistory(),
            terminal_in=keys,
            terminal_out=DummyOutput(),
        )
        yield repl, keys


async def until(condition, seconds=60):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def test_lines_run_commands_and_ctrl_d_leaves(logctl):
    with shell_on(logctl) as (repl, keys):
        keys.send_text("topic list --format json" + ENTER + CTRL_D)
        async with asyncio.timeout(60):
            assert await repl.run() == ExitCode.DONE
    assert b'"topic": "orders"' in logctl.out.getvalue()


async def test_a_line_waits_for_what_is_just_being_loaded(logctl, monkeypatch):
    """Two threads that load a package and a module of it at once: Python gives up one of them."""
    loading, may_end, ended = threading.Event(), threading.Event(), []

    def load(name):
        assert name == "clusters.admin"
        loading.set()
        assert may_end.wait(60)
        ended.append(list(logctl.doors.connected_to))

    monkeypatch.setattr("shell.repl.importlib", SimpleNamespace(import_module=load))
    with shell_on(logctl) as (repl, keys):
        running = asyncio.create_task(repl.run())
        await until(loading.is_set)
        keys.send_text("topic list" + ENTER)
        await until(lambda: repl._running is not None)
        for _ in range(200):  # enough turns for a line that does not wait
            await asyncio.sleep(0)
        assert logctl.out.getvalue() == b""
        may_end.set()
        await until(lambda: b"signups" in logctl.out.getvalue())
        keys.send_text(CTRL_D)
        async with asyncio.timeout(60):
            assert await running == ExitCode.DONE
    assert ended == [[]]


async def test_ctrl_c_ends_a_line_that_waits_for_what_is_loaded(logctl, monkeypatch):
    loading, may_end = threading.Event(), threading.Event()

    def load(_):
        loading.set()
        assert may_end.wait(60)

    monkeypatch.setattr("shell.repl.importlib", SimpleNamespace(import_module=load))
    with shell_on(logctl) as (repl, keys):
        running = asyncio.create_task(repl.run())
        await until(loading.is_set)
        keys.send_text("topic list" + ENTER)
        await until(lambda: repl._running is not None)
        signal.raise_signal(signal.SIGINT)
        await until(lambda: repl._running is None)
        may_end.set()
        keys.send_text(CTRL_D)
        async with asyncio.timeout(60):
            await running
    assert logctl.out.getvalue() == b""


async def test_an_error_is_told_and_the_shell_lives_on(logctl):
    with shell_on(logctl) as (repl, keys):
        keys.send_text("topc" + ENTER + "topic list 'x" + ENTER + "broker list" + ENTER + CTRL_D)
        async with asyncio.timeout(60):
            assert await repl.run() == ExitCode.DONE
    told = logctl.err.getvalue()
    assert "Did you mean 'topic'?" in told
    assert "The line cannot be read" in told
    assert b"127.0.0.1:19092" in logctl.out.getvalue()


async def test_ctrl_c_at_the_prompt_clears_the_line(logctl):
    with shell_on(logctl) as (repl, keys):
        keys.send_text("topic delete orders" + CTRL_C + "exit" + ENTER)
        async with asyncio.timeout(60):
            await repl.run()
    assert logctl.doors.fake.calls == []


@pytest.mark.parametrize(("endless", "code"), [(False, ExitCode.FAILED), (True, ExitCode.DONE)])
async def test_ctrl_c_ends_the_running_command_only(logctl, endless, code):
    started = asyncio.Event()
    ended = []

    async def wait(session):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    logctl.registry.add(Command(name="hang", summary="Waits.", run=wait, endless=endless))
    from shell.cli import build

    logctl.runner.tree = build(logctl.registry)
    with shell_on(logctl) as (repl, keys):
        running = asyncio.create_task(repl.run())
        keys.send_text("hang" + ENTER)
        async with asyncio.timeout(60):
            await started.wait()
        signal.raise_signal(signal.SIGINT)
        await until(lambda: ended)
        await until(lambda: repl._running is None)
        assert repl.last_code == code
        keys.send_text("topic list" + ENTER + CTRL_D)
        async with asyncio.timeout(60):
            assert await running == ExitCode.DONE
    assert b"signups" in logctl.out.getvalue()


async def test_tab_completes_live_topic_names(logctl):
    with shell_on(logctl) as (repl, keys):
        running = asyncio.create_task(repl.run())
        await until(lambda: repl.live.names.topics)
        keys.send_text("topic describe sig")
        buffer = repl.prompt.default_buffer
        await until(lambda: buffer.complete_state and buffer.complete_state.completions)
        keys.send_text(TAB)
        await until(lambda: buffer.text == "topic describe signups")
        keys.send_text(ENTER + CTRL_D)
        async with asyncio.timeout(60):
            await running
    assert b"signups" in logctl.out.getvalue()


async def test_a_tab_counts_that_comes_with_the_letters_before_it(logctl):
    """The menu of what was typed is not made by then; another Tab goes on to the next of it."""
    with shell_on(logctl) as (repl, keys):
        running = asyncio.create_task(repl.run())
        await until(lambda: repl.live.names.topics)
        keys.send_text("topi" + TAB + " des" + TAB + " sig" + TAB + ENTER)
        await until(lambda: b"signups" in logctl.out.getvalue())
        keys.send_text("nothing-is-called-so" + TAB + ENTER)
        await until(lambda: "nothing-is-called-so" in logctl.err.getvalue())
        keys.send_text("partition mo" + TAB + TAB + ENTER + CTRL_D)
        async with asyncio.timeout(60):
            await running
    history = repl.history.get_strings()
    assert history == ["topic describe signups", "nothing-is-called-so", "partition moves"]


@pytest.mark.parametrize("turns", range(6))
async def test_asking_ends_with_the_prompt_whatever_changes_just_then(logctl, turns):
    """A change wakes it some turns of the loop before the prompt ends: the end counts."""
    with shell_on(logctl) as (repl, _):
        drawn = asyncio.Event()
        drawn.set()
        asking = asyncio.create_task(repl._refresh_for_ever(drawn))
        await until(lambda: repl.live.seen and not repl._hurry.is_set(), 30)
        for _ in range(20):  # until it waits for the next change
            await asyncio.sleep(0)
        repl._hurry.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        ended, _ = await asyncio.wait([asking], timeout=60)
        assert ended


async def test_an_alias_made_while_the_cluster_is_asked_stays(logctl):
    with shell_on(logctl) as (repl, _):
        asked, answered = asyncio.Event(), asyncio.Event()
        topics = logctl.doors.fake.topics

        async def slow_topics(*given, **named):
            asked.set()
            await answered.wait()
            return await topics(*given, **named)

        logctl.doors.fake.topics = slow_topics
        refreshing = asyncio.create_task(repl.live.refresh(repl._session()))
        await asked.wait()
        repl.live.names = replace(repl.live.names, aliases={"hl": "help topic list"})
        answered.set()
        await refreshing
        assert repl.live.names.topics["orders"] == 3
        assert repl.live.names.aliases == {"hl": "help topic list"}


async def test_names_stay_when_the_cluster_falls_silent(logctl):
    with shell_on(logctl) as (repl, _):
        await repl.live.refresh(repl._session())
        assert repl.live.names.topics["orders"] == 3
        assert not repl.live.names.stale
        logctl.doors.fake.failure = ConnectionError("nobody answers")
        await repl.live.refresh(repl._session())
        assert repl.live.names.topics["orders"] == 3
        assert repl.live.names.stale
        completer = RegistryCompleter(logctl.registry, lambda: repl.live.names)
        found = list(completer.get_completions(Document("topic describe sig"), CompleteEvent()))
        assert [(c.text, c.start_position) for c in found] == [("signups", -3)]
        assert "stale" in found[0].display_meta_text


async def test_the_toolbar_tells_context_cluster_and_health(logctl):
    def shown(repl):
        return "".join(text for _, text in repl.toolbar())

    with shell_on(logctl) as (repl, _):
        await repl.live.refresh(repl._session())
        text = shown(repl)
        for part in (
            "local",
            "Zm9yIHRl",
            "controller 1",
            "brokers 2/3",
            "under-replicated 2",
            "offline 1",
        ):
            assert part in text
        logctl.doors.fake.failure = ConnectionError("nobody answers")
        await repl.live.refresh(repl._session())
        assert "stale: nobody answers" in shown(repl)
        logctl.doors.current = None
        await repl.live.refresh(repl._session())
        assert "no cluster" in shown(repl)
        assert "brokers" not in shown(repl)


async def test_a_prompt_comes_while_the_cluster_hangs(logctl):
    logctl.doors.fake.delay_forever = True
    with shell_on(logctl) as (repl, keys):
        keys.send_text("context list" + ENTER + CTRL_D)
        async with asyncio.timeout(60):
            assert await repl.run() == ExitCode.DONE
    assert b"local" in logctl.out.getvalue()


async def test_options_of_the_start_hold_for_each_line(logctl):
    logctl.runner.base = {"bootstrap": "b:1", "format": "json"}
    with shell_on(logctl) as (repl, _):
        assert await repl.execute("topic list") == ExitCode.DONE
        assert logctl.doors.connected_to[-1][0] == ("b:1",)
        assert logctl.out.getvalue().startswith(b"[")
        assert await repl.execute("logctl topic list --format table") == ExitCode.DONE
        assert b"UNDER-REPLICATED" in logctl.out.getvalue()


def test_live_state_begins_empty_and_says_nothing_wrong():
    state = LiveState()
    assert state.names.topics == {}
    assert state.problem is None


async def test_when_nobody_answers_the_last_answer_is_shown_with_its_age(logctl):
    with shell_on(logctl) as (repl, _):
        assert await repl.execute("topic list") == ExitCode.DONE
        logctl.doors.fake.failure = ConnectionError("nobody answers")
        logctl.out.truncate(0)
        logctl.err.truncate(0)
        assert await repl.execute("topic list") == ExitCode.FAILED
        told = logctl.err.getvalue()
        assert "nobody answers" in told
        assert re.search(r"What was answered \d+ s ago:", told)
        assert "signups" in told
        assert logctl.out.getvalue() == b"", "an old answer is no data"
        logctl.err.truncate(0)
        await repl.execute("topic list | cat > /dev/null")
        assert "What was answered" not in logctl.err.getvalue()


async def test_another_cluster_makes_its_names_forgotten(logctl):
    logctl.doors.save_context(replace(logctl.doors.saved["local"], name="b", bootstrap=["b:1"]))
    with shell_on(logctl) as (repl, _):
        await repl.live.refresh(repl._session())
        assert repl.live.names.topics
        logctl.doors.current = "b"
        logctl.doors.fake.failure = ConnectionError("nobody answers")
        await repl.live.refresh(repl._session())
        assert repl.live.where == "b"
        assert repl.live.names.topics == {}
        assert not repl.live.seen


async def test_a_read_only_context_shows_in_the_toolbar(logctl):
    logctl.runner.base = {"read_only": True}
    with shell_on(logctl) as (repl, _):
        await repl.live.refresh(repl._session())
        assert "read-only" in "".join(text for _, text in repl.toolbar())
