"""Log lines are JSON objects a machine can read."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from broker.observability import Counters, JsonFormatter


@pytest.fixture
def lines() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("logd.test")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield logger, stream
    logger.removeHandler(handler)


def test_a_line_has_time_level_logger_message_and_fields(
    lines: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, stream = lines
    logger.warning("fenced %s", "ünïcode", extra={"broker_epoch": 12, "peer": "127.0.0.1:1"})
    line = json.loads(stream.getvalue())
    assert list(line) == ["ts", "level", "logger", "message", "fields"]
    assert line["ts"].endswith("Z")
    assert line["level"] == "warning"
    assert line["logger"] == "logd.test"
    assert line["message"] == "fenced ünïcode"
    assert line["fields"] == {"broker_epoch": 12, "peer": "127.0.0.1:1"}


def test_an_exception_stays_on_one_line(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = lines
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed")
    assert stream.getvalue().count("\n") == 1
    assert "ValueError: two" in json.loads(stream.getvalue())["fields"]["exception"]


def test_counters_add_up() -> None:
    counters = Counters()
    counters.opened("A")
    counters.opened("A")
    counters.closed("A")
    counters.received(10)
    counters.answered(3, 5, 100)
    counters.answered(3, 7, 50)
    assert counters.connections_by_listener == {"A": 1}
    assert counters.connections_opened == 2
    assert (counters.bytes_in, counters.bytes_out) == (10, 150)
    assert counters.requests_by_api == {3: 2}
    assert counters.elapsed_ms_by_api == {3: 12}
