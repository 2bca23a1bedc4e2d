"""Replica lists that a client names by hand: what can be wrong with one. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from broker.protocol.image import MetadataImage


def assignment_problem(
    image: MetadataImage, replicas: Sequence[int], factor: int | None = None
) -> str | None:
    """Why these brokers cannot hold a partition, in Kafka's words; None when they can.

    ``factor`` is the number of replicas that the topic's other partitions have.
    """
    if not replicas:
        return "The manual partition assignment includes an empty replica list."
    previous: int | None = None
    for replica in sorted(replicas):
        if replica not in image.brokers:
            return (
                f"The manual partition assignment includes broker {replica}, but no such broker "
                "is registered."
            )
        if replica == previous:
            return f"The manual partition assignment includes the broker {replica} more than once."
        previous = replica
    if factor is not None and len(replicas) != factor:
        return (
            f"The manual partition assignment includes a partition with {len(replicas)} "
            f"replica(s), but this is not consistent with previous partitions, which have "
            f"{factor} replica(s)."
        )
    return None
