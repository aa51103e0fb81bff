"""k-ary randomised response: exact transition, audit, levels, estimation for learners."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from veilray.privacy.entropy import SeededEntropy, SystemEntropy
from veilray.privacy.mechanisms.base import MECHANISMS, Claim
from veilray.privacy.mechanisms.randomised_response import (
    RandomisedResponse,
    estimate_frequencies,
    posterior,
    respond,
    transition_matrix,
)


def calibrated(epsilon: str, columns: int, **options: Any) -> RandomisedResponse:
    return RandomisedResponse.calibrate(Claim.of(epsilon), columns, **options)


def test_it_is_registered() -> None:
    assert MECHANISMS["randomised_response"] is RandomisedResponse


@settings(deadline=None)
@given(epsilon=st.sampled_from(["0.1", "1", "5", "12"]), levels=st.integers(2, 40))
def test_the_transition_matrix_has_the_stated_probability_and_ratio(epsilon: str, levels: int) -> None:
    matrix = transition_matrix(levels, epsilon)
    power = math.exp(float(epsilon))
    assert matrix.sum(axis=1) == pytest.approx(np.ones(levels))
    assert matrix[0, 0] == pytest.approx(power / (power + levels - 1))
    assert math.log(matrix.max() / matrix.min()) == pytest.approx(float(epsilon), abs=1e-9)


@pytest.mark.parametrize("true", [0, 3])
def test_reports_follow_the_transition_matrix(true: int) -> None:
    reports = respond(np.full(200_000, true), 5, "1", SeededEntropy(true))
    expected = transition_matrix(5, "1")[true] * 200_000
    assert chisquare(np.bincount(reports, minlength=5), expected).pvalue > 1e-6


@pytest.mark.parametrize("epsilon", ["0.5", "1", "2", "4"])
def test_own_two_categories_certify_nine_tenths_and_never_more(
    epsilon: str, certified: Callable[..., float], never: float
) -> None:
    trials = 1_000_000
    hits, others = (int((respond(np.full(trials, true), 4, epsilon, SystemEntropy()) == 0).sum()) for true in (0, 1))
    assert certified(hits, others, trials) >= 0.9 * float(epsilon)
    assert certified(hits, others, trials, never) <= float(epsilon)


def test_a_report_drawn_from_all_levels_would_certify_less(certified: Callable[..., float]) -> None:
    """The mutation `uniform over all k, the true one included` keeps less than it could; the bar sees it."""
    rng = np.random.default_rng(0)
    keep = transition_matrix(4, "2")[0, 0]
    hits, others = (
        int((np.where(rng.random(10**6) < keep * (3 / 4), t, rng.integers(0, 4, 10**6)) == 0).sum()) for t in (0, 1)
    )
    assert certified(hits, others, 10**6) < 0.9 * 2


def test_frequencies_are_estimated_without_bias() -> None:
    truth = np.array([0.6, 0.25, 0.1, 0.05])
    labels = np.random.default_rng(0).choice(4, 200_000, p=truth)
    reports = respond(labels, 4, "1", SeededEntropy(1))
    estimate = estimate_frequencies(np.bincount(reports, minlength=4), "1")
    assert estimate.sum() == pytest.approx(1)
    assert estimate == pytest.approx(truth, abs=0.01)


def test_the_estimator_inverts_the_transition_matrix_exactly() -> None:
    truth = np.array([0.5, 0.5, 0.0])
    assert estimate_frequencies(truth @ transition_matrix(3, "2"), "2") == pytest.approx(truth)


def test_the_posterior_is_bayes_rule() -> None:
    prior = np.array([0.7, 0.2, 0.1])
    table = posterior(prior, "1")
    assert table.sum(axis=1) == pytest.approx(np.ones(3))
    labels = np.random.default_rng(0).choice(3, 300_000, p=prior)
    reports = respond(labels, 3, "1", SeededEntropy(1))
    for report in range(3):
        found = np.bincount(labels[reports == report], minlength=3) / (reports == report).sum()
        assert table[report] == pytest.approx(found, abs=0.01)


# --- as a mechanism for table cells ---


def test_cells_keep_their_own_levels() -> None:
    mechanism = calibrated("3", 3, levels=[2, [10, -5, 7], 4])
    rows = np.array([[0, 7, 3], [1, -5, 0]])
    released = mechanism.release(rows, SystemEntropy())
    assert released.shape == (2, 3) and released.dtype == np.float64
    for column, levels in enumerate(mechanism.levels):
        assert set(released[:, column]) <= set(levels)
    assert np.array_equal(mechanism.bound(rows), rows)
    assert np.array_equal(mechanism.to_prior(released), released)


def test_likelihoods_are_exact_probabilities_over_all_records() -> None:
    mechanism = calibrated("2", 2, levels=[2, [4, 8, 9]])
    everything = np.array([[a, b] for a in (0, 1) for b in (4, 8, 9)], dtype=float)
    for row in everything:
        assert np.exp(mechanism.log_likelihood(everything, row[None])).sum() == pytest.approx(1)
    spread = mechanism.log_likelihood(everything, everything[:1]) - mechanism.log_likelihood(
        everything, everything[-1:]
    )
    assert np.abs(spread).max() == pytest.approx(2)


def test_record_frequencies_follow_the_likelihood() -> None:
    mechanism = calibrated("2", 2, levels=[2, 3])
    released = mechanism.release(np.tile([[1, 2]], (100_000, 1)), SeededEntropy(2)).astype(int)
    everything = np.array([[a, b] for a in range(2) for b in range(3)], dtype=float)
    expected = np.exp(mechanism.log_likelihood(everything, np.array([[1, 2]])))
    assert chisquare(np.bincount(released[:, 0] * 3 + released[:, 1], minlength=6), expected * 100_000).pvalue > 1e-6


def test_epsilon_is_shared_between_the_cells_or_counted_for_each() -> None:
    whole = calibrated("3", 4, levels=3)
    assert [r.epsilon for r in whole.responses] == [Fraction(3, 4)] * 4
    assert whole.guarantee(4).image_epsilon == 3
    weighted = calibrated("3", 2, levels=3, shares=["1", "2"])
    assert [r.epsilon for r in weighted.responses] == [1, 2]
    each = RandomisedResponse.calibrate(Claim.of(3, unit="element"), 4, levels=3).guarantee(4)
    assert (each.unit, each.epsilon, each.image_epsilon, each.element_epsilon) == ("element", 3, 12, 3)


def test_values_outside_the_levels_are_refused_without_repeating_them() -> None:
    mechanism = calibrated("1", 2, levels=[2, [5, 6]])
    with pytest.raises(ValueError, match="cells of column 1 must be among its 2 levels") as refused:
        mechanism.release(np.array([[0, 123456]]), SystemEntropy())
    assert "123456" not in str(refused.value)
    with pytest.raises(ValueError, match="index must be in"):
        respond(np.array([3]), 3, "1", SystemEntropy())


@pytest.mark.parametrize("odd", [99.0, np.nan, np.inf, 5.5])
def test_values_outside_the_levels_become_the_stated_level(odd: float) -> None:
    mechanism = calibrated("1", 1, levels=[[5, 6]], outside=6)
    assert mechanism.bound(np.array([[odd], [5.0]])).tolist() == [[6], [5]]


def test_bytes_and_batch_independence(counting: type[Any]) -> None:
    mechanism = calibrated("1", 3, levels=4)
    entropy = counting(0)
    mechanism.release(np.zeros((5, 3), dtype=int), entropy)
    assert entropy.count == 5 * 3 * 16
    rows = np.array([[0, 1, 2], [3, 3, 3], [1, 1, 1]])
    altered = rows.copy()
    altered[1] = 0
    one, two = (mechanism.release(batch, SeededEntropy(3)) for batch in (rows, altered))
    assert np.array_equal(one[[0, 2]], two[[0, 2]])


@pytest.mark.parametrize(
    ("claim", "options", "message"),
    [
        (Claim.of(1, "0.1"), {"levels": 3}, "delta must be 0"),
        (Claim.of(1), {}, "levels must be the public levels"),
        (Claim.of(1), {"levels": 1}, "at least two different"),
        (Claim.of(1), {"levels": [3, 3, 3]}, "for 2 columns, got 3"),
        (Claim.of(1), {"levels": [[1, 1], 2]}, "at least two different"),
        (Claim.of(1), {"levels": 3, "shares": ["1", "1"]}, "adding up to 1"),
        (Claim.of(1, unit="element"), {"levels": 3, "shares": ["1", "1"]}, "shares must be absent"),
        (Claim.of(1), {"levels": 3, "outside": 3}, "outside must be one of the levels"),
        (Claim.of(1), {"levels": 3, "clip": 3}, "options must be"),
    ],
)
def test_what_cannot_be_kept_is_refused(claim: Claim, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandomisedResponse.calibrate(claim, 2, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: respond(np.zeros(2), 3, "1", SystemEntropy()), "index must be integers"),
        (lambda: respond(np.zeros(2, int), 1, "1", SystemEntropy()), "levels must be at least 2"),
        (lambda: posterior(np.array([0.0, 0.0]), "1"), "prior must be"),
        (lambda: estimate_frequencies(np.zeros(3), "1"), "counts must be"),
        (lambda: respond(np.zeros(2, int), 3, 0.5, SystemEntropy()), "epsilon must be exact"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments_are_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
