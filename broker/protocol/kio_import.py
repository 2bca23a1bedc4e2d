"""The one door to the kio package, which holds Kafka's schema and error codes.

kio registers strategies with hypothesis when that is installed, which costs two seconds and
240 MB; the door hides hypothesis while kio's modules load. It must never expose kio's readers: they
trust what they read, so nothing from the network may reach them.
"""

import importlib
import sys
from types import ModuleType

_HIDDEN = ("hypothesis", "hypothesis.strategies")


def import_kio(name: str) -> ModuleType:
    """Import a module of kio (``kio.schema.errors``, ...) without waking hypothesis."""
    if name in sys.modules:
        return sys.modules[name]
    absent = object()
    before = {module: sys.modules.get(module, absent) for module in _HIDDEN}
    modules: dict[str, object] = sys.modules  # type: ignore[assignment]
    try:
        for module in _HIDDEN:
            modules[module] = None
        return importlib.import_module(name)
    finally:
        for module, value in before.items():
            if value is absent:
                modules.pop(module, None)
            else:
                modules[module] = value
