"""A cluster that was wiped and made anew under the same addresses is followed from its beginning."""

from clusters.watch import ClusterFeed
from clusters.watch.discovery import Discovery

OLD, NEW = "AAAAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBB"


def found(cluster_id: str, leader: int, epoch: int) -> Discovery:
    return Discovery(
        source="127.0.0.1:1",
        controllers={1: "127.0.0.1:11", 2: "127.0.0.1:12"},
        leader_id=leader,
        leader_epoch=epoch,
        brokers=("127.0.0.1:1", "127.0.0.1:2"),
        reason="",
        failures=(),
        cluster_id=cluster_id,
    )


def test_epochs_of_the_cluster_before_do_not_hide_the_leader_of_the_new_one() -> None:
    feed = ClusterFeed(["127.0.0.1:1"])
    feed._learn(found(OLD, 1, 7))
    feed._projector.next_offset = 2290
    feed._learn(found(OLD, 2, 5))
    assert (feed._position().offset, feed._position().quorum_epoch, feed._hint) == (2290, 7, 1)
    # Brokers that do not tell which cluster they are of change nothing.
    feed._learn(found("", 2, 5))
    assert feed._position().offset == 2290
    feed._learn(found(NEW, 2, 1))
    assert (feed._position().offset, feed._position().quorum_epoch, feed._hint) == (0, 1, 2)
    assert NEW in feed._left_because
