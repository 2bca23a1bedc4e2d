"""What would happen to partitions and to the quorum if a broker were gone. It changes nothing.

`effects` is pure; what could not be found out is None or told, never taken for harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shell.exits import ExitCode
from shell.output import Block, Cell, Facts
from shell.session import Session

if TYPE_CHECKING:
    from clusters.admin.model import PlacedPartition, QuorumInfo
    from clusters.operation_results import ClusterStatus

_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What the loss of one broker means. Partitions are `topic-number`.

    `leaderless` lose their last in-sync replica; `unwritable` fall below min.insync.replicas, where
    acks=all is refused (None: nobody told the settings). `voters_left` of `voters` remain.
    """

    broker: int
    state: str | None
    leaders_move: int
    replicas: int
    leaderless: tuple[str, ...]
    unwritable: tuple[str, ...] | None
    controller: bool | None
    voters: int | None
    voters_left: int | None

    @property
    def quorum_lost(self) -> bool:
        """Whether the metadata quorum would have no majority."""
        if self.voters is None or self.voters_left is None:
            return False
        return self.voters_left <= self.voters // 2

    def to_json(self) -> dict[str, Any]:
        """The documented fields, in order."""
        data = asdict(self) | {"quorum_lost": self.quorum_lost}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()}

    def facts(self) -> Facts:
        """The same for reading."""
        unknown = Cell("not known", "warn")
        pairs: list[tuple[str, object]] = [
            ("broker", self.broker),
            ("process", self.state),
            ("partitions that it leads", self.leaders_move),
            ("replicas that fall behind", self.replicas),
            ("partitions without a leader", _named(self.leaderless)),
            ("below min.insync.replicas", _named(self.unwritable)),
        ]
        if self.controller is None or self.voters is None:
            return Facts([*pairs, ("metadata quorum", unknown)])
        pairs.append(("controller moves", "yes" if self.controller else "no"))
        left = f"{self.voters_left} of {self.voters} voters left"
        quorum = Cell(f"{left}: no majority", "bad") if self.quorum_lost else left
        return Facts([*pairs, ("metadata quorum", quorum)])


def _named(partitions: Sequence[str] | None) -> object:
    if partitions is None:
        return Cell("not known", "warn")
    if not partitions:
        return 0
    more = ", ..." if len(partitions) > _NAMED else ""
    return Cell(f"{len(partitions)} ({', '.join(partitions[:_NAMED])}{more})", "bad")


def effects(
    broker: int,
    partitions: Sequence[PlacedPartition],
    quorum: QuorumInfo | None,
    state: str | None = None,
    up: frozenset[int] = frozenset(),
) -> Effects:
    """What follows when `broker` goes; `up` are the brokers that run now. Pure."""
    in_sync = [each for each in partitions if broker in each.isr and not each.is_offline]
    lost = [each for each in in_sync if set(each.isr) == {broker}]
    below = [
        each
        for each in in_sync
        if each.needed_isr is not None and len(each.isr) - 1 < each.needed_isr <= len(each.isr)
    ]
    told = all(each.min_isr is not None for each in in_sync)
    voters = None if quorum is None else {voter.id for voter in quorum.voters}
    left = None if voters is None else len(voters & up - {broker} if up else voters - {broker})
    return Effects(
        broker=broker,
        state=state,
        leaders_move=sum(each.leader == broker for each in partitions) - len(lost),
        replicas=len(in_sync),
        leaderless=tuple(f"{each.topic}-{each.partition}" for each in lost),
        unwritable=tuple(f"{each.topic}-{each.partition}" for each in below) if told else None,
        controller=None if quorum is None else quorum.leader_id == broker,
        voters=None if voters is None else len(voters),
        voters_left=left,
    )


async def show(session: Session, broker: int, status: ClusterStatus, doing: str) -> ExitCode | None:
    """Show the effects of taking a broker away, as far as the cluster tells them."""
    from broker.protocol.errors import LogctlError
    from clusters.errors import OperationError

    own = next((each for each in status.brokers if each.id == broker), None)
    if own is None:
        known = ", ".join(str(each.id) for each in status.brokers)
        raise OperationError(f"There is no broker {broker} in {status.spec_path}; it has {known}.")
    output = session.output
    output.say(f"Broker {broker} would be {doing}; nothing was changed.")
    if own.state != "running":
        output.say(f"It does not run now ({own.state}).", "warn")
    code = None
    quorum = None
    async with session.admin() as admin:
        partitions = await admin.partitions(min_isr=True)
        try:
            quorum = await admin.quorum()
        except LogctlError as error:
            output.warn(f"metadata quorum: {error}")
            code = ExitCode.UNHEALTHY
    running = frozenset(each.id for each in status.brokers if each.state == "running")
    found = effects(broker, partitions, quorum, own.state, running)
    blocks: list[Block] = [found.facts()]
    output.document(found.to_json(), lambda: blocks)
    return code
