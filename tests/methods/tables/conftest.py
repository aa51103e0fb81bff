"""One tiny model of a table, for all tests of this room."""

from __future__ import annotations

import pytest

from veilray.methods.tables import CADPTable


@pytest.fixture(scope="session")
def model(loaded_table: CADPTable) -> CADPTable:
    return loaded_table
