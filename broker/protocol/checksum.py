"""crc32c of the library of that name, without its package: only the compiled module is loaded.

The package asks at import for its own version, which loads the reader of packages' metadata and
looks through all that is installed: ten milliseconds of each command. It must never compute the
checksum itself.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any, cast

Crc32c = Callable[..., int]


def _compiled() -> Any:
    """The compiled module of the package, or None where the package is laid out otherwise."""
    package = PathFinder.find_spec("crc32c")
    if package is None or not package.submodule_search_locations:
        return None
    spec = PathFinder.find_spec("crc32c._crc32c", list(package.submodule_search_locations))
    if spec is None or spec.loader is None:
        return None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _find() -> Crc32c:
    found = None if "crc32c" in sys.modules else _compiled()
    whole = found if hasattr(found, "crc32c") else import_module("crc32c")
    return cast("Crc32c", getattr(whole, "crc32c"))  # noqa: B009 - of a module found just now


crc32c = _find()
