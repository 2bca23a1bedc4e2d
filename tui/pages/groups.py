"""Consumer groups, and one group: members, lag by partition, trend, time to drain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.content import Content

from broker.protocol.errors import ErrorCode
from clusters.admin.group_model import CONSUMER, SHARE, STREAMS, shared_readers
from clusters.polls import Answer, Poll, Samples
from tui.behind import is_untold, lag_text
from tui.charts import chart
from tui.drawing import age, count, sparkline
from tui.pages.base import Desk, Page
from tui.panel import Frame
from tui.prose import Prose
from tui.rebalances import MOVING
from tui.rights import RIGHTS, limit_note, limited_to
from tui.store import FRESH_MS, GROUPS, LAGS, LEVEL_PER_S, Store
from tui.table import Column, LiveTable

# A streams group is not ready while topics that it reads are missing or do not fit together.
TROUBLED = ("Dead", "Unknown", "NotReady")
# So often within this time a group does little else.
RESTLESS_TIMES, RESTLESS_MS = 3, 300_000
PLOTS_WIDTH = 150


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group in the list; `lag` is None while it is not known, `problem` says why.

    Of so many partitions as `untold` says the leader did not answer: they are not in `lag`.
    """

    group: str
    state: str
    coordinator: int
    lag: int | None
    max_lag: int | None
    topics: tuple[str, ...]
    problem: str = ""
    kind: str = ""
    untold: int = 0


@dataclass(frozen=True, slots=True)
class LagRow:
    """A partition that a group reads; `share` is its part of the group's lag, 0 to 1.

    `between` says who had it while a rebalance gives it to nobody, "" when none is under way.
    """

    topic: str
    partition: int
    committed: int | None
    end: int | None
    lag: int | None
    member: str
    share: float
    between: str = ""

    @property
    def reader(self) -> str | Text:
        """Who reads it, as it is drawn."""
        return self.member or (Text(self.between, "dim") if self.between else "nobody")


def group_rows(store: Store) -> list[GroupRow]:
    """Groups with the lag that is known of them."""
    lags = store.answer(LAGS).value or {}
    rows = []
    for each in store.answer(GROUPS).value or ():
        lag: Any = lags.get(each.group)
        known = (
            [p.lag for p in lag if p.lag is not None] if lag and not isinstance(lag, str) else []
        )
        problem = lag if isinstance(lag, str) else ""
        if lag is not None and not lag and (who := limited_to(store, "topic", of_brokers=True)):
            problem = f"reads no topic that {who} may describe"
        told = lag is not None and not problem
        rows.append(
            GroupRow(
                group=each.group,
                state=each.state or "-",
                coordinator=each.coordinator,
                lag=sum(known) if told else None,
                max_lag=max(known, default=0) if told else None,
                topics=tuple(sorted({p.topic for p in lag})) if told else (),
                problem=problem,
                kind=kind_of(each.group_type, each.protocol_type),
                untold=sum(map(is_untold, lag)) if told else 0,
            )
        )
    return rows


def kind_of(group_type: str, protocol_type: str) -> str:
    """The kind of a group: classic, consumer (KIP-848), share, streams; for others their protocol.

    A classic group that is no group of consumers, such as Kafka Connect's, says what it is.
    """
    kind = group_type.lower()
    other = protocol_type not in ("", CONSUMER)
    return protocol_type if other and kind in ("", "classic") else kind or "-"


def trend(store: Store, group: str) -> str:
    """Where the lag goes, in a sign and a number."""
    rate = store.lag_per_second(group)
    if rate is None:
        return "-"
    if abs(rate) < LEVEL_PER_S:
        return "→ level"
    return f"{'↗ +' if rate > 0 else '↘ '}{count(rate)}/s"


def drain(store: Store, group: str, state: str) -> str:
    """When the lag is gone; a group that nobody is in reads nothing, whatever its lag does."""
    left_ms = store.drain_ms(group)
    if state == "Empty" and left_ms != 0:
        return "no members"
    if left_ms is not None:
        return "caught up" if left_ms == 0 else age(left_ms)
    return "never, so far" if store.is_falling_behind(group) else "-"


