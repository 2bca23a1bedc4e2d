"""What to ship, configure and start for each kind of broker."""

from clusters.engines.base import Engine
from clusters.engines.logd import LogdEngine
from clusters.errors import OperationError

__all__ = ["Engine", "LogdEngine", "engine_named"]


def engine_named(name: str) -> Engine:
    """The engine that a cluster file names. Raises OperationError for one not available yet."""
    if name == "logd":
        return LogdEngine()
    raise OperationError(
        f"engine: {name} cannot be deployed yet; nothing was done. Use `engine: logd`."
    )
