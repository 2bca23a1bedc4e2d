"""The faults of a simulated run: what goes wrong, where, and for how long.

Each fault undoes itself, so that several may overlap; `World` has the means. A fault must never
break a promise of the machine that the brokers may rely on: power is only lost where every
acknowledged record was synced.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import WireError
from broker.protocol.image import MetadataImage
from broker.protocol.struct import Struct
from broker.simulation.late_metadata import LateMetadata
from broker.simulation.world import World

CALM_S_MAX = 1.5
DURATION_S = (0.1, 4.0)
SKEW_MS_MAX = 20 * 60 * 1000
ELECTION_MS = 2_000


class Faults:
    """Plays faults on a world; `power_loss` says whether a kill may also take the power.

    Without `kinds` the random source chooses which faults there are.
    """

    def __init__(
        self, world: World, rng: random.Random, *, power_loss: bool, kinds: Sequence[str] = ()
    ) -> None:
        self.played: list[str] = []
        self._world = world
        self._rng = rng
        self._power_loss = power_loss
        self._kinds: dict[str, Callable[[int, float], Awaitable[None]]] = {
            "kill": self._kill,
            "kill_two": self._kill_two,
            "blackout": self._blackout,
            "restart": self._restart,
            "pause": self._pause,
            "isolate": self._isolate,
            "one_way": self._one_way,
            "slow": self._slow,
            "lossy": self._lossy,
            "resets": self._resets,
            "skew": self._skew,
            "disk_full": self._disk_full,
            "sync_error": self._sync_error,
            "slow_disk": self._slow_disk,
            "calm": self._calm,
        }
        # Only on request: the first takes the power, and most of the run's time.
        self._on_request = {"one_synced": self._one_synced, "there_and_back": self._there_and_back}
        # Each run has faults of its own choice: some only show where others are away.
        count = rng.randint(3, len(self._kinds))
        chosen = ["kill", *sorted(rng.sample(sorted(self._kinds), count))]
        self.kinds = list(kinds) or chosen

    async def run(self, until_s: float) -> None:
        """One fault after the other until the loop's time is `until_s`."""
        rng, loop = self._rng, self._world.loop
        while loop.time() < until_s:
            kind, node = rng.choice(self.kinds), rng.choice(self._world.nodes)
            self.played.append(f"{kind}:{node}")
            play = self._kinds.get(kind) or self._on_request[kind]
            await play(node, rng.uniform(*DURATION_S))
            await asyncio.sleep(rng.uniform(0, CALM_S_MAX))

    # -- processes

    async def _kill(self, node: int, duration_s: float) -> None:
        await self._kill_all([node], duration_s)

    async def _kill_two(self, node: int, duration_s: float) -> None:
        other = self._rng.choice([each for each in self._world.nodes if each != node])
        await self._kill_all([node, other], duration_s)

    async def _blackout(self, node: int, duration_s: float) -> None:
        await self._kill_all(list(self._world.nodes), duration_s / 4)

    async def _one_synced(self, node: int, duration_s: float) -> None:
        """One disk keeps up, the power fails, and the node with that disk comes back last.

        What a majority was said to have before the slow disks had it is then with a minority.
        """
        others = [each for each in self._world.nodes if each != node]
        for each in others:
            self._world.slow_disk_s[each] = self._rng.uniform(0.5, 1.5)
        await asyncio.sleep(duration_s)
        for each in self._world.nodes:
            self._world.kill(each, power_loss=self._power_loss)
        for each in others:
            self._world.slow_disk_s[each] = 0.0
            self._world.start(each)
        await asyncio.sleep(3 + duration_s)
        self._world.start(node)

    async def _kill_all(self, nodes: list[int], duration_s: float) -> None:
        power_loss = self._power_loss and self._rng.random() < 0.8
        for node in nodes:
            self._world.kill(node, power_loss=power_loss)
        await asyncio.sleep(duration_s)
        for node in nodes:
            self._world.start(node)

    async def _restart(self, node: int, duration_s: float) -> None:
        await self._world.stop(node)
        await asyncio.sleep(duration_s / 4)
        self._world.start(node)

    async def _pause(self, node: int, duration_s: float) -> None:
        process = self._world.processes.get(node)
        if process is not None:
            self._world.pause(process)
            await asyncio.sleep(duration_s * 2)
            self._world.resume(process)

    # -- leaders

    async def _there_and_back(self, node: int, duration_s: float) -> None:
        """Others lead what a broker leads, then it again; it hears of both late and at once."""
        process = self._world.processes.get(node)
        if process is None or not process.booted:
            return
        publisher = process.broker.publisher
        if LateMetadata.is_held(publisher):
            return
        led = _led_by(node, publisher.image)
        late = LateMetadata(publisher)
        try:
            for back in (False, True):
                await self._prefer(led, back=back)
                await asyncio.sleep(duration_s / 2)
        finally:

            def tell() -> None:
                if process.alive:
                    late.tell()

            # By the process itself, and so even later when it is paused.
            self._world.loop.call_soon(tell, context=process.door.context)

    async def _prefer(self, led: dict[tuple[str, int], list[int]], *, back: bool) -> None:
        """Have the first of some replicas elected, or the last; whoever can't be is not."""
        topics: dict[str, list[Struct]] = {}
        for (topic, index), replicas in led.items():
            wanted = replicas if back else replicas[::-1]
            partition = Struct(partition_index=index, replicas=wanted)
            topics.setdefault(topic, []).append(partition)
        moves = [Struct(name=name, partitions=each) for name, each in topics.items()]
        client = self._world.client()
        try:
            body = Struct(timeout_ms=ELECTION_MS, topics=moves)
            await client.ask_any(ApiKey.ALTER_PARTITION_REASSIGNMENTS, body, 0)
            body = Struct(election_type=0, topic_partitions=None, timeout_ms=ELECTION_MS)
            await client.ask_any(ApiKey.ELECT_LEADERS, body, 2)
        except WireError:
            return

    # -- links

    async def _isolate(self, node: int, duration_s: float) -> None:
        network = self._world.network
        others = [other for other in self._world.nodes if other != node]
        cuts = [cut for other in others for cut in ((node, other), (other, node))]
        network.cut_all(cuts)
        await asyncio.sleep(duration_s)
        network.mend(cuts)

    async def _one_way(self, node: int, duration_s: float) -> None:
        other = self._rng.choice([each for each in self._world.nodes if each != node])
        self._world.network.cut_all([(node, other)])
        await asyncio.sleep(duration_s)
        self._world.network.mend([(node, other)])

    async def _slow(self, node: int, duration_s: float) -> None:
        faults = self._world.network.faults
        faults.delay_s_max = 0.3
        await asyncio.sleep(duration_s)
        faults.delay_s_max = 0.002

    async def _lossy(self, node: int, duration_s: float) -> None:
        faults = self._world.network.faults
        faults.loss_probability = self._rng.uniform(0.01, 0.3)
        await asyncio.sleep(duration_s)
        faults.loss_probability = 0.0

    async def _resets(self, node: int, duration_s: float) -> None:
        faults = self._world.network.faults
        faults.reset_probability = self._rng.uniform(0.001, 0.03)
        await asyncio.sleep(duration_s)
        faults.reset_probability = 0.0

    # -- machines

    async def _skew(self, node: int, duration_s: float) -> None:
        """The wall clock jumps, and stays there."""
        self._world.clocks[node].skew_ms = self._rng.randint(-SKEW_MS_MAX, SKEW_MS_MAX)

    async def _disk_full(self, node: int, duration_s: float) -> None:
        """All of a sudden, so that the metadata log finds no room either, or in time to react."""
        disk = self._world.disks[node]
        if self._rng.random() < 0.5:
            disk.full = True
        else:
            disk.nearly_full = True
        await asyncio.sleep(duration_s)
        disk.full = disk.nearly_full = False

    async def _sync_error(self, node: int, duration_s: float) -> None:
        self._world.disks[node].fail_next_sync = self._rng.randint(1, 3)
        await asyncio.sleep(duration_s)
        self._world.disks[node].fail_next_sync = 0

    async def _slow_disk(self, node: int, duration_s: float) -> None:
        self._world.slow_disk_s[node] = self._rng.uniform(0.02, 0.5)
        await asyncio.sleep(duration_s)
        self._world.slow_disk_s[node] = 0.0

    async def _calm(self, node: int, duration_s: float) -> None:
        await asyncio.sleep(duration_s)


def _led_by(node: int, image: MetadataImage) -> dict[tuple[str, int], list[int]]:
    """The partitions that a broker leads with others, and their replicas, itself first."""
    return {
        (topic.name, index): [node, *(each for each in state.replicas if each != node)]
        for topic, index, state in image.iter_partitions()
        if state.leader == node and len(state.replicas) > 1
    }
