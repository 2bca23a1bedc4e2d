"""How long the dashboard takes to take in and draw changes of a large cluster.

`python -m benchmarks.dashboard_redraw`: 10,000 partitions without a terminal; prints medians in milliseconds.
"""

import asyncio
import importlib.util
import statistics
import sys
import time
from pathlib import Path
from types import ModuleType


def load_fake() -> ModuleType:
    """The cluster in memory that the dashboard's tests use."""
    path = Path(__file__).parent.parent / "tests" / "tui" / "conftest.py"
    spec = importlib.util.spec_from_file_location("dashboard_fake", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dashboard_fake"] = module
    spec.loader.exec_module(module)
    return module


async def main() -> None:
    from tui.app import DashboardApp

    cluster = load_fake().FakeCluster()
    for topic in range(100):
        cluster.create_topic(f"t{topic:03}", 100)
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds())
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        while len(app.table("partitions").shown) < 10_000:
            await pilot.pause(0.02)
        await pilot.press("3")
        took: dict[str, list[float]] = {"take in and paint one change": [], "one key": []}
        for number in range(30):
            cluster.change(f"t{number:03}", 5, isr=(1, 2))
            update = cluster.update()
            started = time.perf_counter()
            app._waiting.append(update)
            app._paint()
            took["take in and paint one change"].append((time.perf_counter() - started) * 1000)
            await pilot.pause(0.01)
        for _ in range(50):
            table = app.table("partitions")
            started = time.perf_counter()
            table.action_cursor(1)
            for y in range(table.size.height):
                table.render_line(y)
            took["one key"].append((time.perf_counter() - started) * 1000)
    for what, values in took.items():
        print(f"{what}: median {statistics.median(values):.1f} ms, greatest {max(values):.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
