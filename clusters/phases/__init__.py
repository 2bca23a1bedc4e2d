"""The steps of a deployment, one file each."""

from clusters.phases.base import Node, Phase, Progress, Run
from clusters.phases.checks import Checks
from clusters.phases.configure import Configure
from clusters.phases.connect import Connect
from clusters.phases.facts import GatherFacts
from clusters.phases.leaving import Leave
from clusters.phases.plan import MakePlan
from clusters.phases.prepare import Prepare
from clusters.phases.record import Record
from clusters.phases.roll import Roll
from clusters.phases.ship import Ship
from clusters.phases.start import Start
from clusters.phases.verify import Verify

LOOK: tuple[Phase, ...] = (GatherFacts(), Checks(), MakePlan())
# Prepare writes down what it is about to make on a host, Ship's folders included: it comes first.
CHANGE: tuple[Phase, ...] = (
    Prepare(),
    Ship(),
    Configure(),
    Start(),
    Verify(),
    Roll(),
    Leave(),
    Record(),
)

__all__ = ["CHANGE", "LOOK", "Connect", "Node", "Phase", "Progress", "Record", "Run"]
