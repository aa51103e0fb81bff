"""Draw what released rows of Adult look like, column by column and pair by pair.

    python studies/prepare_tables.py
    python studies/tables_figures.py [--prepared build/tables] [--out docs/figures] [--epsilon 4] [--seed 0]

Writes tables-marginals.png (six columns: real rows, released rows, rows with no record in them) and
tables-correlations.png (correlations of the columns' coordinates: real, released, their difference). It reads private
rows and seeds its noise: internal, no claim.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from veilray.evaluation.palette import BLACK, ORANGE, VERMILLION
from veilray.methods.tables import CADPTable
from veilray.privacy import Claim, SeededEntropy
from veilray.releases import drawn_records, plan_table
from veilray.releases.conditions import condition_rules
from veilray.tables import Records
from veilray_studies.kinds.tables_cells import TableSet

SHOWN = ("age", "hours-per-week", "capital-gain", "education", "marital-status", "occupation")
"""Two plain numbers, one with most of its mass at 0, an order, a few levels, many levels of which some are missing."""
BINS = {
    "age": np.arange(15, 95, 5.0),
    "hours-per-week": np.arange(0, 105, 5.0),
    "capital-gain": np.array([0, 1, 2000, 4000, 6000, 8000, 10000, 20000, 100000.0]),
}
"""Edges for the picture, by what is public of the columns."""


def main() -> None:
    """Parse the command line, release the private rows of Adult with a seed, draw both figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prepared", type=Path, default=Path("build/tables"))
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--epsilon", default="4")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found = TableSet(asked.prepared, "adult", "labelled", asked.seed)
    private = found.parts[1]
    released, null = drawn(found.model, private, found.condition, asked.epsilon, asked.seed)
    marginals(private, released, null, asked.epsilon).savefig(asked.out / "tables-marginals.png")
    correlations(found.model, private, released, asked.epsilon).savefig(asked.out / "tables-correlations.png")


def drawn(model: CADPTable, private: Records, condition: str, epsilon: str, seed: int) -> tuple[Records, Records]:
    """Released rows with the condition public, and rows of the same conditions with no record in them."""
    assert model.conditions is not None
    facts = model.facts(private)
    rules = condition_rules(
        {condition: "public"},
        model.conditions.levels_of,
        facts,
        model.conditions.bounds_of,
        always=(condition,),
        any_text=True,
    )
    plan = plan_table(private, (), model, model.calibrated(Claim.of(epsilon)), rules)
    released, _ = drawn_records(plan, SeededEntropy(f"figure {epsilon} {seed}"))
    return released, model.sample(len(private), SeededEntropy(f"figure null {seed}"), facts)


def marginals(real: Records, released: Records, null: Records, epsilon: str) -> Figure:
    """Six columns, the share of rows in each bin or level."""
    figure = Figure(figsize=(13, 7.2), dpi=110, layout="constrained")
    series = (
        ("real", real, BLACK, ""),
        (f"released, epsilon {epsilon}", released, VERMILLION, "//"),
        ("condition alone, no record", null, ORANGE, ".."),
    )
    for place, name in zip(figure.subplots(2, 3).ravel(), SHOWN, strict=True):
        for offset, (label, records, colour, hatch) in zip((-0.28, 0.0, 0.28), series, strict=True):
            shares, ticks = shares_of(records, name)
            at = np.arange(len(shares)) + offset
            place.bar(at, shares, 0.28, label=label, color=colour, edgecolor="white", linewidth=0.3, hatch=hatch)
        size = 6 if len(ticks) > 8 else 8
        place.set_xticks(range(len(ticks)), ticks, rotation=60, ha="right", fontsize=size)
        place.set(title=name, ylabel="share of rows")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("Adult: columns of real and of released rows")
    return figure


def shares_of(records: Records, name: str) -> tuple[NDArray[np.float64], list[str]]:
    """The share of rows in each bin or level of a column, and what to write below it."""
    column, values = records.schema.column(name), records.column(name)
    gone = np.isnan(values)
    if column.levels is None:
        edges = BINS[name]
        inside = np.clip(np.searchsorted(edges, values[~gone], side="right") - 1, 0, len(edges) - 2)
        counts = np.bincount(inside, minlength=len(edges) - 1)
        ticks = [f"{edge:,.0f}" for edge in edges[:-1]]
    else:
        counts = np.bincount(values[~gone].astype(np.int64), minlength=len(column.levels))
        ticks = list(column.levels)
    if column.missing:
        counts, ticks = np.append(counts, gone.sum()), [*ticks, "(missing)"]
    return counts / len(records), ticks


def correlations(model: CADPTable, real: Records, released: Records, epsilon: str) -> Figure:
    """Correlations of the columns' coordinates in real rows, in released rows, and real less released."""
    names = model.row_schema.names
    before, after = (
        np.corrcoef(model.coordinates.encode(records.only(names)), rowvar=False) for records in (real, released)
    )
    figure = Figure(figsize=(14, 5.2), dpi=110, layout="constrained")
    titles = ("real", f"released, epsilon {epsilon}", "real less released")
    places = figure.subplots(1, 3)
    for place, matrix, title in zip(places, (before, after, before - after), titles, strict=True):
        shown = place.imshow(matrix, vmin=-1, vmax=1, cmap="PuOr")
        place.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
        place.set_yticks(range(len(names)), names, fontsize=7)
        place.set_title(title)
    figure.colorbar(shown, ax=places, shrink=0.8, label="correlation")
    apart = np.abs((before - after)[np.triu_indices(len(names), 1)])
    figure.suptitle(f"Adult: correlations of coordinates; they differ by {apart.mean():.2f} on average")
    return figure


if __name__ == "__main__":
    main()
