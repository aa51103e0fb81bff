"""A small schema with a column of each kind, and a way to write tables."""

from __future__ import annotations

import pytest

from veilray.tables import Column, Schema

COLUMNS = (
    Column(name="age", kind="integer", low=0, high=120),
    Column(name="bmi", kind="continuous", low=5, high=100, missing=True, decimals=1),
    Column(name="stage", kind="ordinal", levels=("I", "II", "III"), missing=True),
    Column(name="sex", kind="categorical", levels=("f", "m")),
    Column(name="seen", kind="date", low="2000-01-01", high="2020-12-31"),
)


@pytest.fixture
def schema():
    return Schema(confirmed=True, columns=COLUMNS)


@pytest.fixture
def write(tmp_path):
    def to_file(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file
