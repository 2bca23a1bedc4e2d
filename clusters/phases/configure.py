"""Write folders, markers and configuration files of the brokers that will be started."""

from __future__ import annotations

import os

from clusters.layout import MARKER
from clusters.phases.base import Run, for_each
from clusters.phases.facts import marker_content


class Configure:
    """Each broker's folders with our marker, and its properties file (0600)."""

    title = "configure"

    async def run(self, run: Run) -> None:
        """Act on `run.to_start`."""

        async def configure(broker_id: int) -> None:
            layout, connection = run.layouts[broker_id], run.connections[broker_id]
            for folder in layout.data_dirs:
                root = os.path.dirname(folder)
                await connection.make_folder(folder)
                for place, node_id in ((root, None), (folder, broker_id)):
                    content = marker_content(run.spec.name, run.cluster_id, node_id)
                    marker = os.path.join(place, MARKER)
                    if await connection.read_file(marker) is None:
                        await connection.write_file(marker, content)
            await connection.make_folder(os.path.dirname(layout.log_path))
            text = run.engine.configuration(run.spec, layout, run.cluster_id)
            await connection.write_file(layout.config_path, text.encode())

        await for_each(run.to_start, configure)
