"""What the auditor looks at: each statistic turns released rows into a score, above 0 for the first input.

A statistic may be trained on released rows of its own (the pilot); the rows that are counted are drawn afterwards, so
whatever it learned is fixed by then and the bound stays valid. A registry line makes a statistic known.

* likelihood: the mechanism's own claimed log likelihood ratio. The best there is for an honest mechanism.
* projection: along the line between the two means. Blind to nothing that is in the mean, and it has tails.
* quadratic: the two-sample classifier, a quadratic discriminant (Fisher 1936; Smith 1947) of all elements of a release,
  which sees every mean, every difference and sum of elements or rows, their covariance, and its rank. Where noise is
  missing in one direction it is certain.
* values: how often each exact value came out under either input. Enumerates the support.
* lattice: the lowest binary digit that is set in each value. Floating-point noise shows its input there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation.audit.pairs import Pair
from veilray.evaluation.audit.subject import Subject
from veilray.privacy.mechanisms.base import Floats
from veilray.registry import Registry

__all__ = ["STATISTICS", "Score", "Statistic", "looked_at"]

Score = Callable[[Floats], Floats]
"""Released records `(n, m * e)` to scores `(n,)`."""

Statistic = Callable[[Subject, Pair, Floats, NDArray[np.bool_]], Score | None]
"""Subject, pair, pilot records `(n, m * e)`, which of them came from the first input: a score, or None without one."""

STATISTICS: Registry[Statistic] = Registry("statistic")

_COLUMNS = 64
"""Columns that trained statistics look at: a covariance of more would need more rows than a quick audit draws."""

_RIDGE = 1e-9
"""Least variance of a direction, as a share of the columns' own: what is below counts as no noise at all."""

_VALUE_COLUMNS = 16
_MOST_DIGIT = 1100


def looked_at(columns: int, rows: int = 1) -> NDArray[np.int64]:
    """Up to 64 columns of `columns`, the first and last ones of each of `rows` parts."""
    part, share = columns // rows, max(2, _COLUMNS // rows)
    if part <= share:
        return np.arange(columns)
    kept = np.concatenate([np.arange(share // 2), np.arange(part - (share - share // 2), part)])
    return np.asarray((np.arange(rows)[:, None] * part + kept).reshape(-1))


@STATISTICS.register("likelihood")
def likelihood(subject: Subject, pair: Pair, pilot: Floats, first: NDArray[np.bool_]) -> Score | None:
    """The claimed log likelihood ratio, summed over the rows of a record."""
    del pilot, first
    ratio = subject.log_ratio
    if ratio is None:
        return None
    rows = len(pair.first)

    def score(released: Floats) -> Floats:
        parts = np.split(released, rows, axis=1)
        sides = zip(parts, pair.first, pair.second, strict=True)
        return np.asarray(np.sum([ratio(y, a[None], b[None]) for y, a, b in sides], axis=0))

    return score


@STATISTICS.register("projection")
def projection(subject: Subject, pair: Pair, pilot: Floats, first: NDArray[np.bool_]) -> Score | None:
    """The released record along the difference of the pilot's means, each column in units of its spread."""
    del subject, pair
    spread = _spread(pilot)
    a, b = (np.median(pilot[side], axis=0) / spread for side in (first, ~first))
    direction, centre = a - b, (a + b) / 2
    return lambda released: (released / spread - centre) @ direction


@STATISTICS.register("quadratic")
def quadratic(subject: Subject, pair: Pair, pilot: Floats, first: NDArray[np.bool_]) -> Score | None:
    """A quadratic discriminant: Gaussian log likelihood ratio with a mean and covariance for each input."""
    del subject
    columns = looked_at(pilot.shape[1], len(pair.first))
    seen = pilot[:, columns]
    spread = _spread(seen)
    seen = seen / spread
    sides = [_gaussian(seen[side]) for side in (first, ~first)]

    def score(released: Floats) -> Floats:
        z = released[:, columns] / spread
        a, b = (constant - 0.5 * (((z - mean) @ whiten) ** 2).sum(axis=1) for mean, whiten, constant in sides)
        return np.asarray(a - b)

    return score


@STATISTICS.register("values")
def values(subject: Subject, pair: Pair, pilot: Floats, first: NDArray[np.bool_]) -> Score | None:
    """Naive Bayes of the exact values in up to 16 columns."""
    del subject
    columns = looked_at(pilot.shape[1], len(pair.first))[-_VALUE_COLUMNS:]
    return _naive_bayes(pilot, first, columns, lambda column: column)


@STATISTICS.register("lattice")
def lattice(subject: Subject, pair: Pair, pilot: Floats, first: NDArray[np.bool_]) -> Score | None:
    """Naive Bayes of the lowest binary digit set in each value."""
    del subject
    return _naive_bayes(pilot, first, looked_at(pilot.shape[1], len(pair.first)), _lowest_digit)


def _naive_bayes(
    pilot: Floats, first: NDArray[np.bool_], columns: NDArray[np.int64], kind: Callable[[Floats], Floats]
) -> Score:
    tables = []
    for column in columns:
        known, index = np.unique(kind(pilot[:, column]), return_inverse=True)
        counts = [np.bincount(index[side], minlength=len(known)) + 0.5 for side in (first, ~first)]
        ratio = np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum())
        # A value that was seen once or twice says nothing; were it scored, luck in the pilot would drown the others.
        ratio[counts[0] + counts[1] < 4] = 0.0
        tables.append((column, known, ratio))

    def score(released: Floats) -> Floats:
        total = np.zeros(len(released))
        for column, known, ratio in tables:
            seen = kind(released[:, column])
            at = np.minimum(np.searchsorted(known, seen), len(known) - 1)
            total += np.where(known[at] == seen, ratio[at], 0.0)
        return total

    return score


def _lowest_digit(column: Floats) -> Floats:
    """Exponent of the lowest set binary digit: 0 for 3.0, -1 for 2.5; far below for 0."""
    mantissa, exponent = np.frexp(column)
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    low = np.where(whole == 0, 1, whole & -whole).astype(np.float64)
    return np.where(whole == 0, float(-_MOST_DIGIT), np.log2(low) + exponent - 53)


def _gaussian(rows: Floats) -> tuple[Floats, Floats, float]:
    """Mean, whitening matrix and log normaliser of rows in units of their spread."""
    mean = rows.mean(axis=0)
    variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(rows, rowvar=False)))
    variances = np.maximum(variances, _RIDGE)
    return mean, axes / np.sqrt(variances), -0.5 * float(np.log(variances).sum())


def _spread(rows: Floats) -> Floats:
    """Half the distance between the outer sixths of each column: heavy tails do not blow it up; 1 for a constant."""
    low, high = np.quantile(rows, [1 / 6, 5 / 6], axis=0)
    spread = (high - low) / 2
    return np.where(spread > 0, spread, np.where(np.ptp(rows, axis=0) > 0, np.ptp(rows, axis=0), 1.0))
