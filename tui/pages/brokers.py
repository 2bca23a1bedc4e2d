"""Brokers, and one broker: what lives there, what it leads, its log dirs."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.content import Content

from clusters.admin.denied import without_way
from clusters.polls import Poll
from tui.attention import heard_words
from tui.drawing import size
from tui.model import BrokerRow
from tui.pages.base import Desk, Page
from tui.panels import brokers_table, fit_grid, partitions_table
from tui.prose import Prose
from tui.rights import refusal
from tui.store import ENDS, LOG_DIRS

DIRS_MAX = 4


class BrokersPage(Page):
    """Every broker, with what it holds."""

    KIND, TITLE, DEFAULT_TABLE = "brokers", "Brokers", "brokers"
    HELP = (
        "Leads, holds and behind count partitions; size and disk come from the log dirs. "
        "Enter opens one broker."
    )

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        self.add_table(brokers_table(self.store, desk.now_ms))

    def compose(self) -> ComposeResult:
        """One table."""
        yield self.tables["brokers"]

    def wants(self) -> Sequence[Poll]:
        """Sizes."""
        return (LOG_DIRS,)

    def paint(self) -> None:
        """Draw the table."""
        view = self.store.view
        table = self.tables["brokers"]
        answer = self.store.answer(LOG_DIRS)
        table.set_rows(view.brokers, (view.version, answer.at_ms))
        failures = getattr(answer.value, "failures", ())
        missing = ""
        if failures:
            reason, _ = without_way(failures[0].reason)
            missing = f"⚠ sizes of {len(failures)} not told: {reason}"
        table.set_title("Brokers", self.note(answer) or missing)


class BrokerPage(Page):
    """One broker."""

    KIND, TITLE, DEFAULT_TABLE = "broker", "Broker", "partitions"
    HELP = "What lives on this broker, and its log dirs. Enter opens the topic of a partition."

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        self.add_text("facts", f"Broker {subject}")
        table = self.add_table(partitions_table(self.store, desk.now_ms))
        id_ = int(subject) if subject.isdigit() else -1
        table.set_within(lambda row: id_ in row.replicas)
        # What is worst first, and the cluster's own topics last.
        table.sort_column = len(table.columns) - 1

    def compose(self) -> ComposeResult:
        """Facts above the partitions."""
        yield self.texts["facts"]
        yield self.tables["partitions"]

    def wants(self) -> Sequence[Poll]:
        """Sizes and rates."""
        return (LOG_DIRS, ENDS)

    def paint(self) -> None:
        """Draw facts and partitions."""
        view = self.store.view
        id_ = int(self.about) if self.about.isdigit() else -1
        row = next((each for each in view.brokers if each.id == id_), None)
        if row is None:
            said = f"✖ There is no broker {self.about}." if view.brokers else "asking …"
            self.texts["facts"].update(Prose().append(said, "error").content())
            self.tables["partitions"].set_rows([], view.version)
            return
        self.texts["facts"].update(self._facts(row))
        fit_grid(self.tables["partitions"], self.store)
        self.tables["partitions"].set_rows(view.partitions, view.version)
        self.tables["partitions"].set_title("Partitions on this broker")

    def _facts(self, row: BrokerRow) -> Content:
        answer, prose = self.store.answer(LOG_DIRS), Prose()
        sign = {"up": "●", "stopping": "◐"}.get(row.state, "✖")
        tone = {"up": "bold", "stopping": "warning"}.get(row.state, "error")
        prose.append(f"{sign} {row.state}", tone)
        if row.out_of_room:
            prose.append(", but takes no records: its log dir is offline", "error")
        prose.append(f"   {row.address}   rack {row.rack or '-'}")
        if row.is_controller:
            prose.append("   ★ controller", "bold")
        if row.heard:
            tone = "error" if row.heard == "silent" else "warning"
            said = heard_words(row, self.store.view.standings, self.desk.now_ms())
            prose.line().append(said, tone)
        used, total, free = self.store.broker_sizes.get(row.id, (None, None, None))
        prose.line().append(f"leads {row.leaders}   holds {row.replicas}   ")
        prose.append(f"behind {row.out_of_sync}", "warning" if row.out_of_sync else "")
        prose.append(f"   size {size(used)}   disk {size(total)}, {size(free)} left")
        for each in [each for each in answer.value or () if each.broker == row.id][:DIRS_MAX]:
            left = "" if each.usable_bytes is None else f", {size(each.usable_bytes)} left"
            prose.line().append(f"{size(each.used_bytes)}{left}", "bold")
            # Before the path, which may be longer than the line.
            if each.error:
                prose.append(f"  ⚠ {each.error}", "error")
            prose.append(f"  {each.path}")
        for failure in getattr(answer.value, "failures", ()):
            if failure.where == f"broker {row.id}":
                refusal(prose.line(), f"⚠ {failure.what} not told: {failure.reason}")
        if note := self.note(answer):
            refusal(prose.line(), note)
        return prose.content()
