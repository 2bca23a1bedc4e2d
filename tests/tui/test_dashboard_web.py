"""The dashboard in a real browser: pages, keys, mouse, size, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import clusters
from clusters.admin import AdminClient
from clusters.state import Context
from clusters.throwaway import ThrowAwayCluster
from shell.output import Output
from shell.session import Doors, Session
from shell.settings import resolve
from shell.web import dashboard_command
from tests.web_page import ROOT, WAIT_S, Page, Served, chromium, serving, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def bootstrap():
    spec = Path(clusters.__file__).parent / "local.yaml"
    cluster = ThrowAwayCluster(str(spec), own_ports=True)
    cluster.prepare()
    try:
        asyncio.run(cluster.up())
        subprocess.run(
            [sys.executable, "-m", "shell.main", "topic", "create", "orders", "-p", "6"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        yield ",".join(cluster.bootstrap)
    finally:
        asyncio.run(cluster.close())


@pytest.fixture(scope="module")
def browser(bootstrap):
    with chromium() as started:
        yield started


def test_a_browser_shows_the_brokers_and_takes_keys_and_mouse(tmp_path, bootstrap, browser):
    with serving(tmp_path, "--bootstrap", bootstrap, "--read-only") as served:
        page = Page(browser, served.url)
        page.until_shown("● live", *bootstrap.split(","))
        overview = page.picture()
        page.page.keyboard.press("3")
        page.until_shown("Topics (1)", "orders")
        page.page.wait_for_timeout(300)  # the picture fades in
        assert page.picture() != overview

        page.page.set_viewport_size({"width": 900, "height": 500})
        wide = page.size()
        until(lambda: page.size() < wide, "the new size", page.page.wait_for_timeout)
        page.page.keyboard.press("2")
        page.until_shown("Brokers (3)")
        page.click("● up")
        page.until_shown("Broker 1", "Partitions on this broker (6)")
        assert page.foreign == []
        assert page.errors == []


def asked(bootstrap: str) -> dict[str, int]:
    """Names of topics and how many partitions each has, by the brokers' own word."""

    async def ask() -> dict[str, int]:
        async with AdminClient(bootstrap.split(",")) as admin:
            return {topic.topic: topic.partitions for topic in await admin.topics()}

    # The browser's driver has a loop of its own in this thread.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, ask()).result(WAIT_S)


def test_a_browser_changes_the_brokers_copies_and_saves(tmp_path, bootstrap, browser):
    with serving(tmp_path, "--bootstrap", bootstrap) as served:
        page = Page(browser, served.url)
        keyboard = page.page.keyboard
        page.until_shown("● live")
        keyboard.press("3")
        page.until_shown("Topics (1)", "orders")

        keyboard.press("C")
        page.until_shown("Create topic", "Enter shows what it would do")
        keyboard.type("audit")
        keyboard.press("Tab")
        keyboard.type("4")
        page.until_shown("topic create audit", "--partitions 4")
        keyboard.press("Enter")
        page.until_shown("Enter does it")
        assert "audit" not in asked(bootstrap)
        keyboard.press("Control+y")
        page.until_shown("copied: logctl")
        assert page.pasted(" topic create audit --partitions 4").startswith("logctl ")
        keyboard.press("Enter")
        page.until_shown("Enter or Escape closes")
        assert asked(bootstrap) == {"orders": 6, "audit": 4}
        keyboard.press("Enter")
        page.until_shown("Topics (2)")

        with page.page.expect_download(timeout=WAIT_S * 1000) as saving:
            keyboard.press("Control+s")
        assert re.fullmatch(r"logctl_[\w-]+\.svg", saving.value.suggested_filename)
        picture = Path(saving.value.path()).read_text()
        assert picture.startswith("<svg")
        assert "audit" in picture
        page.until_shown("Saved screenshot")
        assert len(page.page.context.pages) == 1
        with page.page.expect_download(timeout=WAIT_S * 1000) as saving:
            keyboard.type(":save no/such/names.csv")
            keyboard.press("Enter")
        assert saving.value.suggested_filename == "names.csv"
        assert '"audit"' in Path(saving.value.path()).read_text()
        page.until_shown("sent 2 rows to this browser:", "names.csv")

        keyboard.press("Home")
        keyboard.press("y")
        page.until_shown("copied audit")
        assert page.pasted("audit") == "audit"
        keyboard.press("D")
        page.until_shown("Delete topic audit", "type audit to go on", "Enter does it")
        keyboard.type("orders")
        keyboard.press("Enter")
        page.until_shown("Not done: type audit to go on")
        assert asked(bootstrap) == {"orders": 6, "audit": 4}
        keyboard.type("audit")
        keyboard.press("Enter")
        page.until_shown("Enter or Escape closes")
        keyboard.press("Enter")
        page.until_shown("Topics (1)", "orders")
        assert asked(bootstrap) == {"orders": 6}

        # A permission takes away all that are not named with it: the page may not write now.
        page.page.context.grant_permissions(["clipboard-read"])
        keyboard.press("y")
        refused = page.page.locator("#not-copied")
        refused.wait_for(timeout=WAIT_S * 1000)
        assert "kept this page from copying" in refused.inner_text()
        assert refused.locator("textarea").input_value() == "orders"
        keyboard.press("Escape")
        refused.wait_for(state="detached", timeout=WAIT_S * 1000)
        keyboard.press("2")
        page.until_shown("Brokers (3)")
        assert page.foreign == []
        assert page.errors == []


