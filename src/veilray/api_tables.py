"""Tables in Python: what `veilray.fit`, `veilray.release` and `veilray check` do with a table and its schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from veilray.ledger import Journal, ledger_path
from veilray.methods.tables import CADPTable
from veilray.places import check_apart
from veilray.privacy import Claim
from veilray.privacy.exact import ExactLike
from veilray.releases import (
    Outcome,
    condition_rules,
    plan_table,
    read_card,
    run_release,
)
from veilray.releases.model import Progress
from veilray.report.table_card import table_files
from veilray.tables import Records, RefusedRow, Schema, read_records
from veilray.text import GivenDialect, read_dialect

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = [
    "Table",
    "first_condition",
    "fit_table",
    "holds_table",
    "open_table_model",
    "read_with",
    "release_table",
    "written_by_release",
]

Table: TypeAlias = "str | Path | pandas.DataFrame | pyarrow.Table"


def holds_table(model: str | Path) -> bool:
    """Whether a MODEL folder is of tables. Raises ValueError for a folder that holds no model."""
    return not str(model).startswith("builtin:") and read_card(Path(model)).method == CADPTable.name


def first_condition(model: str | Path) -> str | None:
    """The name of a table model's first condition, its label; None where it was told none."""
    told = read_card(Path(model)).configuration.get("conditions") or [{}]
    name = told[0].get("name")
    return None if name is None else str(name)


def open_table_model(model: str | Path) -> CADPTable:
    """Load a MODEL folder of tables."""
    return CADPTable.load(Path(model))


def read_with(
    table: Table,
    schema: Schema | str | Path,
    on_progress: Progress | None = None,
    dialect: GivenDialect = None,
    *,
    keep_dialect: bool = False,
) -> tuple[Records, list[RefusedRow]]:
    """Read a table under a schema, or the path of one: valid rows, and those refused with their reasons.

    What `dialect` gives changes the schema's own for this table; with `keep_dialect` the records' schema keeps it.
    """
    source = Path(table) if isinstance(table, str) else table
    used = schema if isinstance(schema, Schema) else Schema.from_yaml(schema)
    written = read_dialect(dialect, used.dialect)
    if keep_dialect:
        used = used.model_copy(update={"dialect": written})
    return read_records(source, used, dialect=written, on_progress=on_progress)


def fit_table(
    table: Table, schema: Schema | str | Path, out: str | Path, dialect: GivenDialect = None, **options: Any
) -> CADPTable:
    """Train `cadp` on a public table and write the MODEL folder `out`; options are those of `veilray fit cadp`.

    Raises:
        ValueError: for a schema that nobody confirmed, a table without valid rows, or options that do not fit.
    """
    source = {"TABLE": Path(table)} if isinstance(table, str | Path) else {}
    check_apart({"MODEL": Path(out)}, source)
    records, _ = read_with(table, schema, None, dialect, keep_dialect=True)
    return CADPTable.fit(records, Path(out), **options)


def written_by_release(out: Path, record: str | Path | None, ledger: str | Path | None) -> dict[str, Path]:
    """Name to place of what a release writes: none of it may lie in another or in what is released."""
    written = {"RELEASE": out, "LEDGER": ledger_path(ledger)}
    return {**written, "RECORD": Path(record)} if record else written


def release_table(
    table: Table,
    model: str | Path,
    claim: Claim,
    out: Path,
    *,
    mechanism: str | None,
    options: Mapping[str, ExactLike],
    candidates: int | None,
    policies: Mapping[str, str],
    decode_under: Mapping[str, str],
    dialect: GivenDialect,
    record: str | Path | None,
    ledger: str | Path | None,
    allow_trained_on_released: bool,
    resume: bool,
    dry_run: bool,
    on_scan: Progress | None,
    on_draw: Progress | None,
) -> Outcome:
    """Release a table with a claim; see `veilray.release`, whose words these are."""
    method = open_table_model(model)
    drawn_by = method.calibrated(claim, mechanism, candidates=candidates, **options)
    source = {"TABLE": Path(table)} if isinstance(table, str | Path) else {}
    check_apart(written_by_release(out, record, ledger), {**source, "MODEL": Path(model)})
    if on_scan:
        on_scan(0, 0)
    records, refused = read_with(table, method.schema, on_scan, dialect)
    declared = method.conditions
    names: Sequence[str] = () if declared is None else declared.names
    if strange := sorted(policies.keys() - set(names)):
        known = ", ".join(names) or "(none: the model was told no condition)"
        raise ValueError(f"condition must be one of {known}, got {strange[0]!r}")
    rules = condition_rules(
        policies,
        {} if declared is None else declared.levels_of,
        method.facts(records),
        None if declared is None else declared.bounds_of,
        always=names,
        any_text=True,
    )
    job = {
        "table": str(Path(table).absolute()) if isinstance(table, str | Path) else "a table in memory",
        "weights_sha256": method.card.weights_sha256,
        "policies": dict(policies),
    }
    plan = plan_table(
        records,
        refused,
        method,
        drawn_by,
        rules,
        job=job,
        describe=table_files,
        decode_under=decode_under,
        allow_trained_on_released=allow_trained_on_released,
    )
    if dry_run:
        return Outcome(plan.guarantee, len(records), plan.refused)
    folder = Path(record) if record else None
    return run_release(plan, out, Journal(ledger_path(ledger)), folder, resume=resume, progress=on_draw)
