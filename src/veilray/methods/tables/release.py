"""Releasing a table: read -> encode -> bound -> randomise -> decode -> write, published once.

The order is that of `methods/pipeline.py`: reserve in the ledger -> draw -> durable in the private spool -> commit the
hash -> publish by rename. A table is one file, so it is drawn as a whole: until the commit nobody outside has seen
anything of it, and an interrupted draw is thrown away and drawn afresh under the same reservation. After it only the
committed bytes are ever published.

**Rows that the schema refuses.** Leaving a row out because of what is in its cells tells of its cells. So the claim is
then about rows that obey the schema, and the card says that this is released in clear; how many were refused is told to
the owner alone. With the policy `replace` for every fault a row is left out for its form alone: another number of cells
than the header has, a cell of more than 64 kB, or no patient where the schema names them. The card says that instead.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from veilray.errors import Refused
from veilray.ledger import Journal, ReleaseState
from veilray.methods.base import Progress
from veilray.methods.conditions import ConditionRule, draw_conditions
from veilray.methods.declared import Facts
from veilray.methods.pipeline import check_same_job, check_told
from veilray.methods.record import RecordFolder
from veilray.methods.spool import Describe
from veilray.methods.tables.model import CADPTable, contents
from veilray.methods.tables.publication import TableSpool
from veilray.methods.training_record import Overlap, find_training_record, released_training
from veilray.places import check_apart
from veilray.privacy import Entropy, Guarantee, Mechanism, Releases, SystemEntropy
from veilray.tables import Column, Records, RefusedRow, Schema
from veilray.text import PLAIN, patient_key

__all__ = ["TableOutcome", "TablePlan", "continue_table", "drawn_records", "plan_table", "start_table"]

_ROWS = 8192
_OBEYS = "that a row obeys the schema"
_FORM = "that a row has as many cells as the header, and none of more than 64 kB"
_OWNED = "that a row names its patient"


@dataclass(frozen=True)
class TablePlan:
    """Everything about a release of a table that is fixed before anything is drawn; see `methods.pipeline.Plan`."""

    records: Records
    refused: tuple[RefusedRow, ...]
    model: CADPTable
    mechanism: Mechanism
    rules: tuple[ConditionRule, ...]
    guarantee: Guarantee
    rows_of: Mapping[str, int]
    unidentified: int
    job: Mapping[str, Any] = field(default_factory=dict)
    describe: Describe | None = None
    decode_under: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TableOutcome:
    """A finished release of a table, or with `out` None the plan of one."""

    guarantee: Guarantee
    rows: int
    refused: tuple[RefusedRow, ...]
    out: Path | None = None
    record: Path | None = None

    @property
    def count(self) -> int:
        """Records released, or that would be."""
        return self.rows


def plan_table(
    records: Records,
    refused: Sequence[RefusedRow],
    model: CADPTable,
    mechanism: Mechanism,
    rules: tuple[ConditionRule, ...],
    *,
    job: Mapping[str, Any] | None = None,
    describe: Describe | None = None,
    decode_under: Mapping[str, str] | None = None,
    allow_trained_on_released: bool = False,
) -> TablePlan:
    """Work out the whole claim of a release; spends nothing and draws nothing.

    Args:
        records: valid rows of the model's schema. refused: the rows that were left out, for the owner.
        rules: how each condition leaves, from `condition_rules`.
        decode_under: facts that every row is drawn under in place of its own (a counterfactual).
        allow_trained_on_released: release by a network that may have been trained on these rows; the headline of the
            claim then says so.

    Raises:
        ValueError: for no row, records of another schema or mechanism of another dimension than the model's, or facts
            to decode under that the model does not know.
        Refused: for a network that may know the rows.
    """
    if not len(records):
        raise ValueError("TABLE must hold at least one row that the schema allows, got none: see the quarantine")
    if records.schema.columns != model.schema.columns:
        raise ValueError("TABLE must be read with the columns of the model's own schema, got others")
    check_told(model, decode_under or {})
    overlap = rows_trained_on(records, model)
    training = released_training(model.card.training, overlap, allowed=allow_trained_on_released, record="row")
    counted = Counter(map(patient_key, records.patients or ()))
    unidentified = counted.pop(None, 0) if counted else len(records)
    owners = {patient: count for patient, count in counted.items() if patient is not None}
    known = bool(owners) and not unidentified
    policy = records.schema.policy
    schema_is_public = f"the schema, which leaves with the rows: {model.schema.provenance}"
    told_by_absence = {policy.unseen_level, policy.out_of_bounds, policy.wrong_type, policy.missing} != {"replace"}
    guarantee = mechanism.guarantee(model.dimension).with_release(
        releases=Releases(
            images=len(records),
            patients=len(owners) if known else None,
            largest_patient=max(owners.values()) if known else None,
        ),
        conditions={rule.name: rule.policy for rule in rules},
        model_training=training,
        in_clear=(
            *((_OBEYS,) if told_by_absence else (_FORM,) if records.patients is None else (_FORM, _OWNED)),
            schema_is_public,
        ),
        record="row",
    )
    return TablePlan(
        records,
        tuple(refused),
        model,
        mechanism,
        rules,
        guarantee,
        owners,
        unidentified,
        dict(job or {}),
        describe,
        dict(decode_under or {}),
    )


def rows_trained_on(records: Records, model: CADPTable) -> Overlap | None:
    """Which rows are among those that the model was fitted on; None where nobody knows. See `pipeline.trained_on`."""
    record = find_training_record(model.card.weights_sha256)
    if record is None:
        return None
    others = model.card.training.data == "other patients"
    return record.overlap(contents(records), set(records.patients or ()) if others else ())


def start_table(
    plan: TablePlan, out: Path, record_folder: Path, journal: Journal, progress: Progress | None = None
) -> TableOutcome:
    """Make a new release. Nothing stands at `out` until it is complete.

    Raises:
        ValueError: where `out` or the record exists already.
        Refused: by the ledger.
    """
    if os.path.lexists(out):
        raise ValueError(f"RELEASE must be a new folder, got {out}, which exists: choose another --out")
    check_apart({"RECORD": record_folder, "RELEASE": out})
    if any(out.parent.glob(f".{glob.escape(out.name)}.*.spool")):
        raise ValueError(f"an unfinished release into {out} must be continued with --resume, got a new one")
    out.parent.mkdir(parents=True, exist_ok=True)
    identifier = SystemEntropy().bytes(16).hex()
    RecordFolder.make(record_folder)
    record = RecordFolder(record_folder)
    with record.locked():
        record.write_job({**_asked(plan, out), "identifier": identifier})
        try:
            journal.reserve(identifier, plan.guarantee, plan.rows_of, unidentified=plan.unidentified, out=out)
        except Refused:
            record.discard()  # nothing was reserved or drawn: leave no record of a release that never was
            raise
        record.note_reserved()
        return _complete(plan, identifier, out, record, journal, progress)


def continue_table(
    plan: TablePlan, out: Path, record_folder: Path, journal: Journal, progress: Progress | None = None
) -> TableOutcome:
    """Bring an interrupted release to its end, under the reservation it already has.

    Raises:
        ValueError: where there is no record, or the plan differs from what it was started with.
        Refused: when a committed file is gone, or another process is at work.
    """
    record = RecordFolder(record_folder)
    if not record.has_job():
        raise ValueError(f"RECORD must be a folder written by `veilray release`, got {record_folder}")
    with record.locked():
        job = record.job()
        check_same_job(_asked(plan, out), job)
        identifier = str(job["identifier"])
        try:
            journal.release(identifier)
        except Refused:
            if record.is_reserved:  # by another ledger: what was drawn under it must not be charged elsewhere
                raise
            # The first run died between writing its record and reserving: nothing was drawn then.
            journal.reserve(identifier, plan.guarantee, plan.rows_of, unidentified=plan.unidentified, out=out)
            record.note_reserved()
        return _complete(plan, identifier, out, record, journal, progress)


def drawn_records(
    plan: TablePlan, entropy: Entropy, progress: Progress | None = None
) -> tuple[Records, list[tuple[int, int]]]:
    """Draw the release: its rows in random order, and for each the data row of its source, both from 1."""
    order = entropy.permutation(len(plan.records))
    model, parts = plan.model, []
    leaving = [rule.name for rule in plan.rules if rule.policy.policy != "withheld"]
    schema = _released_schema(model, leaving)
    for start in range(0, len(order), _ROWS):
        part = plan.records[order[start : start + _ROWS]]
        facts = model.facts(part)
        released = draw_conditions(facts, plan.rules, entropy)
        known: Facts = [{name: row[name] for name in leaving} for row in facts]
        told: Facts = [{**row, **plan.decode_under} for row in released]
        rows = model.release(part.only(model.row_schema.names), plan.mechanism, entropy, known, told)
        parts.append(_joined(schema, rows, released))
        if progress:
            progress(min(start + _ROWS, len(order)), len(order))
    values = np.concatenate(parts)
    pairs = [(place + 1, int(plan.records.rows[index])) for place, index in enumerate(order)]
    return Records.of(schema, values), pairs


def _complete(
    plan: TablePlan,
    identifier: str,
    out: Path,
    record: RecordFolder,
    journal: Journal,
    progress: Progress | None,
) -> TableOutcome:
    """Draw, commit, publish. Every step but the draw may have been done before."""
    row = journal.release(identifier)
    spool = TableSpool(out, identifier)
    digest = row.digest
    if row.state is ReleaseState.RESERVED:
        spool.prepare(())  # throws away whatever an interrupted run has drawn
        records, pairs = drawn_records(plan, SystemEntropy(), progress)
        record.write_csv(
            "pairs.csv", ["released_row", "source_row"], ({"released_row": a, "source_row": b} for a, b in pairs)
        )
        record.write_csv(
            "quarantine.csv", ["row", "reason"], ({"row": r.row, "reason": r.reason} for r in plan.refused)
        )
        digest = spool.finish(
            records,
            identifier=identifier,
            version=version("veilray"),
            guarantee=plan.guarantee,
            card=plan.model.card,
            day=datetime.now(UTC).date(),
            describe=plan.describe,
            decoded_under=plan.decode_under,
        )
        journal.commit(identifier, digest)
    assert digest is not None  # a committed release always has one
    spool.publish(digest)
    journal.publish(identifier)
    return TableOutcome(plan.guarantee, len(plan.records), plan.refused, out, record.folder)


def _released_schema(model: CADPTable, leaving: Sequence[str]) -> Schema:
    """What leaves, in the schema's order: the row, and the conditions that are not withheld; no patient."""
    schema = model.schema.only([*model.row_schema.names, *leaving])
    return schema.model_copy(update={"patient": None, "dialect": PLAIN})  # it is written in the default dialect


def _joined(schema: Schema, rows: Records, released: Facts) -> np.ndarray:
    columns = []
    for column in schema.columns:
        if column.name in rows.schema.names:
            columns.append(rows.column(column.name))
        else:
            columns.append(_released(column, [row[column.name] for row in released]))
    return np.stack(columns, axis=1)


def _released(column: Column, texts: Sequence[str]) -> np.ndarray:
    """The cells of a condition that leaves. A number is drawn with more figures than a whole number has."""
    return column.snap(column.read(texts)[0] if column.levels is not None else [float(text) for text in texts])


def _asked(plan: TablePlan, out: Path) -> dict[str, Any]:
    """Everything a resumed run must share with the run it continues: options, sources, levels, the whole claim."""
    sources = hashlib.sha256(np.ascontiguousarray(plan.records.values).tobytes())
    sources.update(repr((plan.records.rows.tolist(), plan.records.patients)).encode())
    return {
        **plan.job,
        "out": str(out),
        "sources_sha256": sources.hexdigest(),
        "claim": plan.guarantee.to_dict(),
        **({"decode_under": dict(plan.decode_under)} if plan.decode_under else {}),
    }
