"""The audit figures on the card are those of the committed audit."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from veilray.privacy.audited import AUDITED
from veilray.privacy.mechanisms import MECHANISMS

AUDIT = Path(__file__).parents[2] / "docs" / "data" / "audit.csv"


@pytest.mark.parametrize("name", sorted(MECHANISMS))
def test_the_card_shows_the_smallest_share_of_the_committed_audit(name: str) -> None:
    with AUDIT.open() as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "mechanism" and row["subject"] == name]
    assert len(rows) >= 4
    assert {row["verdict"] for row in rows} == {"pass"}
    assert math.floor(1000 * min(float(row["share"]) for row in rows)) == round(1000 * AUDITED[name].share)
    assert min(int(row["trials a side"]) for row in rows) == AUDITED[name].trials
