"""What can go wrong with a bundle."""

from broker.protocol.errors import LogctlError


class BundleError(LogctlError):
    """A bundle cannot be built here; the text says why and what to do."""
