"""The cluster file: models and loader."""

from clusters.spec.loader import load_spec, parse_spec
from clusters.spec.models import ClusterSpec, HostSpec, Listeners, Paths, Ssh

__all__ = ["ClusterSpec", "HostSpec", "Listeners", "Paths", "Ssh", "load_spec", "parse_spec"]
