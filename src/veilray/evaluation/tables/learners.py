"""Train on released rows, test on real ones: the score that says what a table is still good for.

A column with two levels, or one level of a column against all others, is told by its area under the ROC curve; a column
of numbers or days by R squared. Linear learners (logistic or ridge regression on standardised numbers and one-hot
levels) stand beside gradient boosting. A released table that holds one class only teaches nothing: chance.

Features are made from the schema alone, so that training and test rows, and every release, have the same ones.
Source: Esteban, Hyland and Rätsch 2017 (train on synthetic, test on real).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from veilray.evaluation import bootstrap
from veilray.evaluation.result import Estimate
from veilray.tables import Records

__all__ = ["LEARNERS", "TableLearner", "TableScore", "score_on_real"]

TableLearner = Literal["linear", "boosting"]
LEARNERS: tuple[TableLearner, ...] = ("linear", "boosting")

Floats = NDArray[np.float64]

_MOST_CATEGORIES = 255  # of one categorical feature, for gradient boosting


@dataclass(frozen=True)
class TableScore:
    """How well a learner that saw released rows tells a column of real ones.

    Attributes:
        learner: linear or boosting.
        target: the column.
        metric: auc (chance 0.5) or r2 (chance 0; below it is worse than the real mean).
        score: with its interval over test rows, or over people where the test rows say whose they are.
        taught: False where the released rows hold one value of the target only.
    """

    learner: TableLearner
    target: str
    metric: Literal["auc", "r2"]
    score: Estimate
    taught: bool


def score_on_real(
    released: Records,
    test: Records,
    target: str,
    learner: TableLearner = "linear",
    *,
    positive: str | None = None,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> TableScore:
    """Train on `released`, score on `test`, which nobody trained on or released.

    Rows without a target are left out of both.

    Args:
        target: the column to be told from all others.
        positive: the level that is told from the others; by default the second of two.
        resamples: of the bootstrap.
        seed: of learner and bootstrap.

    Raises:
        ValueError: for different columns, an unknown column or level, a target of three or more levels without
            `positive`, or test rows of one class.
    """
    if released.schema.columns != test.schema.columns:
        raise ValueError("released must have the columns of the test rows, got others")
    if learner not in LEARNERS:
        raise ValueError(f"learner must be {' or '.join(LEARNERS)}, got {learner!r}")
    classes = test.schema.column(target).levels is not None
    level = _positive(test, target, positive) if classes else 0
    released, test = (records[~np.isnan(records.column(target))] for records in (released, test))
    truth, answers = test.column(target), released.column(target)
    if classes:
        truth, answers = (truth == level).astype(np.float64), (answers == level).astype(np.float64)
    taught = len(np.unique(answers)) > 1
    names = [name for name in test.schema.names if name != target]
    if taught and names:
        told = _predicted(released.only(names), answers, test.only(names), learner, classes, seed)
    else:
        told = np.full(len(test), answers.mean() if len(answers) else 0.0)
    measure = bootstrap.auc if classes else bootstrap.r_squared
    score = measure(truth, told, test.patients, resamples=resamples, seed=seed)
    return TableScore(learner, target, "auc" if classes else "r2", score, taught)


def _positive(test: Records, target: str, positive: str | None) -> int:
    levels = test.schema.column(target).levels or ()
    if positive is None and len(levels) == 2:
        return 1
    if positive not in levels:
        raise ValueError(f"positive must be one of {', '.join(levels)}, got {positive!r}")
    return levels.index(positive)


def _predicted(
    released: Records, answers: Floats, test: Records, learner: TableLearner, classes: bool, seed: int
) -> Floats:
    if learner == "linear":
        model: Any = LogisticRegression(max_iter=500) if classes else Ridge()
        model = make_pipeline(StandardScaler(), model)
        inputs, asked = _one_hot(released), _one_hot(test)
    else:
        boosting = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        categories = [
            column.kind == "categorical" and (column.size or 0) <= _MOST_CATEGORIES for column in test.schema.columns
        ]
        model = boosting(categorical_features=categories, random_state=seed)
        inputs, asked = released.snapped().values, test.snapped().values
    model.fit(inputs, answers)
    found = model.predict_proba(asked)[:, 1] if classes else model.predict(asked)
    return np.asarray(found, dtype=np.float64)


def _one_hot(records: Records) -> Floats:
    """Levels without an order as one-hot columns; all else on [0, 1] of its span; a further column where missing."""
    parts: list[Floats] = []
    for place, column in enumerate(records.schema.columns):
        values = column.snap(records.values[:, place])
        low, high = column.span
        if column.kind == "categorical":
            parts += [(values == level).astype(np.float64) for level in range(int(high) + 1)]
        else:
            parts.append(np.where(np.isnan(values), 0.5, (values - low) / (high - low)))
        if column.missing:
            parts.append(np.isnan(values).astype(np.float64))
    return np.stack(parts, axis=1)
