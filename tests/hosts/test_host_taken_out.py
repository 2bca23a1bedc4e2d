"""A host is taken out of the cluster file: its broker leaves, and nobody who writes notices.

It goes on voting until the others count without it; only then is it stopped.
"""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from tests.hosts.deployed import LOGCTL, Deployed
from tests.hosts.lab import Lab
from tests.interop.producing import PARTITIONS, AioLoad, ConfluentLoad, check, producing

pytestmark = pytest.mark.timeout(600)

TOPIC = "ledger"
LOADS = [partial(kind, pause_seconds=0.1) for kind in (AioLoad, ConfluentLoad)]


async def test_a_host_taken_out_of_the_file_leaves_under_load(lab: Lab, tmp_path: Path) -> None:
    hosts = lab.start(4)
    deployed = Deployed(lab, hosts, tmp_path)
    await asyncio.to_thread(deployed.up)
    replicas = dict.fromkeys(range(PARTITIONS), (4, 1, 2))
    await deployed.ask(lambda admin: admin.create_topic(TOPIC, assignments=replicas))
    at = ["--bootstrap", deployed.bootstrap]
    move = [str(LOGCTL), "partition", "move", "--to-brokers", "1,2,3", "--wait", "--yes", *at]
    del deployed.spec["hosts"][3]
    async with producing(deployed.bootstrap, TOPIC, LOADS) as ledgers:
        refused = await asyncio.to_thread(deployed.up, code=1)
        assert f"`logctl partition move {TOPIC} --to-brokers 1,2,3 --wait`" in refused.said
        await asyncio.to_thread(deployed.run, [*move, TOPIC])
        done = await asyncio.to_thread(deployed.up)
        assert "Stopped broker 4" in done.said, done.said
        assert "forced" not in done.said, done.said
    check(ledgers, deployed.bootstrap, TOPIC)
    assert [ledger.failures for ledger in ledgers] == [[], []]
    assert not [line for line in hosts[3].processes().values() if "logd" in line]
    quorum = await deployed.ask(lambda admin: admin.quorum())
    assert [voter.id for voter in quorum.voters] == [1, 2, 3]
    hosts[3].power_off()
    again = await asyncio.to_thread(deployed.up)
    assert "nothing to do" in again.said, "nobody asks after it any more"
