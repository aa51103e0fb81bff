"""Intervals that respect the patient: the bootstrap resamples patients, never single images.

Images of one patient rise and fall together, so that resampling images would make every interval too short. Each
resample draws as many patients as there are, with replacement (the cluster bootstrap: Efron and Tibshirani 1993;
Davison and Hinkley 1997), and counts all images of a patient as often as the patient was drawn. A resample is therefore
a row of whole-number weights: scores are computed from weights, many resamples at once, and the ranking that an area
under the ROC curve needs is done once.

`groups` is one patient key for each image, or None where every image is a patient of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from veilray.evaluation.patients import patient_keys
from veilray.evaluation.result import Estimate

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "Metric",
    "accuracy",
    "auc",
    "balanced_accuracy",
    "difference",
    "mean",
    "over_seeds",
    "r_squared",
    "true_positive_rate",
]

RESAMPLES = 2000
"""Resamples of a bootstrap interval."""

LEVEL = 0.95
"""Level of the intervals that are shown."""

Floats = NDArray[np.float64]
Metric = Literal["accuracy", "balanced_accuracy", "auc"]
Statistic = Callable[[Floats], Floats]
"""`(b, patients)` weights to `(b,)` scores; not a number where a resample holds too little to have one."""

_AT_ONCE = 2**21
"""Weights held at once: 16 MiB."""


@dataclass(frozen=True)
class _Patients:
    """The patient of each image, as a number."""

    of: NDArray[np.int64]
    count: int

    @classmethod
    def from_groups(cls, groups: ArrayLike | None, images: int) -> _Patients:
        if images < 1:
            raise ValueError("images must be 1 or more, got none")
        if groups is None:
            return cls(np.arange(images), images)
        keys = np.asarray(groups)
        if keys.shape != (images,):
            raise ValueError(f"groups must be one patient key for each of {images} images, got shape {keys.shape}")
        known, of = np.unique(patient_keys(keys), return_inverse=True)
        return cls(of.astype(np.int64), len(known))

    def total(self, values: Floats) -> Floats:
        """Sum over the images of each patient."""
        return np.asarray(np.bincount(self.of, values, self.count), dtype=np.float64)

    def estimate(self, statistic: Statistic, columns: int, resamples: int, level: float, seed: int) -> Estimate:
        """The percentile interval of a statistic that looks at `columns` numbers a resample."""
        if resamples < 2:
            raise ValueError(f"resamples must be at least 2, got {resamples}")
        rng = np.random.default_rng(seed)
        step = max(1, _AT_ONCE // max(columns, self.count))
        found = [statistic(self._weights(min(step, resamples - done), rng)) for done in range(0, resamples, step)]
        scores = np.concatenate(found)
        scores = scores[np.isfinite(scores)]
        value = float(statistic(np.ones((1, self.count)))[0])
        if not scores.size or not np.isfinite(value):
            raise ValueError("images must give a score, got too few of one class")
        low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
        return Estimate(value, float(low), float(high), len(self.of), level)

    def _weights(self, rows: int, rng: np.random.Generator) -> Floats:
        """How often each patient was drawn, `(rows, patients)`: multinomial counts, by counting draws."""
        drawn = rng.integers(0, self.count, (rows, self.count))
        drawn += self.count * np.arange(rows)[:, None]
        return np.bincount(drawn.ravel(), minlength=rows * self.count).reshape(rows, self.count).astype(np.float64)


def mean(
    values: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Mean of one number an image, `(n,)`: an accuracy, a share of hits, an SSIM."""
    numbers = _vector(values, "values")
    patients = _Patients.from_groups(groups, len(numbers))
    return patients.estimate(_mean(numbers, patients), patients.count, resamples, level, seed)