def answered(url: str, **headers: str) -> int:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def websocket_of(served: Served):
    """A page's websocket without a browser, open for as long as the test holds it."""
    import http.client

    connection = http.client.HTTPConnection(served.url.removeprefix("http://").rstrip("/"))
    connection.request(
        "GET",
        "/ws?width=80&height=24",
        headers={
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "bG9nY3RsIGRhc2hib2FyZA==",
        },
    )
    assert connection.getresponse().status == 101
    return connection


def words_of(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more, also where nobody collects what a dead parent left."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_when_it_ends_the_dashboards_end_too(tmp_path, end):
    with serving(tmp_path, "--bootstrap", "127.0.0.1:1", "--read-only") as served:
        page = websocket_of(served)
        until(
            lambda: any("dash" in words_of(each) for each in served.dashboards()),
            "a dashboard's process",
        )
        (dashboard,) = served.dashboards()
        assert {"--bootstrap=127.0.0.1:1", "--read-only"} <= set(dashboard.cmdline())
        page.sock.settimeout(WAIT_S)
        assert page.sock.recv(1)
        served.process.send_signal(end)
        code = served.process.wait(WAIT_S)
        assert code == (0 if end != signal.SIGKILL else -signal.SIGKILL), served.said
        until(lambda: has_ended(dashboard), "the dashboard's end")
        assert "Traceback" not in "".join(served.said)
        assert served.process.stdout.read() == ""
        page.close()


def test_a_closed_page_ends_its_dashboard(tmp_path):
    with serving(tmp_path, "--bootstrap", "127.0.0.1:1") as served:
        page = websocket_of(served)
        until(served.dashboards, "a dashboard's process")
        page.sock.shutdown(socket.SHUT_RDWR)
        until(lambda: not served.dashboards(), "the dashboard's end")
        assert answered(served.url) == 200


def test_a_dashboard_that_was_killed_leaves_no_picture_that_looks_live(tmp_path, browser):
    with serving(tmp_path, "--bootstrap", "127.0.0.1:1") as served:
        page = Page(browser, served.url)
        page.until_shown("127.0.0.1:1", "Overview")
        (dashboard,) = served.dashboards()
        dashboard.kill()
        page.page.get_by_text("Session ended").wait_for(timeout=WAIT_S * 1000)
        page.page.get_by_text("Restart").click()
        until(
            lambda: [each for each in served.dashboards() if each.pid != dashboard.pid],
            "another dashboard",
            page.page.wait_for_timeout,
        )


def test_pages_and_names_from_elsewhere_are_refused(tmp_path):
    with serving(tmp_path, "--bootstrap", "127.0.0.1:1") as served:
        assert answered(served.url) == 200
        assert answered(served.url, Host="localhost:9000") == 200  # as a tunnel through SSH
        assert answered(served.url, Host="rebound.example:80") == 403
        assert answered(served.url + "ws", Origin="http://elsewhere.example") == 403
        assert answered(served.url + "ws", Origin="null") == 403
        assert served.dashboards() == []


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--web", "--host", "0.0.0.0"], 4, "asks nobody for a password"),
        (["--web", "--host", "example.org"], 4, "ssh -L"),
        (["--web", "--port", "70000"], 1, "Cannot listen on 127.0.0.1, port 70000"),
        (["--port", "9000"], 2, "--host and --port are for --web"),
    ],
)
def test_what_cannot_be_served_is_told(tmp_path, words, code, told):
    ended = subprocess.run(
        [sys.executable, "-m", "shell.main", "--bootstrap", "127.0.0.1:1", "dash", *words],
        cwd=ROOT,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert (ended.returncode, ended.stdout) == (code, "")
    assert told in ended.stderr


def test_a_page_keeps_the_context_and_its_rights():
    doors = Doors()
    doors.environ = {}
    named = {"bootstrap": ["127.0.0.1:1"], "spec_path": None, "read_only": True}
    saved = Context(name="prod east", **named)
    doors.contexts = lambda: {"prod east": saved}
    doors.current_context = lambda: saved
    session = Session(
        resolve({"no_color": True, "timeout": 3_000}, {}),
        Output(stdout=io.BytesIO(), stderr=io.StringIO()),
        doors,
    )
    words = shlex.split(dashboard_command(session))
    assert words[0] == "exec"
    assert words[-5:] == [
        "--context=prod east",
        "--read-only",
        "--timeout=3000ms",
        "--no-color",
        "dash",
    ]
