"""One cell of the study of tables: a release or control, its learners, its fidelity and the attacks on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from veilray.evaluation.attacks import ReleasedCodes
from veilray.evaluation.bootstrap import RESAMPLES
from veilray.evaluation.tables import LEARNERS, anonymity_risks, fidelity, score_on_real, synthesise
from veilray.methods.tables import CADPTable, ResponseRecords
from veilray.privacy import Claim, SeededEntropy, exact
from veilray.releases import drawn_records, plan_table
from veilray.releases.conditions import condition_rules
from veilray.tables import Records, Schema
from veilray_studies.contract import NO_CLAIM
from veilray_studies.kinds.columns import Row, attacked
from veilray_studies.kinds.tables_settings import EPSILONS, MECHANISMS

__all__ = ["CONDITIONS", "SCARCE", "TARGETS", "TableSet", "measured", "rows_of"]

TARGETS = {"adult": "income", "breast-cancer": "diagnosis", "diabetes": "progression"}
"""What learners tell."""
CONDITIONS = {"adult": "income", "breast-cancer": "diagnosis", "diabetes": "sex"}
"""What the flow is told: of the two small tables as in the published notebook."""
SCARCE = {"adult": 300, "breast-cancer": 60, "diabetes": 60}
"""Public rows in the setting `scarce`."""
_SHARES = ("1/4", "1/2", "3/4")
_PUBLIC, _PRIVATE = 0.4, 0.4
_NULL_DRAWS = 20
_ATTACKED_AT, _ATTACKED_ROWS, _ATTACKS, _ATTACKED_SEEDS = "4", 5000, 150, 3
_GALLERY, _LINKED_ROWS = 100, 2000


def rows_of(records: Records, seed: int, setting: str, table: str) -> tuple[Records, Records, Records]:
    """Public, private and test rows: two, two and one fifths, by a permutation that the seed fixes."""
    order = np.random.default_rng([seed, 6]).permutation(len(records))
    first, second = round(_PUBLIC * len(order)), round((_PUBLIC + _PRIVATE) * len(order))
    public, private, test = (records[part] for part in np.split(order, [first, second]))
    return (public[: SCARCE[table]] if setting == "scarce" else public), private, test


@dataclass(frozen=True)
class TableSet:
    """One table in one setting, split by one seed; see studies/prepare_tables.py."""

    folder: Path
    table: str
    setting: str
    seed: int

    @cached_property
    def records(self) -> Records:
        """All rows, of a confirmed schema."""
        schema = Schema.from_yaml(self.folder / f"{self.table}.yaml")
        with np.load(self.folder / f"{self.table}.npz", allow_pickle=False) as found:
            return Records.of(schema, found["values"])

    @cached_property
    def parts(self) -> tuple[Records, Records, Records]:
        """Public, private and test rows."""
        return rows_of(self.records, self.seed, self.setting, self.table)

    @cached_property
    def model(self) -> CADPTable:
        """The model that was fitted on the public rows of this split."""
        return CADPTable.load(self.folder / f"{self.table}-{self.setting}-{self.seed}")

    @property
    def target(self) -> str:
        """The column that learners tell."""
        return TARGETS[self.table]

    @property
    def condition(self) -> str:
        """The column that the flow is told."""
        return CONDITIONS[self.table]


def measured(prepared: TableSet, release: str, policy: str) -> list[Row]:
    """The rows of a cell: one for each epsilon and learner."""
    public, private, _ = prepared.parts
    if release == "raw":
        return list(_scored(prepared, private, {"epsilon": NO_CLAIM}))
    if release == "public-only":
        return list(_scored(prepared, public, {"epsilon": NO_CLAIM}))
    if release == "null-conditional":
        return _null(prepared)
    return [row for epsilon in EPSILONS for row in _released(prepared, release, policy, epsilon)]


def _released(prepared: TableSet, release: str, policy: str, epsilon: str) -> Iterator[Row]:
    row: Row = {"epsilon": epsilon}
    public, private, test = prepared.parts
    if release in MECHANISMS:
        records, told = _cadp(prepared, release, policy, epsilon)
        row |= told
    elif release == "central":
        made = synthesise(private, public, float(epsilon), target=prepared.target, seed=prepared.seed)
        records = made.records
    else:
        budget = release.removeprefix("k-rr-")
        entropy = SeededEntropy(f"{release} {epsilon} {prepared.seed}")
        response = ResponseRecords.fit(public)
        records = response.release(private, epsilon, entropy, budget=budget, public=(prepared.condition,))  # type: ignore[arg-type]  # of the cell's own names
    if release in ("directional", "k-rr-split", "central") and len(private):
        agreed = fidelity(test, records)
        row |= {
            "column_shapes": round(agreed.column_shapes, 5),
            "column_pair_trends": round(agreed.column_pair_trends, 5),
        }
        if (
            (epsilon, prepared.setting) == (_ATTACKED_AT, "labelled")
            and policy != "randomised"
            and (prepared.seed < _ATTACKED_SEEDS)
        ):
            row |= _attacks(prepared, records)
    yield from _scored(prepared, records, row)


def _cadp(prepared: TableSet, mechanism: str, policy: str, epsilon: str) -> tuple[Records, Row]:
    """Release the private rows, epsilon being that of a row with its condition; what it says of itself."""
    if policy == "public":
        records, linkage = _drawn(prepared, prepared.parts[1], mechanism, epsilon, None)
        return records, linkage
    share = Fraction(_best_share(prepared, mechanism, epsilon))
    whole = exact(epsilon, "epsilon")
    records, _ = _drawn(prepared, prepared.parts[1], mechanism, str(whole * (1 - share)), str(whole * share))
    return records, {"condition_epsilon": float(whole * share)}


def _best_share(prepared: TableSet, mechanism: str, epsilon: str) -> str:
    """The condition's share of epsilon that serves best when one half of the **public** rows is released."""
    public = prepared.parts[0]
    half = len(public) // 2
    whole = exact(epsilon, "epsilon")
    scores = {}
    for share in _SHARES:
        part = Fraction(share)
        records, _ = _drawn(prepared, public[:half], mechanism, str(whole * (1 - part)), str(whole * part))
        found = score_on_real(records, public[half:], prepared.target, resamples=2, seed=prepared.seed)
        scores[share] = found.score.value
    return max(scores, key=lambda share: scores[share])


