"""What is known of a bundle. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

# Of the archive's layout; the manifest inside carries it.
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A built archive. `sha256` is its content's, `architecture` as `uname -m` tells it."""

    path: str
    sha256: str
    version: str
    size_bytes: int
    architecture: str
    python_version: str
