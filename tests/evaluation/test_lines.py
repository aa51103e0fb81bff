"""Lines: reached by the extreme mechanisms, passed by none, ordered in every argument."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import norm

from veilray.evaluation.lines import (
    Claimed,
    balanced_accuracy,
    balanced_accuracy_mu,
    reidentification,
    reidentification_mu,
    same_image_auc,
    verification_auc,
    verification_auc_mu,
)
from veilray.privacy import MECHANISMS, Claim

epsilons = st.floats(0, 30)
deltas = st.floats(0, 0.5)
mus = st.floats(0, 12)
galleries = st.integers(2, 2000)


@given(epsilons, deltas)
def test_randomised_response_that_sometimes_tells_all_reaches_both_lines(epsilon: float, delta: float) -> None:
    right = 1 / (1 + math.exp(-epsilon))
    told = delta + (1 - delta) * right
    assert balanced_accuracy(epsilon, delta) == pytest.approx(told)
    # Own above other: own tells; or other tells and own does not; or neither does and the coin decides.
    ordered = delta + delta * (1 - delta) + (1 - delta) ** 2 * same_image_auc(right, 1 - right)
    assert verification_auc(epsilon, delta) == pytest.approx(ordered)


@given(epsilons, galleries, deltas)
def test_many_valued_randomised_response_reaches_reidentification(epsilon: float, n: int, delta: float) -> None:
    right = 1 / (1 + (n - 1) * math.exp(-epsilon))
    assert reidentification(epsilon, n, delta) == pytest.approx(delta + (1 - delta) * right)


@given(mus)
def test_two_normals_reach_the_gaussian_lines(mu: float) -> None:
    assert balanced_accuracy_mu(mu) == pytest.approx((norm.cdf(mu / 2) + 1 - norm.sf(mu / 2)) / 2)
    area = quad(lambda t: norm.pdf(t - mu) * norm.cdf(t), -9, mu + 9, limit=200)[0]
    assert verification_auc_mu(mu) == pytest.approx(area, abs=1e-6)


@given(mus)
def test_two_candidates_are_an_attribute(mu: float) -> None:
    assert reidentification_mu(mu, 2) == pytest.approx(balanced_accuracy_mu(mu), abs=1e-9)
    assert reidentification(mu, 2) == pytest.approx(balanced_accuracy(mu))


@pytest.mark.parametrize("mu", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("n", [3, 20, 500])
def test_normals_at_the_corners_of_a_simplex_stay_below(mu: float, n: int) -> None:
    """N means at distance mu from each other: the hardest family to draw that mu allows."""
    step = mu / math.sqrt(2)
    best = quad(lambda t: norm.pdf(t - step) * ndtr(t) ** (n - 1), -9, step + 9, limit=200)[0]
    assert 1 / n < best < reidentification_mu(mu, n) < 1


@given(epsilons, galleries, deltas, st.integers(1, 5))
def test_lines_grow_with_what_is_spent(epsilon: float, n: int, delta: float, releases: int) -> None:
    for more in ((epsilon + 0.1, delta, releases), (epsilon, delta + 0.01, releases), (epsilon, delta, releases + 1)):
        assert reidentification(more[0], n, more[1], more[2]) >= reidentification(epsilon, n, delta, releases) - 1e-12
        assert balanced_accuracy(*more) >= balanced_accuracy(epsilon, delta, releases) - 1e-12
        assert verification_auc(*more) >= verification_auc(epsilon, delta, releases) - 1e-12


@given(mus, galleries)
def test_gaussian_reidentification_lies_between_chance_and_one(mu: float, n: int) -> None:
    line = reidentification_mu(mu, n)
    assert 1 / n <= line <= 1
    assert reidentification_mu(mu + 0.1, n) >= line - 1e-9
    assert reidentification_mu(mu, n + 1) <= line + 1e-9


def test_limits() -> None:
    assert reidentification(0, 100) == reidentification_mu(0, 100) == pytest.approx(0.01)
    assert reidentification(Fraction(10**30), 100) == 1
    assert reidentification_mu(3.0, 1) == 1
    assert balanced_accuracy(0) == balanced_accuracy_mu(0) == 0.5
    assert verification_auc(0) == verification_auc_mu(0) == 0.5
    assert verification_auc(0, delta=1) == 1


def test_releases_add_up() -> None:
    assert reidentification(Fraction(1, 2), 50, 0.001, releases=4) == reidentification(2, 50, 0.004)
    assert verification_auc_mu(0.5, releases=4) == verification_auc_mu(1.0)


def test_a_claim_draws_the_lower_of_its_lines() -> None:
    gaussian = Claimed.of(MECHANISMS["gaussian"].calibrate(Claim.of("4", "1e-5"), 8).guarantee(8))
    assert gaussian.mu is not None
    assert gaussian.verification_auc() == verification_auc_mu(gaussian.mu) < verification_auc(4, 1e-5)
    assert gaussian.reidentification(100) < reidentification(4, 100, 1e-5)
    assert gaussian.balanced_accuracy(2) == balanced_accuracy_mu(gaussian.mu, 2)
    pure = Claimed.of(MECHANISMS["laplace"].calibrate(Claim.of("1/8", unit="element"), 8).guarantee(8))
    assert pure.balanced_accuracy() == balanced_accuracy(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reidentification(1, 0), "candidates must be at least 1"),
        (lambda: reidentification_mu(1, 0), "candidates must be at least 1"),
        (lambda: balanced_accuracy(-1), "epsilon must be at least 0"),
        (lambda: balanced_accuracy_mu(-1), "mu must be at least 0"),
        (lambda: verification_auc(1, 1.5), r"delta must be in \[0, 1\]"),
        (lambda: verification_auc(1, releases=0), "releases must be at least 1"),
        (lambda: same_image_auc(1.2, 0.1), r"p and q must be in \[0, 1\]"),
    ],
)
def test_impossible_claims_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
