"""The cluster file: models and loader."""

from clusters.spec.loader import load_spec, parse_spec
from clusters.spec.models import ClusterSpec, HostSpec, Listeners, Paths, Rollout, RunAs, Ssh

__all__ = [
    "ClusterSpec",
    "HostSpec",
    "Listeners",
    "Paths",
    "Rollout",
    "RunAs",
    "Ssh",
    "load_spec",
    "parse_spec",
]
