"""All settings of a topic or broker: value, where it comes from, its default, and what it is for.

Asked of the cluster while it is seen. It must never show the value of what is sensitive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content

from broker.protocol.image import RESOURCE_BROKER, RESOURCE_TOPIC
from clusters.admin import ConfigEntry
from clusters.polls import Poll
from tui.drawing import said_value
from tui.pages.base import Desk, Page, Place, Subject
from tui.prose import Prose
from tui.rights import refusal
from tui.table import NAME_MAX, Column, LiveTable

DEFAULT = "default"
HIDDEN = "(hidden)"
NAME, NAME_MIN = "setting", 36


@dataclass(frozen=True, slots=True)
class SettingRow:
    """A setting of `kind` (topic or broker) `owner`; `default` is None where nobody tells it."""

    kind: str
    owner: str
    name: str
    value: str | None
    source: str
    default: str | None
    type: str
    read_only: bool
    sensitive: bool
    documentation: str | None
    # (value, source) from the one that holds to the one that would hold last.
    layers: tuple[tuple[str | None, str], ...]

    @property
    def is_own(self) -> bool:
        """Whether somebody set it."""
        return self.source != DEFAULT

    @property
    def said(self) -> str:
        """The value as a person reads it."""
        return HIDDEN if self.value is None else said_value(self.name, self.value)


def setting_rows(kind: str, owner: str, entries: Sequence[ConfigEntry]) -> list[SettingRow]:
    """What somebody set first, then what has its default; each by name."""
    rows = []
    for entry in entries:
        layers = tuple((value, source) for _, value, source in entry.synonyms)
        default = next((value for value, source in layers if source == DEFAULT), None)
        if entry.is_default:
            default = entry.value
        rows.append(
            SettingRow(
                kind=kind,
                owner=owner,
                name=entry.name,
                value=entry.value,
                source=entry.source,
                default=default,
                type=entry.type,
                read_only=entry.read_only,
                sensitive=entry.is_sensitive,
                documentation=entry.documentation,
                layers=layers or ((entry.value, entry.source),),
            )
        )
    return sorted(rows, key=lambda row: (not row.is_own, row.name))


class SettingsPage(Page):
    """`subject` is "topic NAME" or "broker ID"."""

    KIND, TITLE, DEFAULT_TABLE = "settings", "Settings", "settings"
    HELP = (
        "All settings, what somebody set first: the value that holds, where it comes from, and the "
        "default. Below stands what the one under the cursor is for, and what would hold without "
        "it. o shows only what somebody set, / narrows: source = topic, or words."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "own", "Only what is set", id="settings.own"),
    ]

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        self._kind, _, self._owner = subject.partition(" ")
        self._poll = Poll("settings", subject)
        self._own = False
        # What the metadata log has of them, as it was when they were asked for last.
        self._logged: tuple[Any, ...] | None = None
        self.add_table(_settings_table())
        self.add_text("facts")

    def compose(self) -> ComposeResult:
        """The settings, and more of the one under the cursor."""
        yield self.tables["settings"]
        yield self.texts["facts"]

    def wants(self) -> Sequence[Poll]:
        """All settings, with their documentation."""
        return (self._poll,)

    def page_subject(self) -> Subject | None:
        """The topic or broker whose settings these are."""
        return Subject(self._kind, self._owner)

    def subjects(self) -> list[Subject | None]:
        """The setting under the cursor comes first, whatever has it."""
        row, page = self.subject(), self.page_subject()
        return [*(each for each in (row, page) if each is not None), None]

    def place_of(self, row: Any) -> Place | None:
        """What has the setting."""
        return Place(self._kind, self._owner)

    def paint(self) -> None:
        """Draw settings, and what is said of one."""
        self._ask_for_changes()
        answer, table = self.store.answer(self._poll), self.tables["settings"]
        rows = setting_rows(self._kind, self._owner, answer.value or ())
        table.set_column(0, NAME, max(NAME_MIN, min(NAME_MAX, table.size.width // 3)))
        table.set_rows(rows, (answer.at_ms,))
        table.set_title(f"Settings of {self.about}", self.note(answer, 30_000))
        self._explain()

    def _ask_for_changes(self) -> None:
        """Ask again at once when the metadata log has something else."""
        configs = self.store.view.image.configs
        kind = RESOURCE_BROKER if self._kind == "broker" else RESOURCE_TOPIC
        # "" are the settings of all brokers, which topics begin with as well.
        logged = configs.get((kind, self._owner)), configs.get((RESOURCE_BROKER, ""))
        if self._logged is not None and logged != self._logged:
            self.call_later(self.run_action, "app.again")
        self._logged = logged

    def on_live_table_moved(self) -> None:
        """Tell of another setting."""
        self._explain()

    def _explain(self) -> None:
        row, panel = self.tables["settings"].cursor_row, self.texts["facts"]
        panel.border_title = "" if row is None else row.name
        # The whole of what the title has no room for.
        untold = refusal(Prose(), self.note(self.store.answer(self._poll), 30_000)).content()
        panel.update(untold if row is None else _explained(row))

    def action_own(self) -> None:
        """Only what somebody set, or all again."""
        self._own = not self._own
        wanted = (lambda row: row.is_own) if self._own else None
        self.tables["settings"].set_only(wanted, "that somebody set")


def _explained(row: SettingRow) -> Content:
    prose = Prose().append(row.said, "bold").append(f"  {row.type}", "dim")
    if row.read_only:
        prose.append("   fixed while the broker runs", "warning")
    prose.line()
    for number, (value, source) in enumerate(row.layers):
        prose.append("   then " if number else "").append(source, "accent")
        prose.append(f" {HIDDEN if row.sensitive or value is None else value}")
    prose.line().append(row.documentation or "The broker does not say what it is for.")
    words = f"logctl config get {row.kind} {row.owner} {row.name} --documentation"
    return prose.line().append(words, "dim").content()


def _settings_table() -> LiveTable[SettingRow]:
    def default(row: SettingRow) -> str:
        return "" if not row.is_own else "-" if row.default is None else row.default

    return LiveTable(
        [
            Column(NAME, NAME_MIN, lambda r: r.name, lambda r: r.name),
            Column("value", 0, lambda r: r.said, lambda r: r.said),
            Column("source", 22, lambda r: r.source, lambda r: (not r.is_own, r.source), wide=70),
            Column("default", 0, default, default, wide=90, fill=True),
            Column("type", 8, lambda r: r.type, lambda r: r.type, wide=110),
            Column(
                "fixed",
                5,
                lambda r: "yes" if r.read_only else "",
                lambda r: not r.read_only,
                wide=80,
            ),
        ],
        key=lambda r: r.name,
        search=lambda r: f"{r.name} {r.said} {r.source}",
        row_class=lambda r: "strong" if r.is_own else "",
        title="Settings",
        sort_column=None,
        id="settings",
    )
