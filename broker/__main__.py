"""logd: `python -m broker --config FILE` runs one broker until it is told to stop.

Exit codes: 0 stopped as asked, 1 could not start or had to stop, 2 wrong usage or configuration.
The first SIGTERM or SIGINT is a controlled shutdown, a second one leaves at once. stdout stays
empty; stderr carries JSON log lines, and plain lines only before there is a configuration. With
`log.file` all of that goes to a file, which is rotated.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import random
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from broker.config import BrokerConfig, ConfigError
from broker.memory import keep_collections_short, keep_large_buffers

if TYPE_CHECKING:
    from broker.server import Broker

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

logger = logging.getLogger("logd")


class _ShowVersion(argparse.Action):
    """Prints the version, which is looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from broker.protocol.client import CLIENT_SOFTWARE_VERSION

        sys.stdout.write(f"logd {CLIENT_SOFTWARE_VERSION}\n")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a broker; gives the exit code."""
    if not __debug__:
        sys.stderr.write("logd: refuses to run under python -O: its assertions guard the data\n")
        return EXIT_USAGE
    parser = argparse.ArgumentParser(prog="logd", description="A broker of the Kafka protocol.")
    parser.add_argument("--config", required=True, metavar="FILE", help="properties file")
    parser.add_argument("--check", action="store_true", help="only check the file")
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version")
    arguments = parser.parse_args(argv)
    try:
        config = BrokerConfig.load(arguments.config)
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"logd: {error.source}: {problem}\n")
        return EXIT_USAGE
    if arguments.check:
        return EXIT_OK
    _name_this_process()
    keep_large_buffers()
    from broker.observability import configure_logging

    handler = None
    if config.log_file is not None:
        from broker.log_file import open_log_file

        handler = open_log_file(
            config.log_file, config.log_file_max_bytes, config.log_file_max_files
        )
    configure_logging(config.log_level, handler=handler)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(config))


def _name_this_process() -> None:
    """Show as logd in process lists, not as the interpreter or the loader that runs it."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as name:
        name.write("logd")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(config: BrokerConfig) -> int:
    from broker.protocol.errors import LogctlError
    from broker.runtime.doors import AsyncioNetwork, RealDisk, SystemClock, ThreadOffload
    from broker.server import Broker

    broker = Broker(
        config,
        network=AsyncioNetwork(),
        disk=RealDisk(),
        clock=SystemClock(),
        offload=ThreadOffload(),
        rng=random.Random(),
    )
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, broker, asked_to_stop)
    gc.collect()
    try:
        await broker.start()
    except (LogctlError, OSError) as error:
        logger.critical("cannot start: %s", error)
        return EXIT_FAILED
    heap = loop.create_task(keep_collections_short(lambda: broker.partitions_count))
    stopping = asyncio.ensure_future(asked_to_stop.wait())
    failing = asyncio.ensure_future(broker.wait_failed())
    await asyncio.wait({stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
    failed = failing.done()
    for waiting in (stopping, failing, heap):
        waiting.cancel()
    await broker.stop(controlled=not failed)
    return EXIT_FAILED if failed else EXIT_OK


def _on_signal(broker: "Broker", asked_to_stop: asyncio.Event) -> None:
    if asked_to_stop.is_set():
        broker.hurry()
    asked_to_stop.set()


if __name__ == "__main__":
    sys.exit(main())
