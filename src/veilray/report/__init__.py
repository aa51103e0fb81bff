"""Pages and pictures for people."""

from veilray.report.page import DemoFacts, card_page, demo_page
from veilray.report.sheet import (
    SETTINGS,
    Row,
    Setting,
    check_preview,
    contact_sheet,
    draw_sheet,
    first_by_hash,
    preview_sheet,
)

__all__ = [
    "SETTINGS",
    "DemoFacts",
    "Row",
    "Setting",
    "card_page",
    "check_preview",
    "contact_sheet",
    "demo_page",
    "draw_sheet",
    "first_by_hash",
    "preview_sheet",
]
