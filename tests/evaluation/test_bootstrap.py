"""Bootstrap: the figures are those of scikit-learn, the intervals cover, and patients are resampled whole."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, r2_score, roc_auc_score, roc_curve

from veilray.evaluation.bootstrap import (
    accuracy,
    auc,
    balanced_accuracy,
    difference,
    mean,
    over_seeds,
    r_squared,
    true_positive_rate,
)


@pytest.fixture
def binary() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 300)
    return truth, np.round(truth + rng.normal(size=300), 1)  # one decimal: many ties


def test_values_are_those_of_scikit_learn(binary: tuple[np.ndarray, np.ndarray]) -> None:
    truth, score = binary
    classes = np.random.default_rng(1).integers(0, 4, 300)
    guesses = np.where(score > 0, classes, 0)
    assert auc(truth, score, resamples=10).value == pytest.approx(roc_auc_score(truth, score))
    assert accuracy(classes, guesses, resamples=10).value == pytest.approx(accuracy_score(classes, guesses))
    assert balanced_accuracy(classes, guesses, resamples=10).value == pytest.approx(
        balanced_accuracy_score(classes, guesses)
    )


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_true_positives_are_those_of_the_curve(binary: tuple[np.ndarray, np.ndarray], rate: float) -> None:
    truth, score = binary
    false, true, _ = roc_curve(truth, score, drop_intermediate=False)
    found = true_positive_rate(truth, score, false_positive_rate=rate, resamples=50)
    assert found.value == pytest.approx(true[false <= rate].max())
    assert found.low <= found.value <= found.high


def test_scores_that_all_tie_find_nobody() -> None:
    assert true_positive_rate([0, 0, 1, 1], [1, 1, 1, 1], resamples=10).value == 0
    with pytest.raises(ValueError, match=r"false_positive_rate must be in \(0, 1\), got 1"):
        true_positive_rate([0, 1], [0, 1], false_positive_rate=1)


@pytest.mark.parametrize("ties", [True, False])
def test_auc_interval_is_that_of_a_plain_loop(binary: tuple[np.ndarray, np.ndarray], ties: bool) -> None:
    truth, score = binary if ties else (binary[0], binary[1] + np.linspace(0, 0.01, 300))
    rng = np.random.default_rng(5)
    areas = []
    for _ in range(1500):
        rows = rng.integers(0, 300, 300)
        own = truth[rows] == 1
        wins = stats.rankdata(score[rows])[own].sum() - own.sum() * (own.sum() + 1) / 2
        areas.append(wins / (own.sum() * (~own).sum()))
    low, high = np.quantile(areas, [0.025, 0.975])
    found = auc(truth, score)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.006), pytest.approx(high, abs=0.006))


@pytest.mark.parametrize("metric", [auc, accuracy, balanced_accuracy])
def test_repeating_every_image_of_a_patient_changes_nothing(metric, binary):
    truth, score = binary
    answer = score if metric is auc else (score > 0.5).astype(int)
    patients = np.array([f"p{number // 3}" for number in range(300)])
    once = metric(truth, answer, patients)
    tenfold = metric(np.repeat(truth, 10), np.repeat(answer, 10), np.repeat(patients, 10))
    assert (tenfold.value, tenfold.low, tenfold.high) == pytest.approx((once.value, once.low, once.high))
    assert tenfold.count == 3000
    careless = metric(np.repeat(truth, 10), np.repeat(answer, 10))
    assert careless.high - careless.low < 0.6 * (once.high - once.low)


def test_the_order_of_images_does_not_matter(binary: tuple[np.ndarray, np.ndarray]) -> None:
    truth, score = binary
    patients = np.arange(300) // 2
    order = np.random.default_rng(3).permutation(300)
    assert auc(truth, score, patients) == auc(truth[order], score[order], patients[order])


def test_intervals_of_a_mean_cover() -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        patient = rng.normal(size=60)
        values = np.repeat(patient, 4) + rng.normal(size=240)
        found = mean(values, np.repeat(np.arange(60), 4), resamples=400)
        covered += found.low <= 0 <= found.high
    assert 176 <= covered <= 199  # .95 of 200, less what 60 patients cost a percentile interval


def test_a_paired_difference_is_narrower_than_two_intervals(binary: tuple[np.ndarray, np.ndarray]) -> None:
    truth, score = binary
    better = score + 0.3 * truth
    found = difference("auc", truth, better, score)
    assert found.value == pytest.approx(roc_auc_score(truth, better) - roc_auc_score(truth, score))
    assert 0 < found.low < found.high < 0.15
    assert found.high - found.low < 0.5 * (auc(truth, score).high - auc(truth, score).low)


def test_a_difference_of_equal_answers_is_nothing(binary: tuple[np.ndarray, np.ndarray]) -> None:
    truth, score = binary
    for metric, answer in (("auc", score), ("accuracy", score > 0), ("balanced_accuracy", score > 0)):
        found = difference(metric, truth, answer, answer, resamples=50)  # type: ignore[arg-type]
        assert (found.value, found.low, found.high) == (0, 0, 0)


def test_same_seed_same_interval(binary: tuple[np.ndarray, np.ndarray]) -> None:
    assert auc(*binary, seed=4) == auc(*binary, seed=4) != auc(*binary, seed=5)


def test_resamples_of_one_class_are_left_out() -> None:
    found = auc([0, 1, 1], [0.1, 0.2, 0.3])
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_seeds_get_students_interval() -> None:
    values = [0.71, 0.74, 0.69, 0.73, 0.75]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    found = over_seeds(values)
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    assert found.count == 5


def test_two_thousand_resamples_are_quick() -> None:
    rng = np.random.default_rng(0)
    truth, classes = rng.integers(0, 2, 600), rng.integers(0, 10, 10_000)
    start = time.process_time()
    auc(truth, rng.normal(size=600), rng.integers(0, 200, 600))
    middle = time.process_time()
    accuracy(classes, np.where(rng.random(10_000) < 0.8, classes, 0))
    assert middle - start < 2
    assert time.process_time() - middle < 2


def test_r_squared_is_that_of_scikit_learn_and_its_interval_covers() -> None:
    rng = np.random.default_rng(0)
    truth = 1e6 + rng.normal(size=400)
    told = truth + rng.normal(scale=0.5, size=400)
    found = r_squared(truth, told, resamples=400)
    assert found.value == pytest.approx(r2_score(truth, told))
    assert found.low < 0.75 < found.high
    assert found.high - found.low < 0.2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: r_squared([2.0, 2.0], [1.0, 2.0]), "truth must hold two or more values"),
        (lambda: auc([1, 1], [0.1, 0.2]), "truth must hold both 0 and 1"),
        (lambda: auc([0, 1], [0.1, float("nan")]), "score must be"),
        (lambda: auc([0, 1], [0.1]), "answers must be one for each of 2 images"),
        (lambda: accuracy([], []), "images must be 1 or more"),
        (lambda: accuracy([[1]], [[1]]), r"truth must be \(n,\)"),
        (lambda: mean([1.0, 2.0], [1]), "groups must be one patient key for each of 2"),
        (lambda: mean([1.0], resamples=1), "resamples must be at least 2"),
        (lambda: over_seeds([1.0]), "values must be of 2 seeds"),
        (lambda: difference("f1", [0, 1], [0, 1], [0, 1]), "metric must be"),  # type: ignore[arg-type]
    ],
)
def test_impossible_inputs_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
