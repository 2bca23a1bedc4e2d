"""What is stuck in a cluster that did not become whole: one line per node, replica and task.

For the reader of a failed run. It must never raise: a half-started broker has half of its parts.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from broker.simulation.world import Process, World


def diagnose(world: World) -> str:
    """The state of the world, many lines."""
    lines = [f"at {world.loop.time():.3f} s, after {world.loop.callbacks} callbacks"]
    for node in world.nodes:
        process = world.processes.get(node)
        if process is None:
            lines.append(f"node {node}: not running")
            continue
        for describe in (_node, _partitions, _fetchers, _tasks):
            lines += _safely(describe, process)
    lines += [f"exit: {text}" for text in world.exits[-5:]]
    return "\n  ".join(lines)


def _safely(describe: Callable[[Process], Iterator[str]], process: Process) -> list[str]:
    try:
        return list(describe(process))
    except Exception as error:  # noqa: BLE001 - half-built objects fail in every way
        return [f"node {process.node}: {describe.__name__} is not known: {error!r}"]


def _node(process: Process) -> Iterator[str]:
    broker = process.broker
    state = "paused" if process.paused else "up" if process.booted else "starting"
    quorum, image, lifecycle = broker.quorum, broker.publisher.image, broker.lifecycle
    yield (
        f"node {process.node}.{process.incarnation} {state}: quorum leader "
        f"{quorum.leader.leader_id} epoch {quorum.leader.epoch} high watermark "
        f"{quorum.high_watermark} end {quorum.end_offset}, image {image.offset}"
    )
    if broker.controller is not None and broker.controller.active:
        yield f"node {process.node} is the active controller"
    if lifecycle is not None:
        known = image.brokers.get(process.node)
        fenced = "unknown" if known is None else f"epoch {known.epoch} fenced {known.fenced}"
        yield (
            f"node {process.node} {lifecycle.state.value}, epoch {lifecycle.epoch}; image: {fenced}"
        )


def _partitions(process: Process) -> Iterator[str]:
    replicas = process.broker.replicas
    if replicas is None:
        return
    for topic, index, state in process.broker.publisher.image.iter_partitions():
        partition = replicas.partition(topic.name, index)
        name = f"{topic.name}-{index} on {process.node}"
        if process.node not in state.replicas:
            continue
        if partition is None:
            yield f"{name}: not held"
            continue
        leader = partition.leader
        role = "leads" if leader else "follows" if partition.follower else "has no role"
        log: Any = partition.log
        yield (
            f"{name} {role} epoch {partition.leader_epoch} (leader {partition.leader_id}): end "
            f"{log.end_offset} high watermark {partition.high_watermark} flushed "
            f"{partition.local.flushed_offset} failure {log.failure}; image: leader {state.leader} "
            f"epoch {state.leader_epoch} isr {state.isr} partition epoch {state.partition_epoch}"
        )
        if leader is not None:
            ends = {each: progress.log_end_offset for each, progress in leader.followers.items()}
            yield f"{name}: followers end at {ends}, pending {leader.isr.pending}"


def _fetchers(process: Process) -> Iterator[str]:
    replicas = process.broker.replicas
    if replicas is None:
        return
    pool: Any = replicas._fetchers
    for leader_id, fetcher in sorted(pool._fetchers.items()):
        slots = {
            slot.hosted.key: (slot.asked and slot.asked.fetch_offset, slot.retry_at_ms)
            for slot in fetcher._slots.values()
        }
        yield (
            f"node {process.node} fetches from {leader_id}: in flight {fetcher._in_flight}, "
            f"connection {fetcher._connection}, slots (offset, retry at ms) {slots}"
        )


def _tasks(process: Process) -> Iterator[str]:
    waiting = [_where(task) for task in process.tasks if not task.done()]
    yield f"node {process.node} tasks: {', '.join(sorted(waiting))}"


def _where(task: "asyncio.Task[Any]") -> str:
    code = getattr(task.get_coro(), "__qualname__", "?")
    stack = task.get_stack(limit=1)
    return f"{code}:{stack[0].f_lineno}" if stack else code
