"""The steps of a deployment, one file each."""

from clusters.phases.base import Phase, Progress, Run
from clusters.phases.checks import Checks
from clusters.phases.configure import Configure
from clusters.phases.connect import Connect
from clusters.phases.facts import GatherFacts
from clusters.phases.plan import Plan
from clusters.phases.record import Record
from clusters.phases.start import Start
from clusters.phases.verify import Verify

UP: tuple[Phase, ...] = (Connect(), GatherFacts(), Checks(), Plan())
CHANGE: tuple[Phase, ...] = (Configure(), Start(), Verify(), Record())

__all__ = ["CHANGE", "UP", "Phase", "Progress", "Run"]
