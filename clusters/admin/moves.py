"""Where replicas go when partitions move to other brokers. Pure.

Keeps what may stay, fills up from racks that are not used yet and from the brokers with the least,
and keeps the number of replicas unless another is asked for. Never puts two replicas of a partition
on one broker, and takes none away that is in sync while one goes that is not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

Partition = tuple[str, int]


# Stands for a replica that is still to come.
_NOBODY = -1


class NotEnoughBrokers(ValueError):
    """Fewer brokers than replicas."""


def placed_on(
    current: Mapping[Partition, Sequence[int]],
    targets: Sequence[int],
    racks: Mapping[int, str | None],
    *,
    count: int | None = None,
    in_sync: Mapping[Partition, Collection[int]] | None = None,
    no_new: Collection[int] = (),
) -> dict[Partition, tuple[int, ...]]:
    """Replicas of each partition on `targets` alone; those that stay as they are are left out.

    `count` is how many each has then; of more than that those go first that are not `in_sync`, then
    those that share a rack, and the first one, which is preferred to lead, last. Brokers of
    `no_new` keep what they have and get nothing: they are down.

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
        wanted = len(replicas) if count is None else count
        able = sum(broker not in no_new or broker in replicas for broker in load)
        if wanted > able:
            has = "has" if count is None else "is to have"
            raise NotEnoughBrokers(
                f"{key[0]}:{key[1]} {has} {wanted} replicas, but only {able} brokers can hold them"
            )
        while len(replicas) > wanted:
            goes = _least_needed(replicas, load, racks, (in_sync or {}).get(key, replicas))
            replicas.remove(goes)
            if goes in load:
                load[goes] -= 1
        stays = len(replicas) == len(current[key]) == wanted
        if stays and all(broker in load for broker in replicas):
            continue
        replicas += [_NOBODY] * (wanted - len(replicas))
        chosen = _placed(replicas, load, racks, no_new)
        if replicas[0] not in load:
            leader = min(chosen, key=lambda broker: (first[broker], broker))
            chosen = [leader, *(broker for broker in chosen if broker != leader)]
            first[leader] += 1
        planned[key] = tuple(chosen)
    return planned


def _least_needed(
    replicas: Sequence[int],
    load: Mapping[int, int],
    racks: Mapping[int, str | None],
    in_sync: Collection[int],
) -> int:
    """The replica to take away."""
    held = [racks.get(broker) for broker in replicas]

    def needed(broker: int) -> tuple[bool, bool, bool, bool, int, int]:
        rack = racks.get(broker)
        return (
            broker in load,
            broker in in_sync,
            broker == replicas[0],
            rack is None or held.count(rack) == 1,
            -load.get(broker, 0),
            -replicas.index(broker),
        )

    return min(replicas, key=needed)


def _placed(
    replicas: Sequence[int],
    load: dict[int, int],
    racks: Mapping[int, str | None],
    no_new: Collection[int],
) -> list[int]:
    kept = {broker for broker in replicas if broker in load}
    used_racks = {racks.get(broker) for broker in kept}
    chosen = list(replicas)
    for place, broker in enumerate(replicas):
        if broker in kept:
            continue
        free = [each for each in load if each not in kept and each not in no_new]
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
