"""Train on one set, test on another: the right figure, from the training set alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from veilray.evaluation.utility import LEARNERS, measure, score

Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
LEARNER = LEARNERS["logistic"]()


def test_two_classes_are_scored_by_auc(pair: Part) -> None:
    result = score(LEARNER, *pair)
    assert result.metric == "auc"
    assert result.value == roc_auc_score(pair[3], result.scores)
    assert result.value > 0.95


def test_more_classes_are_scored_by_accuracy(digits: Part) -> None:
    result = score(LEARNER, *digits)
    assert result.metric == "accuracy"
    assert set(result.scores) == {0.0, 1.0}
    assert result.value == result.scores.mean()


def test_the_test_set_does_not_steer_the_learner(pair: Part) -> None:
    train, labels, test, test_labels = pair
    whole = score(LEARNER, train, labels, test, test_labels)
    flipped = score(LEARNER, train, labels, test, 1 - test_labels)
    assert np.array_equal(flipped.scores, whole.scores)
    assert flipped.value == pytest.approx(1 - whole.value)
    part = score(LEARNER, train, labels, test[:40], test_labels[:40])
    np.testing.assert_allclose(part.scores, whole.scores[:40], rtol=1e-6)


def test_a_resample_is_measured_from_its_scores(pair: Part, digits: Part) -> None:
    for part in (pair, digits):
        result = score(LEARNER, *part)
        assert measure(result.metric, result.scores, result.labels) == result.value
    assert measure("auc", np.array([0.2, 0.9, 0.8]), np.array([0, 0, 1])) == 0.5
    assert np.isnan(measure("auc", np.array([0.2, 0.9]), np.array([1, 1])))


def test_a_class_that_was_not_released_is_a_miss(digits: Part) -> None:
    train, labels, test, test_labels = digits
    result = score(LEARNER, train[labels < 9], labels[labels < 9], test, test_labels)
    assert not result.scores[test_labels == 9].any()
    assert result.value > 0.8


def test_what_cannot_be_measured_is_refused(pair: Part, digits: Part) -> None:
    train, labels, test, test_labels = pair
    with pytest.raises(ValueError, match=r"auc must be of two classes, both tested, got labels \[1\]"):
        score(LEARNER, train, labels, test[test_labels == 1], test_labels[test_labels == 1])
    with pytest.raises(ValueError, match="auc must be of two classes"):
        score(LEARNER, *digits, metric="auc")
    with pytest.raises(ValueError, match="metric must be auc or accuracy, got 'f1'"):
        score(LEARNER, *pair, metric="f1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="test_inputs must be one row or more"):
        score(LEARNER, train, labels, test[:0], test_labels[:0])
