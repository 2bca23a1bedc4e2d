"""Deploying is cut short: a host loses its power, logctl is killed, a person presses Ctrl-C.

Whatever the moment, running the same command again completes it.
"""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.deployed import RUN_SECONDS, Deployed, broker_pid, names
from tests.hosts.lab import Lab

pytestmark = pytest.mark.timeout(600)

# A dead host is noticed by SSH's keepalive, or by a connection that is not answered: within half a
# minute where eight clusters do not share the machine.
NOTICED_SECONDS = 120.0
# In the middle of each phase: one host is done, or a part of the bundle has arrived.
PHASES = {
    "facts": "broker_id",
    "ship": "percent",
    "prepare": "broker_id",
    "configure": "broker_id",
    "start": "broker_id",
    "verify": "phase",
}
ROLL = {"roll": "broker_id"}


def read_until(process: subprocess.Popen[str], phase: str) -> dict[str, Any]:
    """Read a running command's events until it is in the middle of a phase; fails when it is not."""
    assert process.stdout is not None
    field = (PHASES | ROLL).get(phase, "phase")
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1].get("phase") == phase and events[-1].get(field) is not None:
            return events[-1]
    said = process.stderr.read() if process.stderr else ""
    raise AssertionError(f"no phase {phase!r} in {events}; {said}")


async def lose_power_in(deployed: Deployed, phase: str) -> None:
    """A host loses its power in a phase; what is said names it, and the same command repairs."""
    if phase == "roll":
        await asyncio.to_thread(deployed.up)
        deployed.spec["settings"]["log.retention.ms"] = "2d"
    process = deployed.start("cluster", "up", "--yes", "--format", "json")
    event = await asyncio.to_thread(read_until, process, phase)
    # In the roll, of all hosts the one whose broker is just being restarted.
    number = event["broker_id"] if phase == "roll" else deployed.hosts[1].number
    host = next(each for each in deployed.hosts if each.number == number)
    host.power_off()
    out, err = await asyncio.to_thread(process.communicate, timeout=NOTICED_SECONDS)
    assert process.returncode == 1, out + err
    assert names(host, out + err), out + err
    assert "Traceback" not in err

    host.power_on()
    await asyncio.to_thread(deployed.up)
    await deployed.whole()
    assert "nothing to do" in (await asyncio.to_thread(deployed.up)).said


async def test_a_host_loses_power_in_each_phase_and_running_again_repairs(
    lab: Lab, tmp_path: Path
) -> None:
    """All at once, each story with three hosts of its own: most of the time is waiting for SSH."""
    kinds: list[tuple[str, dict[str, Any]]] = [(phase, {}) for phase in PHASES]
    kinds += [("roll", {"systemd": True}), ("roll", {"suite": "bullseye"})]
    stories = []
    for number, (phase, kind) in enumerate(kinds):
        folder = tmp_path / f"{number}-{phase}"
        folder.mkdir()
        hosts = lab.start(3, **kind)
        stories.append(lose_power_in(Deployed(lab, hosts, folder), phase))
    ended = await asyncio.gather(*stories, return_exceptions=True)
    failed = [f"in {kind}: {error}" for kind, error in zip(kinds, ended, strict=True) if error]
    assert not failed, "\n\n".join(failed)


async def test_logctl_is_killed_in_each_phase_and_running_again_completes(
    lab: Lab, tmp_path: Path
) -> None:
    """No lock is left, nothing half-done stands in the way: each run gets further than the last."""
    deployed = Deployed(lab, lab.start(3), tmp_path)

    async def killed_in(phase: str) -> None:
        running = deployed.start("cluster", "up", "--yes", "--format", "json")
        await asyncio.to_thread(read_until, running, phase)
        running.kill()
        await asyncio.to_thread(running.communicate)

    for phase in PHASES:
        if phase == "verify":
            # The hosts go on with what they were told: all brokers may run by now.
            await asyncio.to_thread(deployed.cluster, "down")
        await killed_in(phase)
    await asyncio.to_thread(deployed.up)
    await deployed.whole()
    assert "nothing to do" in (await asyncio.to_thread(deployed.up)).said

    before = [broker_pid(host) for host in deployed.hosts]
    deployed.spec["settings"]["log.retention.ms"] = "2d"
    await killed_in("roll")
    await asyncio.to_thread(deployed.up)
    await deployed.whole()
    after = [broker_pid(host) for host in deployed.hosts]
    assert all(one != two for one, two in zip(before, after, strict=True))
    assert "nothing to do" in (await asyncio.to_thread(deployed.up)).said


async def test_a_second_up_is_told_who_is_at_work_and_since_when(lab: Lab, tmp_path: Path) -> None:
    deployed = Deployed(lab, lab.start(3), tmp_path)
    person, terminal = os.openpty()
    first = deployed.start("cluster", "up", "--format", "json", stdin=terminal)
    await asyncio.to_thread(read_until, first, "plan")  # then it asks, for as long as we like
    # From another machine: nothing but the hosts can tell it.
    here = deployed.environment["XDG_STATE_HOME"]
    deployed.environment["XDG_STATE_HOME"] = str(tmp_path / "elsewhere")
    second = await asyncio.to_thread(deployed.up, code=None)
    deployed.environment["XDG_STATE_HOME"] = here
    os.write(person, b"yes\n")
    os.close(terminal)
    assert second.code == 4
    assert f"pid {first.pid}" in second.said
    assert "since" in second.said
    out, err = await asyncio.to_thread(first.communicate, timeout=RUN_SECONDS)
    os.close(person)
    assert first.returncode == 0, out + err


async def test_ctrl_c_finishes_the_broker_at_hand_and_says_what_is_left(
    lab: Lab, tmp_path: Path
) -> None:
    deployed = Deployed(lab, lab.start(3), tmp_path)
    await asyncio.to_thread(deployed.up)
    before = [broker_pid(host) for host in deployed.hosts]
    deployed.spec["settings"]["log.retention.ms"] = "2d"
    rolling = deployed.start("cluster", "up", "--yes", "--format", "json")
    await asyncio.to_thread(read_until, rolling, "roll")
    rolling.send_signal(signal.SIGINT)
    out, err = await asyncio.to_thread(rolling.communicate, timeout=RUN_SECONDS)
    assert rolling.returncode != 0
    assert "Left to restart" in out + err, out + err
    after = [broker_pid(host) for host in deployed.hosts]
    assert sum(one != two for one, two in zip(before, after, strict=True)) == 1
    await deployed.whole()
    await asyncio.to_thread(deployed.up)
    await deployed.whole()
    ended = [broker_pid(host) for host in deployed.hosts]
    assert all(one != two for one, two in zip(before, ended, strict=True))
