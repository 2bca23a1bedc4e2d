"""The bundle: what hosts need to run logd, in one archive with its own Python and C library.

Built from the Python that runs logctl, content-addressed, kept in the cache. Must never ship what
logd and the supervisor do not need, nor anything of this machine but programs and libraries.
"""

from clusters.bundle.build import build_bundle, ensure_bundle
from clusters.bundle.errors import BundleError
from clusters.bundle.given import read_bundle
from clusters.bundle.model import Bundle

__all__ = ["Bundle", "BundleError", "build_bundle", "ensure_bundle", "read_bundle"]