class GroupsPage(Page):
    """Every group."""

    KIND, TITLE, DEFAULT_TABLE = "groups", "Groups", "groups"
    HELP = (
        "Lag is summed over partitions; the trend over the last half minute says when a group "
        "will have caught up. Enter opens one group."
    )

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        self.add_table(self._table())

    def _table(self) -> LiveTable[GroupRow]:
        store = self.store

        def draw_trend(row: GroupRow) -> str:
            samples = store.lags.get(row.group)
            return sparkline(samples.levels, 16) if samples is not None else ""

        def fields(row: GroupRow) -> Mapping[str, Any]:
            from clusters.query import UNKNOWN

            told = row.lag is not None
            return {
                "group": row.group,
                "state": row.state,
                "coordinator": row.coordinator,
                "members": UNKNOWN,
                "lag": row.lag if told and not row.untold else UNKNOWN,
                "max_lag": row.max_lag if told and not row.untold else UNKNOWN,
                "topics": row.topics if told else UNKNOWN,
            }

        return LiveTable(
            [
                Column("group", 0, lambda r: r.group, lambda r: r.group),
                Column("state", 20, lambda r: state_text(r.state), lambda r: r.state),
                Column("kind", 8, lambda r: r.kind, lambda r: r.kind, False, 100),
                Column(
                    "lag", 8, lambda r: lag_text(r.lag, r.untold), lambda r: -(r.lag or 0), True
                ),
                Column(
                    "worst", 8, lambda r: count(r.max_lag), lambda r: -(r.max_lag or 0), True, 90
                ),
                Column(
                    "trend",
                    11,
                    lambda r: "-" if r.problem else trend(store, r.group),
                    lambda r: r.group,
                ),
                Column(
                    "drained in",
                    13,
                    lambda r: "-" if r.problem else drain(store, r.group, r.state),
                    lambda r: r.group,
                ),
                Column("lag lately", 16, draw_trend, lambda r: -(r.lag or 0), False, 110),
                Column("coord", 5, lambda r: str(r.coordinator), lambda r: r.coordinator, True, 78),
                Column(
                    "topics",
                    0,
                    lambda r: r.problem or " ".join(r.topics),
                    lambda r: r.topics,
                    False,
                    140,
                ),
            ],
            key=lambda r: r.group,
            search=lambda r: f"{r.group} {r.state} {r.kind} {' '.join(r.topics)}",
            row_class=lambda r: "warning" if r.state in (*MOVING, *TROUBLED) else "",
            title="Groups",
            query_table="groups",
            fields=fields,
            id="groups",
        )

    def compose(self) -> ComposeResult:
        """One table."""
        yield self.tables["groups"]

    def wants(self) -> Sequence[Poll]:
        """Groups and their lag."""
        return (GROUPS, LAGS, RIGHTS)

    def paint(self) -> None:
        """Draw the table."""
        table = self.tables["groups"]
        groups, lags = self.store.answer(GROUPS), self.store.answer(LAGS)
        table.set_rows(group_rows(self.store), (groups.at_ms, lags.at_ms))
        failures = getattr(groups.value, "failures", ())
        missing = f"⚠ {failures[0]}" if failures else ""
        note = self.note(groups, FRESH_MS) or self.note(lags) or missing
        table.set_title("Groups", note or limit_note(self.store, "group"))


