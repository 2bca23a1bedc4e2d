"""What a simulated run can be guilty of. Must never import anything that could do wrong itself."""

from broker.protocol.errors import LogctlError


class SafetyViolation(LogctlError):
    """The cluster did what it must never do."""


class LivenessViolation(LogctlError):
    """The cluster did not do in time what it must do after it has healed."""
