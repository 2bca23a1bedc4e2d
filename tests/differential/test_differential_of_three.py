"""Apache Kafka and logd answer alike with three brokers each: placement, elections, moves, outages.

One start of both for the whole file.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from broker.protocol.api_keys import ApiKey
from tests.differential.cases import OF_THREE, PREFIX, Case, load_cases
from tests.differential.compare import Allowance, Rules, load_allowed
from tests.differential.play import play_case
from tests.differential.sides import Side, Sides
from tests.real_kafka import require_kafka

CASES = load_cases(OF_THREE)
ALLOWED = load_allowed(brokers=3)
# Without the start of six brokers, which may have to fetch Apache Kafka first.
pytestmark = pytest.mark.timeout(180, func_only=True)
_PLAYED: set[str] = set()


@pytest.fixture(scope="module")
def three() -> Iterator[Sides]:
    require_kafka()
    with Sides(3) as both:
        yield both


@pytest.fixture(scope="module")
def allowed_of_three() -> list[Allowance]:
    return ALLOWED


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_three_brokers_answer_as_apache_kafkas(
    case: Case, three: Sides, allowed_of_three: list[Allowance], runner: asyncio.Runner
) -> None:
    wrong = play_case(three, case, Rules.load(brokers=3), allowed_of_three, runner)
    _PLAYED.add(case.name)
    assert not wrong, "\n".join([f"{len(wrong)} differences", *wrong[:60]])


async def _placed(
    side: Side, partitions: int, replicas: int
) -> tuple[dict[str, Any], dict[str, int]]:
    """The shape of a topic that the controller placed, and how unevenly it spread the work."""
    name = f"{PREFIX}placed-{partitions}-{replicas}"
    connection = await side.connect()
    try:
        entry = {"name": name, "num_partitions": partitions, "replication_factor": replicas}
        await connection.request(ApiKey.CREATE_TOPICS, {"topics": [entry]}, version=7)
        async with asyncio.timeout(60):
            while True:
                body = {"topics": [{"name": name}], "allow_auto_topic_creation": False}
                (topic,) = (await connection.request(ApiKey.METADATA, body, version=9)).topics
                if not topic.error_code and len(topic.partitions) == partitions:
                    break
                await asyncio.sleep(0.02)
    finally:
        connection.close()
    leaders = Counter(p.leader_id for p in topic.partitions)
    holders = Counter(node for p in topic.partitions for node in p.replica_nodes)
    return {
        "led by the first": all(p.leader_id == p.replica_nodes[0] for p in topic.partitions),
        "different brokers": all(len(set(p.replica_nodes)) == replicas for p in topic.partitions),
        "brokers": sorted(holders),
    }, {
        "leads": max(leaders.values()) - min(leaders.values()),
        "holds": max(holders.values()) - min(holders.values()),
    }


@pytest.mark.parametrize(("partitions", "replicas"), [(3, 3), (6, 3), (6, 2), (9, 1), (12, 3)])
def test_the_controller_places_replicas_as_evenly(
    partitions: int, replicas: int, three: Sides, runner: asyncio.Runner
) -> None:
    theirs, ours = (
        runner.run(_placed(side, partitions, replicas)) for side in (three.kafka, three.logd)
    )
    assert ours[0] == theirs[0]
    # Apache Kafka spreads two replicas over three racks at random; that need not be copied.
    assert all(ours[1][what] <= max(1, theirs[1][what]) for what in ours[1]), (ours, theirs)


def test_every_allowed_difference_of_three_is_still_needed() -> None:
    """Says something only when every case ran in this process before it."""
    if {case.name for case in CASES} == _PLAYED:
        unused = [f"{each.paths}: {each.reason}" for each in ALLOWED if not each.used]
        assert not unused, "\n".join(unused)