def accuracy(
    truth: ArrayLike,
    predicted: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Share of images whose predicted class, `(n,)`, is the true one."""
    return _estimate("accuracy", truth, predicted, groups, resamples, level, seed)


def balanced_accuracy(
    truth: ArrayLike,
    predicted: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Mean over the true classes of the share predicted right; over those that a resample holds."""
    return _estimate("balanced_accuracy", truth, predicted, groups, resamples, level, seed)


def auc(
    truth: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Area under the ROC curve of `score`, `(n,)`, for `truth` of 0 and 1; ties count half.

    Resamples that hold one class only are left out.

    Raises:
        ValueError: for a truth that does not hold both 0 and 1, and nothing else.

    Example:
        >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8]).value
        0.875
    """
    return _estimate("auc", truth, score, groups, resamples, level, seed)


def true_positive_rate(
    truth: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    false_positive_rate: float = 0.01,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Share of ones above the lowest threshold that at most `false_positive_rate` of the zeros reach.

    Each resample has a threshold of its own; equal scores are above it or below it together.

    Raises:
        ValueError: for a truth that does not hold both 0 and 1, and nothing else, or a rate outside (0, 1).

    Example:
        >>> true_positive_rate([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8], false_positive_rate=0.1).value
        0.5
    """
    if not 0 < false_positive_rate < 1:
        raise ValueError(f"false_positive_rate must be in (0, 1), got {false_positive_rate}")
    true = _classes(truth)
    patients = _Patients.from_groups(groups, len(true))
    statistic = _true_positives(true, _vector(score, "score"), patients, false_positive_rate)
    return patients.estimate(statistic, len(true), resamples, level, seed)


def r_squared(
    truth: ArrayLike,
    predicted: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Share of the variance of `truth`, `(n,)`, that `predicted` explains; below 0 where its mean would do better.

    Resamples that hold one value only are left out.

    Raises:
        ValueError: for a truth of one value.

    Example:
        >>> round(r_squared([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 6.0]).value, 6)
        0.2
    """
    true, told = _vector(truth, "truth"), _vector(predicted, "predicted")
    if true.shape != told.shape:
        raise ValueError(f"predicted must be one for each of {len(true)} truths, got shape {told.shape}")
    patients = _Patients.from_groups(groups, len(true))
    centred = true - true.mean()  # the spread of a resample is then no difference of large numbers
    parts = (np.ones(len(true)), centred, centred**2, (true - told) ** 2)
    sums = np.stack([patients.total(part) for part in parts], axis=1)

    def statistic(weights: Floats) -> Floats:
        count, total, squares, missed = (weights @ sums).T
        spread = squares - total**2 / count
        nothing = spread <= 1e-12 * squares
        return np.asarray(1 - np.divide(missed, spread, out=np.full(len(count), np.nan), where=~nothing))

    if not (true != true[0]).any():
        raise ValueError("truth must hold two or more values, got one")
    return patients.estimate(statistic, patients.count, resamples, level, seed)


def difference(
    metric: Metric,
    truth: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """`metric` of `first` less that of `second`, two answers to the same images; each resample holds both (paired)."""
    true = _classes(truth)
    patients = _Patients.from_groups(groups, len(true))
    one, other = (_statistic(metric, true, np.asarray(answer), patients) for answer in (first, second))
    columns = len(true) if metric == "auc" else patients.count
    return patients.estimate(lambda weights: one(weights) - other(weights), columns, resamples, level, seed)


def over_seeds(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean over runs with different seeds, with Student's interval: few runs, each a mean of much.

    Raises:
        ValueError: for fewer than 2 runs.
    """
    runs = _vector(values, "values")
    if len(runs) < 2:
        raise ValueError(f"values must be of 2 seeds or more, got {len(runs)}")
    centre = float(runs.mean())
    half = float(student.ppf((1 + level) / 2, len(runs) - 1) * runs.std(ddof=1) / np.sqrt(len(runs)))
    return Estimate(centre, centre - half, centre + half, len(runs), level)


def _estimate(
    metric: Metric,
    truth: ArrayLike,
    answer: ArrayLike,
    groups: ArrayLike | None,
    resamples: int,
    level: float,
    seed: int,
) -> Estimate:
    true = _classes(truth)
    patients = _Patients.from_groups(groups, len(true))
    columns = len(true) if metric == "auc" else patients.count
    statistic = _statistic(metric, true, np.asarray(answer), patients)
    return patients.estimate(statistic, columns, resamples, level, seed)


def _statistic(metric: Metric, truth: NDArray[Any], answer: NDArray[Any], patients: _Patients) -> Statistic:
    if answer.shape != truth.shape:
        raise ValueError(f"answers must be one for each of {len(truth)} images, got shape {answer.shape}")
    if metric == "accuracy":
        return _mean((answer == truth).astype(np.float64), patients)
    if metric == "balanced_accuracy":
        return _balanced(truth, answer, patients)
    if metric == "auc":
        return _auc(truth, _vector(answer, "score"), patients)
    raise ValueError(f"metric must be accuracy, balanced_accuracy or auc, got {metric!r}")


def _mean(values: Floats, patients: _Patients) -> Statistic:
    sums = np.stack([patients.total(values), patients.total(np.ones(len(values)))], axis=1)

    def statistic(weights: Floats) -> Floats:
        both = weights @ sums
        return np.asarray(both[:, 0] / both[:, 1])

    return statistic


def _balanced(truth: NDArray[Any], predicted: NDArray[Any], patients: _Patients) -> Statistic:
    classes = [(truth == label).astype(np.float64) for label in np.unique(truth)]
    right = np.stack([patients.total(member * (predicted == truth)) for member in classes], axis=1)
    members = np.stack([patients.total(member) for member in classes], axis=1)

    def statistic(weights: Floats) -> Floats:
        sizes = weights @ members
        recalls = np.divide(weights @ right, sizes, out=np.zeros_like(sizes), where=sizes > 0)
        return np.asarray(recalls.sum(axis=1) / (sizes > 0).sum(axis=1))

    return statistic


def _auc(truth: NDArray[Any], score: Floats, patients: _Patients) -> Statistic:
    ranked = _ranked(truth, score, patients)

    def statistic(weights: Floats) -> Floats:
        positive, negative = ranked(weights)
        below = np.cumsum(negative, axis=1) - negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        wins = np.einsum("bn,bn->b", positive, below)
        return np.asarray(np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))

    return statistic


