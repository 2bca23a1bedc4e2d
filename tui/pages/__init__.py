"""The pages of the dashboard, each drawn from the store."""

from tui.pages.base import Open, Page, Place, Subject
from tui.pages.registry import MAIN_PAGES, PAGES, make_page, page_id

__all__ = ["MAIN_PAGES", "PAGES", "Open", "Page", "Place", "Subject", "make_page", "page_id"]
