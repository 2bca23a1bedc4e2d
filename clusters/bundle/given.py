"""A bundle that someone else built: looked at before it is trusted with hosts."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile

from clusters.bundle.errors import BundleError
from clusters.bundle.model import FORMAT, Bundle

_PIECE_BYTES = 1 << 20
_MANIFEST = "manifest.json"


def read_bundle(path: str) -> Bundle:
    """The bundle in a file. Raises BundleError when it is none, or of a format we do not know."""
    path = os.path.abspath(os.path.expanduser(path))
    try:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
        # The manifest comes after the folders bin and lib: found without unpacking anything.
        with tarfile.open(path, "r:gz") as archive:
            found = archive.extractfile(_MANIFEST)
            manifest = json.load(found) if found is not None else {}
    except FileNotFoundError:
        raise BundleError(f"there is no bundle {path}") from None
    except (OSError, EOFError, KeyError, ValueError, tarfile.TarError) as error:
        raise BundleError(f"{path} is no bundle of logctl: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(
            f"{path} is no bundle that this logctl can deploy. "
            "Build one with: logctl bundle build --output FILE"
        )
    return Bundle(
        path=path,
        sha256=digest.hexdigest(),
        version=str(manifest.get("version", "0")),
        size_bytes=os.path.getsize(path),
        architecture=str(manifest.get("architecture", "")),
        python_version=str(manifest.get("python", "")),
    )
