"""Train on one set, test on another: released on real, raw on raw, null on real.

The figure of Esteban, Hyland, Rätsch (2017, Real-valued medical time series generation with recurrent conditional
GANs), who named it TSTR: what a recipient's learner is worth on the images that it is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from veilray.evaluation.utility.base import Floats, Learner, checked_labels

__all__ = ["Metric", "Score", "measure", "score"]

Metric = Literal["auc", "accuracy"]


@dataclass(frozen=True)
class Score:
    """One learner, tested.

    Args:
        metric: `auc` or `accuracy`.
        value: the figure over all test images.
        scores: `(n,)` float64, one a test image: the probability of class 1 for `auc`, 1 or 0 for right or wrong
            for `accuracy`. `measure(metric, scores[rows], labels[rows])` is the figure of a resample.
        labels: `(n,)` the true classes.
    """

    metric: Metric
    value: float
    scores: Floats
    labels: NDArray[np.int64]


def score(
    learner: Learner,
    train_inputs: NDArray[Any],
    train_labels: NDArray[Any],
    test_inputs: NDArray[Any],
    test_labels: NDArray[Any],
    metric: Metric | None = None,
    seed: int = 0,
) -> Score:
    """Fit a copy of a learner on one set and test it on another; the test set is used for nothing else.

    Args:
        learner: the settings; it is not changed.
        train_inputs: released, raw or null inputs, as the learner takes them.
        train_labels: `(n,)` integers 0 .. C-1.
        test_inputs: real inputs.
        test_labels: their labels; one that the training set has not is always a miss.
        metric: by default `auc` for two classes and `accuracy` for more.
        seed: of the learner.

    Raises:
        ValueError: for what the learner refuses, for `auc` of more than two classes or of a test set with one
            class, and for an empty test set.
    """
    truth = checked_labels(test_labels, len(test_inputs))
    if not len(truth):
        raise ValueError("test_inputs must be one row or more, got none")
    classes = 1 + max(int(truth.max()), int(np.max(train_labels, initial=0)))
    chosen: Metric = metric or ("auc" if classes == 2 else "accuracy")
    if chosen not in ("auc", "accuracy"):
        raise ValueError(f"metric must be auc or accuracy, got {metric!r}")
    if chosen == "auc" and (classes != 2 or len(np.unique(truth)) != 2):
        raise ValueError(
            f"auc must be of two classes, both tested, got labels {np.unique(truth).tolist()}: use accuracy"
        )
    predicted = learner.fit(train_inputs, train_labels, seed).predict_proba(test_inputs)
    scores: Floats = predicted[:, 1] if chosen == "auc" else (predicted.argmax(axis=1) == truth).astype(np.float64)
    return Score(metric=chosen, value=measure(chosen, scores, truth), scores=scores, labels=truth)


def measure(metric: Metric, scores: Floats, labels: NDArray[np.int64]) -> float:
    """Return the figure of per-image scores; for `auc` NaN when all labels are equal, as in a small resample."""
    if metric == "accuracy":
        return float(scores.mean())
    if labels.min() == labels.max():
        return float("nan")
    return float(roc_auc_score(labels, scores))
