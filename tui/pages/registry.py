"""Which pages there are, and the keys that lead to the main ones."""

from tui.pages.base import Desk, Page, Place
from tui.pages.brokers import BrokerPage, BrokersPage
from tui.pages.changes import ChangesPage
from tui.pages.commands import CommandsPage
from tui.pages.groups import GroupPage, GroupsPage
from tui.pages.overview import OverviewPage
from tui.pages.records import RecordsPage
from tui.pages.settings import SettingsPage
from tui.pages.simple import ContextsPage, EventsPage, QuorumPage
from tui.pages.topics import PartitionsPage, TopicPage, TopicsPage

MAIN_PAGES: dict[str, type[Page]] = {
    page.KIND: page
    for page in (
        OverviewPage,
        BrokersPage,
        TopicsPage,
        PartitionsPage,
        GroupsPage,
        EventsPage,
        QuorumPage,
    )
}
# About one thing: made when they are opened, gone when they are left.
DETAIL_PAGES: dict[str, type[Page]] = {
    page.KIND: page
    for page in (
        BrokerPage,
        TopicPage,
        GroupPage,
        ContextsPage,
        RecordsPage,
        ChangesPage,
        CommandsPage,
        SettingsPage,
    )
}
PAGES: dict[str, type[Page]] = MAIN_PAGES | DETAIL_PAGES


def make_page(place: Place, desk: Desk) -> Page:
    """The page of a place. Raises KeyError for a kind that there is not."""
    return PAGES[place.kind](desk, place.subject)


def page_id(place: Place) -> str:
    """What tells the page of a place from others."""
    return place.kind if place.kind in MAIN_PAGES and not place.subject else " ".join(place)
