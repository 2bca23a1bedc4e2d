"""What a person sees of a deployment: the table of progress, and the plan in words."""

import io
import re

from clusters.operations import Plan, Progress
from clusters.phases.plan_model import BrokerPlan
from clusters.spec import parse_spec
from shell.deploying import LiveTable, plan_lines
from shell.output import Output
from shell.session import Session
from shell.settings import Settings

SPEC = "cluster: x\nhosts: [{id: 1, address: 10.0.0.1}, {id: 2, address: 10.0.0.2}]\n"


def shown(*events: Progress) -> list[list[str]]:
    """The last table as rows of words."""
    stderr = io.StringIO()
    output = Output(stdout=io.BytesIO(), stderr=stderr, interactive=True)
    table = LiveTable(Session(Settings(), output), parse_spec(SPEC.encode(), "x.yaml"))
    for event in events:
        table.report(event)
    table.stop()
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stderr.getvalue()).split("HOST")[-1]
    return [line.split() for line in drawn.splitlines()]


def event(phase, step, message="", broker_id=None, percent=None):
    return Progress(phase=phase, step=step, message=message, broker_id=broker_id, percent=percent)


def test_each_host_has_a_row_that_tells_how_far_it_is():
    rows = shown(
        event("connect", "done", "", 1),
        event("facts", "start"),
        event("facts", "done", "", 1),
        event("ship", "wait", "5 of 10 MiB", 2, 50),
        event("roll", "failed", "it did not come back", 1),
    )
    one = next(row for row in rows if "10.0.0.1" in row)
    two = next(row for row in rows if "10.0.0.2" in row)
    assert one == ["1", "10.0.0.1", "ok", "ok", "·", "·", "·", "·", "·", "failed"]
    assert two == ["2", "10.0.0.2", "·", "…", "·", "50", "%", "·", "·", "·", "·"]


def test_nothing_is_drawn_while_passwords_are_asked_for():
    assert shown(event("connect", "start")) == []


def plan(**changes):
    values = {
        "id": 1,
        "host": "10.0.0.1",
        "action": "none",
        "generation": "g2",
        "generation_before": "g1",
        "release": "r2",
        "release_before": "r1",
        "upload": False,
        "prepares": (),
        "reasons": (),
        "config_diff": "",
    }
    return BrokerPlan(**values | changes)


def test_a_plan_says_what_why_and_in_which_order():
    restart = plan(
        action="restart",
        upload=True,
        reasons=("release r1 -> r2",),
        config_diff="-a=1\n+a=2",
    )
    whole = Plan(
        brokers=(restart, plan(id=2, host="10.0.0.2")),
        starts=(),
        restarts=(1,),
        upload_bytes=5,
        version="1.2",
    )
    assert plan_lines(whole) == [
        "broker 1 on 10.0.0.1: restart (release r1 -> r2)",
        "    ship the release r2 (1.2)",
        "    -a=1",
        "    +a=2",
        "broker 2 on 10.0.0.2: nothing to do",
        "Restarts go one at a time, the controller last: 1.",
    ]
