"""How much released rows look like real ones, by sdmetrics: each column by itself, and each pair of columns.

Shapes: 1 less the Kolmogorov-Smirnov distance of two columns of numbers, 1 less the total variation distance of two
columns of levels. Trends: how alike the correlations of two pairs of numbers are, 1 less the total variation distance
of two contingency tables. All are 1 for equal tables and 0 for the most unlike.

Source: sdmetrics, DataCebo 2020 to 2025, its QualityReport. Fidelity is no utility: a table of independent draws from
the true marginals has perfect shapes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from veilray.evaluation.tables.frames import numbers_and_texts, yardstick
from veilray.tables import Records

__all__ = ["Fidelity", "fidelity"]


@dataclass(frozen=True)
class Fidelity:
    """Scores in [0, 1], 1 for tables that agree.

    Attributes:
        shapes: of each column.
        trends: of each pair of columns. A pair that has none, such as one with a constant number, is left out.
    """

    shapes: dict[str, float] = field(repr=False)
    trends: dict[tuple[str, str], float] = field(repr=False)

    @property
    def column_shapes(self) -> float:
        """Mean over the columns."""
        return float(np.mean(list(self.shapes.values())))

    @property
    def column_pair_trends(self) -> float:
        """Mean over the pairs; NaN where no pair has a trend."""
        return float(np.mean(list(self.trends.values()))) if self.trends else float("nan")

    def __str__(self) -> str:
        return f"column shapes {self.column_shapes:.3f}, column pair trends {self.column_pair_trends:.3f}"


def fidelity(real: Records, released: Records) -> Fidelity:
    """Compare released rows with real ones, best with rows that were *not* released.

    Raises:
        ValueError: for different columns or no rows.
        ImportError: without sdmetrics.
    """
    if real.schema.columns != released.schema.columns:
        raise ValueError("released must have the columns of the real rows, got others")
    if not (len(real) and len(released)):
        raise ValueError("real and released must hold at least one row each, got none")
    report = yardstick("sdmetrics.reports.single_table").QualityReport()
    report.num_rows_subsample = None  # all rows: the same figure each time
    kinds = {
        column.name: {"sdtype": "numerical" if column.levels is None else "categorical"}
        for column in real.schema.columns
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant columns have no correlation
        report.generate(numbers_and_texts(real), numbers_and_texts(released), {"columns": kinds}, verbose=False)
        shapes, trends = report.get_details("Column Shapes"), report.get_details("Column Pair Trends")
    return Fidelity(
        {name: float(score) for name, score in zip(shapes["Column"], shapes["Score"], strict=True)},
        _finite(trends),
    )


def _finite(trends: Any) -> dict[tuple[str, str], float]:
    rows = zip(trends["Column 1"], trends["Column 2"], trends["Score"], strict=True)
    return {(first, second): float(score) for first, second, score in rows if np.isfinite(score)}