class GroupPage(Page):
    """One group."""

    KIND, TITLE, DEFAULT_TABLE = "group", "Group", "lags"
    HELP = "Members, and the lag of each partition; the bar is its share of the whole lag."

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        # Who read what when the group last stood still, and when that was told.
        self._owners: dict[tuple[str, int], str] = {}
        self._owned_ms = 0
        self.add_text("facts", f"Group {subject}".replace("[", "\\["))
        self.add_table(self._lag_table())
        self.add_text("members", "Members")
        self.add_text("history", "Lag, records behind")
        self.add_text("reading", "Records read per second")

    def _lag_table(self) -> LiveTable[LagRow]:
        return LiveTable(
            [
                Column(
                    "partition",
                    0,
                    lambda r: f"{r.topic}-{r.partition}",
                    lambda r: (r.topic, r.partition),
                    numbered=True,
                ),
                Column(
                    "committed", 10, lambda r: count(r.committed), lambda r: r.committed or -1, True
                ),
                Column("end", 10, lambda r: count(r.end), lambda r: r.end or -1, True),
                Column("lag", 8, lambda r: count(r.lag), lambda r: -(r.lag or 0), True),
                Column(
                    "share", 10, lambda r: "█" * round(r.share * 10), lambda r: -r.share, wide=70
                ),
                Column("member", 0, lambda r: r.reader, lambda r: r.member),
            ],
            key=lambda r: (r.topic, r.partition),
            search=lambda r: f"{r.topic}-{r.partition} {r.member}",
            row_class=lambda r: "" if r.member or r.between else "warning",
            title="Lag",
            query_table="lags",
            fields=lambda r: {
                "group": self.about,
                "topic": r.topic,
                "partition": r.partition,
                "committed": r.committed,
                "end": r.end,
                "lag": r.lag,
                "member": r.member or None,
            },
            id="lags",
        )

    def compose(self) -> ComposeResult:
        """Facts, lag, and members and plots beside or below."""
        with Frame(id="around"):
            with Frame(id="main"):
                yield self.texts["facts"]
                yield self.tables["lags"]
            with Frame(id="below"):
                yield self.texts["history"]
                yield self.texts["reading"]
                yield self.texts["members"]

    def wants(self) -> Sequence[Poll]:
        """The group and its lag."""
        return (Poll("group", self.about), Poll("lag", self.about), RIGHTS)

    def paint(self) -> None:
        """Draw all panels."""
        store, name = self.store, self.about
        detail, lag = store.answer(Poll("group", name)), store.answer(Poll("lag", name))
        if detail.code == ErrorCode.group_id_not_found:
            # As a rule it was deleted while somebody looked: nothing of it is so any more.
            old_ms = detail.age_ms(self.desk.now_ms())
            seen = "" if old_ms is None else f" It was there {age(old_ms)} ago."
            said = f"✖ There is no group {name}.{seen}"
            self.texts["facts"].update(Prose().append(said, "error").content())
            self.texts["members"].update("")
            self.tables["lags"].set_rows([], detail.failures)
            self.tables["lags"].set_title("Lag", "")
            return
        owners = self._owners_of(detail, lag)
        everything = sum(each.lag or 0 for each in lag.value or ())
        rows = [
            LagRow(
                topic=each.topic,
                partition=each.partition,
                committed=each.committed,
                end=each.end,
                lag=each.lag,
                member=owners.get((each.topic, each.partition), ""),
                share=(each.lag or 0) / everything if everything else 0.0,
                between=self._between(detail.value, (each.topic, each.partition)),
            )
            for each in lag.value or ()
        ]
        self.tables["lags"].set_rows(rows, (lag.at_ms, detail.at_ms))
        self.tables["lags"].set_title("Lag", self._lag_note(lag))
        # Nobody knows where reading begins there: the client's auto.offset.reset decides.
        unread = sum(each.committed is None and bool(each.end) for each in lag.value or ())
        known = everything if lag.value else None
        untold = sum(map(is_untold, lag.value or ()))
        # What is not counted has a line of its own.
        self.texts["facts"].set_class(bool(unread or untold), "-longer")
        self.tell_facts(self._facts(detail.value, known, unread, untold))
        self.texts["members"].update(self._members(detail.value, self.note(detail, FRESH_MS)))
        if self.size.width >= PLOTS_WIDTH:
            self._plot("history", store.lags.get(name), rates=False)
            self._plot("reading", store.commits.get(name), rates=True)

    def _owners_of(self, detail: Answer, lag: Answer) -> dict[tuple[str, int], str]:
        """Who reads what now, by the same answer that tells whether the group rebalances."""
        if detail.value is None:
            return {(p.topic, p.partition): p.member for p in lag.value or () if p.member}
        shared = shared_readers(detail.value)
        owners = shared or {
            key: member.client_id for member in detail.value.members for key in member.partitions
        }
        if detail.value.state not in MOVING:
            self._owners, self._owned_ms = owners, detail.at_ms or 0
        return owners

    def _between(self, detail: Any, key: tuple[str, int]) -> str:
        """What is said of a partition that nobody has because the group rebalances."""
        if detail is None or detail.state not in MOVING:
            return ""
        if (owner := self._owners.get(key)) is None:
            return "rebalancing"
        ago = age(self.desk.now_ms() - self._owned_ms)
        return f"was {owner}, {ago} ago"

    def _lag_note(self, lag: Answer) -> str:
        """Its age, what was not told of it, or that there may be topics that are not told of."""
        if note := self.note(lag, FRESH_MS):
            return note
        failures = getattr(lag.value, "failures", ())
        if failures:
            more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
            return f"⚠ {failures[0].where}{more} not told: {failures[0].reason}"
        note = limit_note(self.store, "topic", of_brokers=not lag.value)
        return f"of topics {note}" if note else ""

    def _plot(self, panel_name: str, samples: Samples | None, *, rates: bool) -> None:
        panel, prose = self.texts[panel_name], Prose()
        if samples is None:
            prose.append("counting …", "dim")
        else:
            values = samples.rates() if rates else samples.levels
            width, height, span_ms = panel.size.width, panel.size.height, samples.span_ms
            chart(prose, values, width, height, over_ms=span_ms, from_zero=rates)
        panel.update(prose.content())

    def _facts(self, detail: Any, lag: int | None, unread: int, untold: int) -> Content:
        prose = Prose()
        if detail is not None:
            tone = "warning" if detail.state in (*MOVING, *TROUBLED) else "bold"
            prose.append(state_text(detail.state), tone)
            kind = detail.protocol_type
            prose.append(f"   {kind} group" if kind in (SHARE, STREAMS) else "")
            prose.append(f"   {detail.assignor or kind}" if kind != STREAMS else "")
            prose.append(f"   coordinator {detail.coordinator}   members {len(detail.members)}")
            if detail.generation is not None:
                prose.append(f"   generation {detail.generation}")
        times = self.store.rebalances.since(self.about, self.desk.now_ms() - RESTLESS_MS)
        if len(times) >= RESTLESS_TIMES:
            over = age(self.desk.now_ms() - times[0])
            prose.append(f"   ↻ rebalanced {len(times)} times in {over}", "warning")
        state = "" if detail is None else detail.state
        samples = self.store.lags.get(self.about)
        reads = self.store.reads_per_second(self.about)
        prose.line().append(f"lag {lag_text(lag, untold)}   ", "bold")
        growing = bool(lag) and self.store.is_falling_behind(self.about)
        if lag is None and limited_to(self.store, "topic", of_brokers=True):
            # Brokers leave out what one may not see: that is no lag of 0.
            return prose.append("of no topic that may be seen", "warning").content()
        prose.append(trend(self.store, self.about), "warning" if growing else "")
        prose.append(f"   reads {count(reads)}/s   ")
        prose.append(f"time to drain {drain(self.store, self.about, state)}   ")
        if untold:
            prose.line().append(
                f"{untold} partitions whose leader does not answer, not counted", "warning"
            )
        elif unread:
            prose.line().append(f"{unread} partitions without a commit, not counted", "warning")
        elif samples is not None and self.size.width < PLOTS_WIDTH:
            # Frame and margin take four cells.
            room = self.size.width - 4 - len(prose.last_line)
            prose.append(sparkline(samples.levels, max(0, min(16, room))).strip(), "accent")
        return prose.content()

    def _members(self, detail: Any, note: str) -> Content:
        prose = Prose()
        for member in getattr(detail, "members", ()):
            held = held_text(member.partitions)
            instance = f" ({member.instance_id})" if member.instance_id else ""
            prose.append(f"{member.client_id}{instance}", "accent")
            nothing = "rebalancing" if detail.state in MOVING else "holds nothing"
            prose.append(f" {member.host}", "dim").append(f"  {held or nothing}\n")
        if detail is not None and not detail.members:
            prose.append("none: nobody is reading\n", "warning")
        return prose.append(note, "warning").content()


def state_text(state: str) -> str:
    """A group's state with its sign."""
    sign = "◐" if state in MOVING else "✖" if state in TROUBLED else "●"
    return f"{'○' if state == 'Empty' else sign} {state}"


def held_text(partitions: Sequence[tuple[str, int]]) -> str:
    """Partitions by topic, runs of numbers drawn together: `orders 0-5 8, payments 1`."""
    by_topic: dict[str, list[int]] = {}
    for topic, index in sorted(partitions):
        by_topic.setdefault(topic, []).append(index)
    return ", ".join(f"{topic} {_runs(numbers)}" for topic, numbers in by_topic.items())


def _runs(numbers: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
