"""RELEASE of a table: its rows are drawn as a whole, and stand beside the card and their schema.

    RELEASE/
        README          the card in plain words
        release.json    guarantee, model card, hashes of all files
        data.csv        the released rows, in random order; only what the schema allows
        data.parquet    the same rows with their types
        schema.yaml     what the columns mean: public
        DATASET.md, croissant.json      the data set card, for people and for data tools

Nothing in it links a row to its source.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veilray.privacy import Entropy, Guarantee, Mechanism
from veilray.privacy.card import ReleaseOrigin, card_text
from veilray.releases.conditions import ConditionRule, draw_conditions
from veilray.releases.declared import Facts
from veilray.releases.log import ReleaseLog
from veilray.releases.model import ModelCard, Progress, TableModel
from veilray.releases.plan import Plan, ReleaseWriter, check_decode_under, completed_claim, overlap_with
from veilray.releases.staging import Describe, Origin, Staging, claim_of, origin_of, sha256_of
from veilray.releases.training_record import Overlap
from veilray.tables import Column, Records, RefusedRow, Schema
from veilray.text import PLAIN

__all__ = ["DATA", "PARQUET", "SCHEMA", "TableStaging", "TableWriter", "drawn_records", "plan_table", "rows_trained_on"]

DATA, PARQUET, SCHEMA = "data.csv", "data.parquet", "schema.yaml"

_ROWS = 8192
_OBEYS = "that a row obeys the schema"
_FORM = "that a row has as many cells as the header, and none of more than 64 kB"
_OWNED = "that a row names its patient"


def plan_table(
    records: Records,
    refused: Sequence[RefusedRow],
    model: TableModel,
    mechanism: Mechanism,
    rules: tuple[ConditionRule, ...],
    *,
    job: Mapping[str, Any] | None = None,
    describe: Describe | None = None,
    decode_under: Mapping[str, str] | None = None,
    allow_trained_on_released: bool = False,
) -> Plan[Records]:
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
    check_decode_under(model, decode_under or {})
    policy = records.schema.policy
    schema_is_public = f"the schema, which leaves with the rows: {model.schema.provenance}"
    told_by_absence = {policy.unseen_level, policy.out_of_bounds, policy.wrong_type, policy.missing} != {"replace"}
    guarantee, rows_of, unidentified = completed_claim(
        model,
        mechanism,
        rules,
        [None] * len(records) if records.patients is None else records.patients,
        rows_trained_on(records, model),
        record="row",
        allow_trained_on_released=allow_trained_on_released,
        in_clear=(
            *((_OBEYS,) if told_by_absence else (_FORM,) if records.patients is None else (_FORM, _OWNED)),
            schema_is_public,
        ),
    )
    return Plan(
        records,
        tuple(refused),
        model,
        mechanism,
        rules,
        guarantee,
        rows_of,
        unidentified,
        TableWriter(),
        dict(job or {}),
        describe,
        dict(decode_under or {}),
    )


def rows_trained_on(records: Records, model: TableModel) -> Overlap | None:
    """Which rows are among those that the model was fitted on; see `overlap_with`."""
    return overlap_with(model.card, records.contents, set(records.patients or ()))


class TableWriter(ReleaseWriter[Records]):
    """Stages a table as a whole: unless it was committed, all of its rows are drawn afresh."""

    def asked(self, plan: Plan[Records]) -> dict[str, Any]:
        sources = hashlib.sha256(np.ascontiguousarray(plan.source.values).tobytes())
        sources.update(repr((plan.source.rows.tolist(), plan.source.patients)).encode())
        return {"sources_sha256": sources.hexdigest()}

    def new_log(self, folder: Path) -> ReleaseLog:
        ReleaseLog.make(folder)
        return ReleaseLog(folder)

    def open_log(self, folder: Path) -> ReleaseLog:
        log = ReleaseLog(folder)
        if not log.has_job():
            raise ValueError(f"RECORD must be a folder written by `veilray release`, got {folder}")
        return log

    def stage(
        self,
        plan: Plan[Records],
        out: Path,
        log: ReleaseLog,
        entropy: Entropy,
        origin: Origin,
        progress: Progress | None,
    ) -> str:
        staging = TableStaging(out, origin.identifier)
        staging.prepare(())  # throws away whatever an interrupted run has drawn
        records, pairs = drawn_records(plan, entropy, progress)
        log.write_csv(
            "pairs.csv", ["released_row", "source_row"], ({"released_row": a, "source_row": b} for a, b in pairs)
        )
        refused = ({"row": row.row, "reason": row.reason} for row in plan.refused if isinstance(row, RefusedRow))
        log.write_csv("quarantine.csv", ["row", "reason"], refused)
        return staging.finish(records, plan.guarantee, plan.model.card, origin, plan.describe, plan.decode_under)


class TableStaging(Staging):
    """The staging folder of a released table."""

    def finish(
        self,
        records: Records,
        guarantee: Guarantee,
        card: ModelCard,
        origin: Origin,
        describe: Describe | None,
        decoded_under: Mapping[str, str],
    ) -> str:
        """Write the rows and everything beside them; return the SHA-256 of release.json, which names all hashes."""
        records.write_csv(self.folder / DATA)
        records.write_parquet(self.folder / PARQUET)
        records.schema.to_yaml(self.folder / SCHEMA)
        self.write("README", _readme(records, guarantee, origin_of(card, origin), card, decoded_under))
        for name in (DATA, PARQUET, SCHEMA):
            self.keep(name)
        told: dict[str, Any] = {
            **claim_of(guarantee, card, origin),
            "table": {"data": DATA, "schema": SCHEMA, "rows": len(records), "columns": _columns(records)},
            **({"decoded_under": dict(decoded_under)} if decoded_under else {}),
        }
        listed = {name: sha256_of(self.folder / name) for name in (DATA, PARQUET, SCHEMA, "README")}
        return self.finalise(told, listed, origin.day, describe)


def drawn_records(
    plan: Plan[Records], entropy: Entropy, progress: Progress | None = None
) -> tuple[Records, list[tuple[int, int]]]:
    """Draw the release: its rows in random order, and for each the data row of its source, both from 1."""
    model = plan.model
    assert isinstance(model, TableModel)  # `plan_table` takes no other
    order = entropy.permutation(len(plan.source))
    parts = []
    leaving = plan.leaving
    schema = _released_schema(model, leaving)
    for start in range(0, len(order), _ROWS):
        part = plan.source[order[start : start + _ROWS]]
        facts = model.facts(part)
        released = draw_conditions(facts, plan.rules, entropy)
        known: Facts = [{name: row[name] for name in leaving} for row in facts]
        told: Facts = [{**row, **plan.decode_under} for row in released]
        rows = model.release(part.only(model.row_schema.names), plan.mechanism, entropy, known, told)
        parts.append(_joined(schema, rows, released))
        if progress:
            progress(min(start + _ROWS, len(order)), len(order))
    values = np.concatenate(parts)
    pairs = [(place + 1, int(plan.source.rows[index])) for place, index in enumerate(order)]
    return Records.of(schema, values), pairs


def _released_schema(model: TableModel, leaving: Sequence[str]) -> Schema:
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


def _columns(records: Records) -> list[dict[str, str]]:
    return [{"name": column.name, "kind": column.kind} for column in records.schema.columns]


def _readme(
    records: Records, guarantee: Guarantee, origin: ReleaseOrigin, card: ModelCard, decoded_under: Mapping[str, str]
) -> str:
    title = f"{len(records):,} released rows"
    under = ""
    if decoded_under:
        facts = ", ".join(f"{name} = {value}" for name, value in sorted(decoded_under.items()))
        under = f"Counterfactual: every row was drawn as if {facts}, whatever its own.\n"
    return (
        f"{title}\n{'=' * len(title)}\n\n"
        "These rows were drawn by veilray, each from one row of a table that stays where it was collected.\n"
        "A row may equal that of a person, by chance or because epsilon is large and it is nearly that row.\n"
        "This is what is promised about them, and nothing else:\n\n"
        f"{card_text(guarantee, origin)}\n"
        f"Model: {card.name} ({card.method}), {card.for_release().weights_words}.\n"
        f"Cells:\n{textwrap.indent(card.geometry_rule, '  ')}\n"
        f"Files: {DATA} and {PARQUET} (the same rows), {SCHEMA} (what the columns mean), release.json (the claim for\n"
        f"machines, SHA-256 of every file).\n{under}"
    )
