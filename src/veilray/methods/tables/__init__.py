"""Methods that release rows of a table."""

from __future__ import annotations

from veilray.methods.tables.cells import Cells
from veilray.methods.tables.coordinates import Coordinate, Coordinates
from veilray.methods.tables.model import CADPTable
from veilray.methods.tables.opened import OpenedTable, is_table, open_table
from veilray.methods.tables.release import (
    TableOutcome,
    TablePlan,
    continue_table,
    drawn_records,
    plan_table,
    rows_trained_on,
    start_table,
)
from veilray.methods.tables.response import Budget, ResponseRecords

__all__ = [
    "Budget",
    "CADPTable",
    "Cells",
    "Coordinate",
    "Coordinates",
    "OpenedTable",
    "ResponseRecords",
    "TableOutcome",
    "TablePlan",
    "continue_table",
    "drawn_records",
    "is_table",
    "open_table",
    "plan_table",
    "rows_trained_on",
    "start_table",
]
