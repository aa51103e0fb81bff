"""`veilray check` of a table: draft its schema, or say what a release of it would do. Spends nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veilray.cli.check_training import print_training, training_told
from veilray.cli.output import OUT, counted, print_card, print_json, progress_bar
from veilray.places import check_new_file, write_new

if TYPE_CHECKING:
    from veilray.methods.tables import CADPTable
    from veilray.privacy import Guarantee, Mechanism
    from veilray.tables import Dialect, Records, RefusedRow, Schema

__all__ = ["check_table", "draft_table"]

_SHOWN = 10
_FAR = 0.5  # half of the rows lie where the model's own do not
_INTERNAL = "Internal: this looks at originals, carries no claim and must not steer what is released."


def draft_table(table: Path, out: Path | None, dialect: Sequence[str] | None, *, as_json: bool) -> int:
    """Write a schema that a person confirms: TABLE.yaml beside the table, unless `out` names another new file.

    Raises:
        ValueError: for a file that is there, or a table that cannot be read.
    """
    from veilray.tables import draft_schema

    path = table.with_suffix(".yaml") if out is None else out
    if os.path.lexists(path):
        raise ValueError(f"--out must be a new file, got {path}, which exists: name another, or check with --schema")
    check_new_file("--out", path)
    with progress_bar("reading the table") as progress:
        draft = draft_schema(table, dialect=dialect, on_progress=progress)
    write_new("--out", path, draft.to_text().encode())
    told = {
        "schema": str(path),
        "columns": len(draft.columns),
        "patient": draft.patient,
        "bounds_to_give": list(draft.open_columns),
        "left_out": dict(draft.left_out),
        "dialect": draft.dialect.told(),
        "questions": {question.entry: list(question.answers) for question in draft.questions},
    }
    if as_json:
        print_json(told)
        return 0
    OUT.print(f"{path}: a draft of {counted(len(draft.columns), 'column')}", highlight=False, soft_wrap=True)
    patient = "no column says whose row it is" if draft.patient is None else f"{draft.patient} says whose row it is"
    OUT.print(f"patient: {patient}", highlight=False, markup=False)
    if draft.dialect.told():
        entries = ", ".join(f"{name} {value!r}" for name, value in draft.dialect.told().items())
        OUT.print(f"dialect: {entries}", highlight=False, markup=False)
    for question in draft.questions:
        OUT.print(f"to answer: {question.sentence}", style="yellow", highlight=False, markup=False)
    if draft.open_columns:
        names = ", ".join(draft.open_columns)
        OUT.print(f"bounds to give, from what is public: {names}", style="yellow", highlight=False, markup=False)
    if draft.left_out:
        names = "; ".join(f"{name} ({why})" for name, why in draft.left_out)
        OUT.print(f"left out: {names}", highlight=False, markup=False)
    OUT.print(
        "Bounds come from a public list of names, never from this table's extremes. Levels were read from it: keep "
        "only those that a code book or form makes public. Say in `drafted_from` whether its rows are public: that "
        "stands on the card of every release. Then set `confirmed: true`.",
        soft_wrap=True,
    )
    return 0


def check_table(
    table: Path,
    schema: Schema,
    model: CADPTable | None,
    drawn_by: Mechanism | None,
    *,
    dialect: Dialect,
    as_json: bool,
) -> int:
    """Count rows, list what the schema refuses, measure the distance from the model's own rows, say what is spent."""
    from veilray.tables import ignored_columns, read_records
    from veilray.text import patient_key

    with progress_bar("reading the table") as progress:
        records, refused = read_records(table, schema, dialect=dialect, on_progress=progress)
    patients = Counter(map(patient_key, records.patients or ()))
    told: dict[str, Any] = {
        "rows": len(records),
        "patients": None if records.patients is None else len(patients),
        "rows_of_the_largest_patient": max(patients.values(), default=None),
        "confirmed": schema.confirmed,
        "ignored_columns": list(ignored_columns(table, schema, dialect=dialect)),
        "quarantine": [{"row": entry.row, "reason": entry.reason} for entry in refused],
        "domain": None if model is None or not len(records) else _domain(model, records),
    }
    if model is not None and len(records):
        told["training"] = _training(model, records)
    guarantee = None
    if model is not None and drawn_by is not None:
        guarantee = _planned(model, drawn_by, records, refused)
        told["guarantee"] = guarantee.to_dict()
        spent = guarantee.patient_epsilon
        told["largest_patient_would_spend"] = None if spent is None else str(spent)
    if as_json:
        print_json(told)
    else:
        _print(told, guarantee)
    return 1 if refused or told.get("training", {}).get("release_refuses") else 0


def _training(model: CADPTable, records: Records) -> dict[str, Any]:
    from veilray.releases import rows_trained_on

    names = [f"row {row}" for row in records.rows.tolist()]
    return training_told(model.card.training, rows_trained_on(records, model), names, record="row")


def _domain(model: CADPTable, records: Records) -> dict[str, float]:
    scores = model.domain_scores(records.only(model.row_schema.names))
    return {
        "median_score": round(float(sorted(scores)[len(scores) // 2]), 3),
        "model_median_score": round(model.domain.median, 3),
        "share_outside": round(float(model.domain.outside(scores).mean()), 4),
        "separation": round(model.domain.separation(scores), 3),
    }


def _planned(model: CADPTable, drawn_by: Mechanism, records: Records, refused: list[RefusedRow]) -> Guarantee:
    from veilray.releases import plan_table

    return plan_table(records, refused, model, drawn_by, (), allow_trained_on_released=True).guarantee


def _print(told: dict[str, Any], guarantee: Guarantee | None) -> None:
    patients = "no patient key" if told["patients"] is None else counted(told["patients"], "patient")
    OUT.print(f"{counted(told['rows'], 'valid row')}, {patients}")
    if told["rows_of_the_largest_patient"]:
        OUT.print(f"largest patient: {counted(told['rows_of_the_largest_patient'], 'row')}")
    if told["ignored_columns"]:
        OUT.print(f"columns that the schema leaves out: {', '.join(told['ignored_columns'])}", markup=False)
    if not told["confirmed"]:
        OUT.print("the schema is a draft: nobody has confirmed it", style="yellow")
    domain = told["domain"]
    if domain is not None:
        far = domain["separation"] > _FAR
        OUT.print(
            f"distance from the model's own rows: {domain['separation']:.2f} (0 one kind, 1 two kinds); "
            f"{100 * domain['share_outside']:.0f} % lie outside its middle 98 %"
            + ("; another kind than the model knows: train one on this kind" if far else ""),
            style="yellow" if far else "",
        )
    if "training" in told:
        print_training(told["training"])
    if told.get("largest_patient_would_spend"):
        OUT.print(f"the largest patient would spend epsilon {told['largest_patient_would_spend']}")
    reasons = Counter(entry["reason"] for entry in told["quarantine"])
    if reasons:
        OUT.print(f"{counted(len(told['quarantine']), 'row')} refused:", style="yellow")
        for reason, count in reasons.most_common(_SHOWN):
            OUT.print(f"  {count:,} x {reason}", markup=False, highlight=False)
        if len(reasons) > _SHOWN:
            OUT.print(f"  and {len(reasons) - _SHOWN} more reasons: --json lists every row", style="dim")
    if guarantee is not None:
        print_card(guarantee, title="What would be claimed, before any condition is released")
    OUT.print(_INTERNAL, style="dim")
