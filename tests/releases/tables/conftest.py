"""One tiny model of a table and plans to release it, for all tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from veilray.ledger import Journal
from veilray.methods.tables import CADPTable
from veilray.privacy import Claim
from veilray.releases import Plan, condition_rules, plan_table, start_release
from veilray.report.table_card import table_files
from veilray.tables import Records, RefusedRow


@pytest.fixture(scope="session")
def make_plan(loaded_table: CADPTable, people: Callable[..., Records]) -> Callable[..., Plan]:
    """Plan a release of rows of people, or of the given ones."""

    def make(
        records: Records | int = 40,
        epsilon: str = "4",
        refused: tuple[RefusedRow, ...] = (),
        decode_under: dict[str, str] | None = None,
        mechanism: str | None = None,
        **policies: str,
    ) -> Plan:
        rows = people(records, 1) if isinstance(records, int) else records
        model = loaded_table
        declared = model.conditions
        assert declared is not None
        rules = condition_rules(
            policies,
            declared.levels_of,
            model.facts(rows),
            declared.bounds_of,
            always=declared.names,
            any_text=True,
        )
        drawn_by = model.calibrated(Claim.of(epsilon), mechanism)
        job = {"epsilon": epsilon}
        return plan_table(
            rows, refused, model, drawn_by, rules, job=job, describe=table_files, decode_under=decode_under
        )

    return make


@pytest.fixture
def released(tmp_path: Path, make_plan: Callable[..., Plan]) -> Callable[..., Path]:
    """Release rows of people; RECORD and ledger lie beside the release."""

    def make(*arguments: Any, name: str = "out", **options: Any) -> Path:
        plan = make_plan(*arguments, **options)
        start_release(plan, tmp_path / name, tmp_path / f"{name}-record", Journal(tmp_path / "ledger.sqlite"))
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def model(loaded_table: CADPTable) -> CADPTable:
    return loaded_table
