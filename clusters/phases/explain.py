"""For a failure: the last lines of a broker's log, what its supervisor knows, its open ports."""

from __future__ import annotations

import contextlib

from clusters.errors import HostError
from clusters.phases.base import Node, Run

LOG_LINES = 30
LOG_BYTES = 32 << 10


async def log_of(run: Run, node: Node, lines: int = LOG_LINES) -> str:
    """The last lines that a broker wrote since this run started it, indented."""
    layout = node.layout
    output = await node.connection.read_from(
        layout.log_path, run.log_positions.get(node.id, 0), LOG_BYTES
    )
    told = run.engine.log_lines(output.decode("utf-8", "replace"))[-lines:]
    if not told:
        return f" It wrote nothing to {layout.log_path}."
    shown = "\n".join(f"    {line[:300]}" for line in told)
    return f"\n  Last lines of {layout.log_path}:\n{shown}"


async def explain(run: Run, node: Node) -> str:
    """All that helps to see why a broker does not come up; never raises for a sick host."""
    parts: list[str] = []
    with contextlib.suppress(HostError):
        if words := await node.driver.explain():
            parts.append(f"\n  {words}")
    with contextlib.suppress(HostError):
        ports = []
        for kind, port in node.layout.ports:
            use = await node.connection.port_use(node.layout.listen_host, port)
            ports.append(f"{kind} port {port} {f'is held by {use}' if use else 'is not open'}")
        parts.append(f"\n  {'; '.join(ports)}")
    with contextlib.suppress(HostError):
        parts.append(await log_of(run, node))
    return "".join(parts)
