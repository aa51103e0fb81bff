"""Bounds from counts: against scipy, by hand, and by how often they are wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from veilray.evaluation.audit import (
    DISPLAY,
    Counts,
    certified,
    clopper_pearson_lower,
    clopper_pearson_upper,
    decision_confidence,
)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 10), (37, 100), (100, 100), (731_000, 1_000_000)])
@pytest.mark.parametrize("confidence", [0.95, DISPLAY, 1 - 1e-8])
def test_clopper_pearson_agrees_with_scipy(successes: int, trials: int, confidence: float) -> None:
    lower = binomtest(successes, trials, alternative="greater").proportion_ci(confidence, "exact").low
    upper = binomtest(successes, trials, alternative="less").proportion_ci(confidence, "exact").high
    assert clopper_pearson_lower(successes, trials, confidence) == pytest.approx(lower, abs=1e-9)
    assert clopper_pearson_upper(successes, trials, confidence) == pytest.approx(upper, abs=1e-9)


def test_epsilon_is_the_log_odds_of_the_guesses() -> None:
    share = clopper_pearson_lower(800, 1000, 0.99)
    assert certified(Counts(800, 200, 5000), "epsilon", 0.99) == pytest.approx(math.log(share / (1 - share)))


def test_a_delta_is_taken_off_before_the_ratio() -> None:
    counts = Counts(400, 1, 1000)
    without = certified(counts, "epsilon", 0.99, delta=1e-9)
    assert certified(counts, "epsilon", 0.99, delta=0.3) < without
    assert certified(counts, "epsilon", 0.99, delta=0.5) == 0


def test_mu_is_twice_the_quantile_without_abstention_and_two_bounds_with_it() -> None:
    share = clopper_pearson_lower(700, 1000, 0.99)
    assert certified(Counts(700, 300, 1000), "mu", 0.99) == pytest.approx(2 * norm.ppf(share))
    low, high = clopper_pearson_lower(300, 1000, 0.995), clopper_pearson_upper(100, 1000, 0.995)
    assert certified(Counts(300, 100, 1000), "mu", 0.99) == pytest.approx(norm.ppf(low) - norm.ppf(high))


def test_nothing_is_certified_from_no_guess_or_wrong_guesses() -> None:
    assert certified(Counts(0, 0, 100), "epsilon", 0.99) == 0
    assert certified(Counts(10, 90, 100), "epsilon", 0.99) == 0
    assert certified(Counts(10, 90, 100), "mu", 0.99) == 0


def test_the_ceiling_is_the_log_of_the_trials() -> None:
    """All guesses right: no more can be certified than the trials can show, whatever leaks."""
    assert certified(Counts(100_000, 0, 100_000), "epsilon", 0.99) == pytest.approx(9.98, abs=0.03)
    assert certified(Counts(1_000_000, 0, 1_000_000), "epsilon", 0.99) == pytest.approx(12.29, abs=0.03)


def test_a_mechanism_on_its_line_is_above_it_once_in_a_hundred() -> None:
    share = math.e / (1 + math.e)
    right = np.random.default_rng(1).binomial(20_000, share, size=4000)
    above = sum(certified(Counts(int(r), 20_000 - int(r), 20_000), "epsilon", DISPLAY) > 1 for r in right)
    assert 15 <= above <= 70
    decided = decision_confidence(57)
    assert not any(certified(Counts(int(r), 20_000 - int(r), 20_000), "epsilon", decided) > 1 for r in right)


def test_the_family_shares_one_in_a_million() -> None:
    assert 1 - decision_confidence(50) == pytest.approx(2e-8, rel=1e-6)
    with pytest.raises(ValueError, match="tests must be at least 1, got 0"):
        decision_confidence(0)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"successes must be in \[0, trials\]"):
        clopper_pearson_lower(11, 10, 0.99)
    with pytest.raises(ValueError, match="confidence must be in"):
        clopper_pearson_upper(1, 10, 1.0)
