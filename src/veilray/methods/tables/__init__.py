"""Methods that release rows of a table."""

from __future__ import annotations

from veilray.methods.tables.cells import Cells
from veilray.methods.tables.coordinates import Coordinate, Coordinates
from veilray.methods.tables.model import CADPTable
from veilray.methods.tables.response import Budget, ResponseRecords

__all__ = ["Budget", "CADPTable", "Cells", "Coordinate", "Coordinates", "ResponseRecords"]