def _true_positives(truth: NDArray[Any], score: Floats, patients: _Patients, rate: float) -> Statistic:
    ranked = _ranked(truth, -score, patients)

    def statistic(weights: Floats) -> Floats:
        positive, negative = (np.cumsum(side, axis=1) for side in ranked(weights))  # from the highest score down
        allowed = negative <= rate * negative[:, -1:] * (1 + 1e-12)
        found, all_of_them = (positive * allowed).max(axis=1), positive[:, -1]
        found[negative[:, -1] == 0] = np.nan
        return np.asarray(np.divide(found, all_of_them, out=np.full(len(found), np.nan), where=all_of_them > 0))

    return statistic


def _ranked(truth: NDArray[Any], score: Floats, patients: _Patients) -> Callable[[Floats], tuple[Floats, Floats]]:
    """From weights to how many ones and how many zeros have each score, `(b, scores)` each, the lowest score first."""
    if truth.shape != score.shape:
        raise ValueError(f"answers must be one for each of {len(truth)} images, got shape {score.shape}")
    if set(np.unique(truth).tolist()) != {0, 1}:
        raise ValueError("truth must hold both 0 and 1, and nothing else")
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))  # of runs of equal scores
    patient, own = patients.of[order], truth[order].astype(np.float64)

    def counts(weights: Floats) -> tuple[Floats, Floats]:
        each = weights[:, patient]
        positive = each * own
        negative = each - positive
        if len(starts) < len(ranked):
            positive, negative = (np.add.reduceat(side, starts, axis=1) for side in (positive, negative))
        return positive, negative

    return counts


def _classes(truth: ArrayLike) -> NDArray[Any]:
    classes = np.asarray(truth)
    if classes.ndim != 1:
        raise ValueError(f"truth must be (n,), got shape {classes.shape}")
    return classes


def _vector(values: ArrayLike, name: str) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or np.isnan(numbers).any():
        raise ValueError(f"{name} must be (n,) numbers, got shape {numbers.shape} or not a number")
    return numbers
