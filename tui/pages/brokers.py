"""Brokers, and one broker: what lives there, what it leads, its log dirs."""

from collections.abc import Sequence

from textual.app import ComposeResult

from clusters.polls import Poll
from tui.drawing import size
from tui.pages.base import Desk, Page, lines
from tui.panels import brokers_table, fit_grid, partitions_table
from tui.store import ENDS, LOG_DIRS


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
        failures = len(getattr(answer.value, "failures", ()))
        missing = f"sizes of {failures} not told" if failures else ""
        table.set_title("Brokers", self.note(answer) or missing)


class BrokerPage(Page):
    """One broker."""

    KIND, TITLE, DEFAULT_TABLE = "broker", "Broker", "partitions"
    HELP = "What lives on this broker, and its log dirs. Enter opens the topic of a partition."

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        self.add_text("facts", f"Broker {subject}")
        self.add_table(partitions_table(self.store, desk.now_ms))

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
        answer = self.store.answer(LOG_DIRS)
        if row is None:
            self.texts["facts"].update(lines(f"There is no broker {self.about}."))
            self.tables["partitions"].set_rows([], view.version)
            return
        sign = {"up": "●", "stopping": "◐"}.get(row.state, "✖")
        used, total, free = self.store.broker_sizes.get(id_, (None, None, None))
        dirs = [each for each in answer.value or () if each.broker == id_]
        told = [
            f"{each.path}  {size(each.used_bytes)}"
            + (f"  ⚠ {each.error}" if each.error else "")
            + ("" if each.usable_bytes is None else f"  {size(each.usable_bytes)} left")
            for each in dirs[:3]
        ]
        self.texts["facts"].update(
            lines(
                (
                    (
                        f"{sign} {row.state}   {row.address}   rack {row.rack or '-'}"
                        f"{'   ★ controller' if row.is_controller else ''}"
                    ),
                    "bold",
                ),
                f"leads {row.leaders}   holds {row.replicas}   behind {row.out_of_sync}   "
                f"size {size(used)}   disk {size(total)}, {size(free)} left",
                *told,
                self.note(answer),
            )
        )
        rows = [each for each in view.partitions if id_ in each.replicas]
        fit_grid(self.tables["partitions"], self.store)
        self.tables["partitions"].set_rows(rows, view.version)
        self.tables["partitions"].set_title("Partitions on this broker")
