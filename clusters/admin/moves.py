"""Where replicas go when partitions move to other brokers. Pure.

Keeps what may stay, fills up from racks that are not used yet and from the brokers with the least,
and keeps the number of replicas. Never puts two replicas of a partition on one broker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Partition = tuple[str, int]


class NotEnoughBrokers(ValueError):
    """Fewer brokers than replicas."""


def placed_on(
    current: Mapping[Partition, Sequence[int]],
    targets: Sequence[int],
    racks: Mapping[int, str | None],
) -> dict[Partition, tuple[int, ...]]:
    """Replicas of each partition on `targets` alone; those that stay as they are are left out.

    The order of replicas that stay is kept, so a preferred leader that may stay leads on; first
    places that are free go to the broker that is first the least. Raises NotEnoughBrokers.
    """
    load = dict.fromkeys(targets, 0)
    first = dict.fromkeys(targets, 0)
    for replicas in current.values():
        for place, broker in enumerate(replicas):
            if broker in load:
                load[broker] += 1
                first[broker] += place == 0
    planned: dict[Partition, tuple[int, ...]] = {}
    for key in sorted(current):
        replicas = list(current[key])
        if len(replicas) > len(load):
            raise NotEnoughBrokers(
                f"{key[0]}:{key[1]} has {len(replicas)} replicas, but only {len(load)} brokers "
                "are named"
            )
        if all(broker in load for broker in replicas):
            continue
        chosen = _placed(replicas, load, racks)
        if replicas[0] not in load:
            leader = min(chosen, key=lambda broker: (first[broker], broker))
            chosen = [leader, *(broker for broker in chosen if broker != leader)]
            first[leader] += 1
        planned[key] = tuple(chosen)
    return planned


def _placed(
    replicas: Sequence[int], load: dict[int, int], racks: Mapping[int, str | None]
) -> list[int]:
    kept = {broker for broker in replicas if broker in load}
    used_racks = {racks.get(broker) for broker in kept}
    chosen = list(replicas)
    for place, broker in enumerate(replicas):
        if broker in kept:
            continue
        free = [each for each in load if each not in kept]
        pick = min(
            free,
            key=lambda each: (
                racks.get(each) is not None and racks.get(each) in used_racks,
                load[each],
                each,
            ),
        )
        chosen[place] = pick
        kept.add(pick)
        used_racks.add(racks.get(pick))
        load[pick] += 1
    return chosen
