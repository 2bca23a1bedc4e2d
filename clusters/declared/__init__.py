"""Declared state: what files say a cluster should hold, the plan to get there, and its doing."""

from clusters.declared.loading import load_declared
from clusters.declared.model import Declared, DeclaredOffsets, DeclaredTopic, Placement, Policy
from clusters.declared.planner import Plan, plan
from clusters.declared.selecting import Selection, SelectorError, parse_selection
from clusters.declared.steps import Kind, Step
from clusters.declared.world import Setting, World, WorldTopic

__all__ = [
    "Declared",
    "DeclaredOffsets",
    "DeclaredTopic",
    "Kind",
    "Placement",
    "Plan",
    "Policy",
    "Selection",
    "SelectorError",
    "Setting",
    "Step",
    "World",
    "WorldTopic",
    "load_declared",
    "parse_selection",
    "plan",
]