def _drawn(
    prepared: TableSet, records: Records, mechanism: str, epsilon: str, condition_epsilon: str | None
) -> tuple[Records, Row]:
    """The release of `records` as `veilray release` draws it, with a seed; and linkage of its latents."""
    model, name = prepared.model, prepared.condition
    # Gaussian noise needs a delta; the other mechanisms are pure.
    drawn_by = model.calibrated(Claim.of(epsilon, "0.000001" if mechanism == "gaussian" else 0), mechanism)
    policy = "public" if condition_epsilon is None else f"randomised:{condition_epsilon}"
    assert model.conditions is not None
    facts = model.facts(records)
    rules = condition_rules(
        {name: policy}, model.conditions.levels_of, facts, model.conditions.bounds_of, always=(name,), any_text=True
    )
    plan = plan_table(records, (), model, drawn_by, rules)
    entropy = SeededEntropy(f"{mechanism} {epsilon} {condition_epsilon} {prepared.seed}")
    released, _ = drawn_records(plan, entropy)
    if condition_epsilon is not None or mechanism != "directional":
        return released, {}
    records, facts = records[:_LINKED_ROWS], facts[:_LINKED_ROWS]
    labels = records.column(name)
    gallery = min(_GALLERY, *(int((labels == label).sum()) for label in np.unique(labels)))
    rows = model.encode(records.only(model.row_schema.names), facts)
    again = drawn_by.release(rows, SeededEntropy(f"linkage {epsilon} {prepared.seed}"))
    found = attacked(ReleasedCodes(drawn_by, again, rows, labels, None), gallery, prepared.seed)
    return released, {name: found[name] for name in ("rank_one", "rank_one_line")}


def _null(prepared: TableSet) -> list[Row]:
    """The condition and no row: mean over draws of the model's own sampler, with the interval of the mean draw."""
    model, (_, private, _) = prepared.model, prepared.parts
    facts = model.facts(private)
    draws: dict[str, list[Row]] = {}
    for draw in range(_NULL_DRAWS):
        rows = model.sample(len(private), SeededEntropy(f"null {draw} {prepared.seed}"), facts)
        whole = _with_condition(private, rows, prepared.condition)
        for row in _scored(prepared, whole, {"epsilon": NO_CLAIM}, resamples=2):
            draws.setdefault(str(row["learner"]), []).append(row)
    rows_found = []
    for found in draws.values():
        values = np.array([float(row["value"]) for row in found])
        spread = 1.96 * float(values.std(ddof=1))
        mean = float(values.mean())
        rows_found.append(
            {**found[0], "value": round(mean, 5), "low": round(mean - spread, 5), "high": round(mean + spread, 5)}
        )
    return rows_found


def _with_condition(private: Records, rows: Records, condition: str) -> Records:
    columns = [private.column(name) if name == condition else rows.column(name) for name in private.schema.names]
    return Records.of(private.schema, np.stack(columns, axis=1))


def _scored(prepared: TableSet, records: Records, row: Row, *, resamples: int = RESAMPLES) -> Iterator[Row]:
    """The row once for each learner, with its score on the test rows."""
    test = prepared.parts[2]
    for learner in LEARNERS:
        found = score_on_real(records, test, prepared.target, learner, resamples=resamples, seed=prepared.seed)
        figures: dict[str, Any] = {end: round(getattr(found.score, end), 5) for end in ("value", "low", "high")}
        chance = 0.5 if found.metric == "auc" else 0.0
        yield {**row, "learner": learner, "metric": found.metric, **figures, "chance": chance, "rows": len(records)}


def _attacks(prepared: TableSet, records: Records) -> Row:
    """anonymeter's risks, beyond what the same attack wins on people who are not in the release."""
    _, private, test = prepared.parts
    parts: Sequence[Records] = [part[:_ATTACKED_ROWS] for part in (private, records, test)]
    risks = anonymity_risks(*parts, secret=prepared.target, attacks=min(_ATTACKS, len(test)), seed=prepared.seed)
    _, several, linked, inferred = risks
    named = {"singling_out": several, "linkability": linked, "inference": inferred}
    return {
        name: round(value, 5)
        for attack, found in named.items()
        for name, value in ((attack, found.risk), (f"{attack}_high", found.high))
    }
