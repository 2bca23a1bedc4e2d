"""What stays connected for long to a secured Apache Kafka: the dashboard in a browser, produce, tail.

One file, so that one worker starts one broker for them.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from clusters import state
from tests.secured.secured_kafka import PASSWORDS, SESSION_MS
from tests.web_page import ROOT, Page, chromium, serving, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def secrets_in(text: bytes) -> list[str]:
    return [each for each in PASSWORDS.values() if each.encode() in text]


def test_a_page_is_let_in_acts_and_shows_no_secret(saved, browser) -> None:
    context, name = "SCRAM-SHA-256", "from-a-page"
    with serving(None, "--context", context) as served:
        page = Page(browser, served.url)
        keyboard = page.page.keyboard
        page.until_shown(context, "● live", "Brokers (1)")
        words = [each.cmdline() for each in [psutil.Process(served.process.pid)]]
        words += [each.cmdline() for each in served.dashboards()]
        assert len(words) == 2
        keyboard.press("3")
        page.until_shown("Topics (")
        keyboard.press("C")
        page.until_shown("Create topic", "Enter shows what it would do")
        keyboard.type(name)
        keyboard.press("Enter")
        page.until_shown("Enter does it")
        keyboard.press("Enter")
        page.until_shown("Enter or Escape closes")
        keyboard.press("Enter")
        page.until_shown(name)
        seen = page.everything + page.page.content().encode()
        assert name.encode() in seen
        assert secrets_in(seen) == []
        assert secrets_in(str(words).encode()) == []
        assert page.errors == []
        assert page.foreign == []
    kept = [each.read_bytes() for each in saved.rglob("*") if each.is_file()]
    assert not [secret for each in kept for secret in secrets_in(each)]
    assert secrets_in("".join(served.said).encode()) == []


def test_a_secret_that_cannot_be_read_is_told_at_once(saved, contexts) -> None:
    gone = saved / "gone"
    lost = state.Context(
        name="lost",
        bootstrap=contexts["PLAIN"].bootstrap,
        properties=contexts["PLAIN"].properties,
        secrets={"sasl.password": f"file:{gone}"},
    )
    state.save_context(lost, whole=True)
    done = subprocess.run(
        [sys.executable, "-m", "shell.main", "--context", "lost", "dash", "--web", "--port", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot be read from {gone}: No such file" in done.stderr
    assert "http://" not in done.stderr


def test_a_page_that_finds_the_secret_gone_says_so(saved, contexts, browser) -> None:
    kept = Path(saved / "password")
    kept.touch(mode=0o600)
    kept.write_text(PASSWORDS["operator"])
    context = state.Context(
        name="later",
        bootstrap=contexts["PLAIN"].bootstrap,
        properties=contexts["PLAIN"].properties,
        secrets={"sasl.password": f"file:{kept}"},
    )
    state.save_context(context, whole=True)
    with serving(None, "--context", "later") as served:
        kept.unlink()
        page = Page(browser, served.url)
        page.until_shown(
            "The dashboard did not start", "cannot be read from", "Reload to try again"
        )
        kept.touch(mode=0o600)
        kept.write_text(PASSWORDS["operator"])
        page.page.reload()
        page.until_shown("later", "● live")
        until(lambda: len(served.dashboards()) == 1, "the first page's process is gone")


RECORDS = 14
RATE_PER_S = 2
ACKS = ("all", "1", "0")


def test_sessions_that_end_lose_nothing_double_nothing_and_alarm_nobody(saved, kafka) -> None:
    """Producers and readers of longer than two sessions; each producer ends its own records."""
    assert RECORDS / RATE_PER_S * 1000 > 2.5 * SESSION_MS
    wanted = {f"{acks}-{number}" for acks in ACKS for number in range(RECORDS)}
    tail = ["--format", "json", "tail", "lasting", "--from", "start", "--max", str(len(wanted))]

    def start(*words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "shell.main", "--context", "PLAIN", *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    with contextlib.ExitStack() as ends:

        def started(*words: str) -> subprocess.Popen[bytes]:
            process = ends.enter_context(start(*words))
            ends.callback(process.kill)
            return process

        assert started("topic", "create", "lasting", "-p", "2").wait(60) == 0
        readers = [started(*tail), started(*tail, "--group", "lasting-readers")]
        producers = []
        for acks in ACKS:
            words = ["produce", "lasting", "--acks", acks, "--rate", f"{RATE_PER_S}/s"]
            producers.append(started(*words))
            lines = "".join(f"{acks}-{number}\n" for number in range(RECORDS))
            producers[-1].stdin.write(lines.encode())
            producers[-1].stdin.close()
            producers[-1].stdin = None
        for acks, producer in zip(ACKS, producers, strict=True):
            _, err = producer.communicate(timeout=90)
            did = "Sent" if acks == "0" else "Wrote"
            assert producer.returncode == 0, err
            assert re.fullmatch(rf"{did} {RECORDS} records \(.* to lasting in .*\n", err.decode())
        for reader in readers:
            out, err = reader.communicate(timeout=90)
            assert reader.returncode == 0, err
            read = [json.loads(line) for line in out.splitlines()]
            assert len({(each["partition"], each["offset"]) for each in read}) == len(read)
            assert sorted(each["value"] for each in read) == sorted(wanted)
            said = [line for line in err.decode().splitlines() if "gave us" not in line]
            assert said == []
