"""Connect to every host of the run; all that cannot be reached are told at once."""

from __future__ import annotations

from clusters.errors import HostError
from clusters.layout import broker_layout
from clusters.phases.base import Node, Run, all_or_tell


class Connect:
    """Opens a connection to the machine of each target."""

    title = "connect"

    async def run(self, run: Run, *, partial: bool = False) -> None:
        """Fill `run.nodes`. Raises OperationError naming every host that failed.

        With `partial`, hosts that failed are noted in `run.unreachable` instead.
        """

        async def connect(broker_id: int) -> None:
            host = run.host(broker_id)
            try:
                connection = await run.connector.connect(host)
            except HostError as error:
                run.say(self.title, "failed", str(error), broker_id)
                if not partial:
                    raise
                run.unreachable[broker_id] = str(error)
                return
            layout = broker_layout(run.spec, host, connection.home)
            run.nodes[broker_id] = Node(layout=layout, connection=connection)
            run.say(self.title, "done", "", broker_id)

        await all_or_tell(run.targets, connect)
        run.nodes = {each: run.nodes[each] for each in run.targets if each in run.nodes}
        for name, shown in sorted(run.connector.learned.items()):
            run.say(self.title, "warning", f"{name} is new; its host key {shown} is trusted now")
        run.connector.learned.clear()
