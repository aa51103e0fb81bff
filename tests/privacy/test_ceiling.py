"""Ceilings agree with the published table, and no simulated attacker passes them."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import MPContext

from veilray.privacy.ceiling import (
    attribute_accuracy_ceiling,
    correlation_ceiling,
    mutual_information_at_most,
    mutual_information_ceiling,
    reidentification_at_most,
    reidentification_ceiling,
    verification_auc_ceiling,
)


@pytest.mark.parametrize(
    ("epsilon", "nats"), [("0.1", 0.0012), (1, 0.123), (2, 0.474), (4, 1.67), (8, 4.92), (16, 12.2), (64, 58.8)]
)
def test_mutual_information_as_tabulated(epsilon, nats):
    assert mutual_information_ceiling(Fraction(epsilon)) == pytest.approx(nats, rel=0.05 if nats < 0.01 else 0.005)


@pytest.mark.parametrize(
    ("dimension", "epsilon", "rho"),
    [(64, 1, 0.0620), (64, 8, 0.378), (64, 64, 0.917), (1024, 8, 0.0978), (1024, 64, 0.330), (65536, 1000, 0.173)],
)
def test_correlation_as_tabulated(dimension, epsilon, rho):
    assert correlation_ceiling(epsilon, dimension) == pytest.approx(rho, rel=0.005)


def test_the_series_meets_the_closed_form():
    assert mutual_information_ceiling(0.99999e-3) == pytest.approx(mutual_information_ceiling(1.00001e-3), rel=1e-4)


def test_randomised_response_reaches_each_attack_ceiling():
    # k-ary randomised response over N candidates is the extreme case: its best guess is right with exactly this.
    epsilon, candidates = 2.0, 10
    right = math.exp(epsilon) / (math.exp(epsilon) + candidates - 1)
    assert reidentification_ceiling(epsilon, candidates) == pytest.approx(right)
    assert attribute_accuracy_ceiling(epsilon) == pytest.approx(1 / (1 + math.exp(-epsilon)))
    p = 1 / (1 + math.exp(-epsilon))
    assert verification_auc_ceiling(epsilon) >= p * p + p * (1 - p)  # AUC of a binary score: ties count half


def test_nothing_is_known_at_zero_and_everything_at_infinity():
    assert reidentification_ceiling(0, 1000) == pytest.approx(0.001)
    assert reidentification_ceiling(Fraction(10**400), 1000) == 1
    assert attribute_accuracy_ceiling(0) == 0.5
    assert verification_auc_ceiling(0) == 0.5
    assert verification_auc_ceiling(0, delta=1.0) == 1


@pytest.mark.parametrize("bad", [-1.0, float("nan")])
def test_negative_epsilon_is_refused(bad):
    with pytest.raises(ValueError, match="epsilon must be at least 0"):
        mutual_information_ceiling(bad)


def test_counts_below_one_are_refused():
    with pytest.raises(ValueError, match="dimension must be at least 1"):
        correlation_ceiling(1, 0)
    with pytest.raises(ValueError, match="candidates must be at least 1"):
        reidentification_ceiling(1, 0)


EXACT = MPContext()
EXACT.dps = 400
EPSILONS = st.one_of(
    st.fractions(min_value=Fraction(1, 10**9), max_value=60),
    st.builds(lambda n, p: Fraction(n) * Fraction(10) ** p, st.integers(1, 999), st.integers(-60, 12)),
)


def _at(value: Fraction):
    return EXACT.mpf(value.numerator) / value.denominator


@given(EPSILONS)
def test_printed_nats_cover_the_error_of_floats(epsilon):
    true = _at(epsilon) / (1 - EXACT.exp(-_at(epsilon)))
    true = true - 1 - EXACT.log(true)
    assert true <= _at(mutual_information_at_most(epsilon)) <= true * (1 + EXACT.mpf(10) ** -6)


@given(EPSILONS, st.integers(1, 10**6), st.fractions(0, 1))
def test_printed_odds_cover_the_error_of_floats(epsilon, candidates, delta):
    others = (candidates - 1) * EXACT.exp(-_at(epsilon))
    true = min((1 + others * _at(delta)) / (1 + others), EXACT.mpf(1))
    shown = _at(reidentification_at_most(epsilon, candidates, delta))
    rounding = EXACT.mpf(10) ** (2 - EXACT.dps)  # of the figures compared here
    assert true * (1 - rounding) <= shown <= true + EXACT.mpf(10) ** -40


def test_floats_alone_would_understate_the_odds():
    """Why the printed figure is enclosed: rounding to nearest falls below the true value for some claims."""
    claims = [Fraction(n, 16) for n in range(1, 100)]
    assert any(Fraction(reidentification_ceiling(e, 1000)) < reidentification_at_most(e, 1000) for e in claims)


def test_the_correlation_ceiling_is_no_bound_for_latents_that_are_not_normal():
    """Private latents at +-v: their sign by randomised response keeps epsilon and nearly all of the correlation."""
    epsilon, dimension = 8.0, 784
    reached = math.tanh(epsilon / 2)  # E[s s'] = 2 p - 1
    assert correlation_ceiling(epsilon, dimension) < 0.12
    assert reached > 0.999
    # The nats hold for these latents too: a sign tells ln 2 at most.
    p = 1 / (1 + math.exp(-epsilon))
    told = math.log(2) + p * math.log(p) + (1 - p) * math.log1p(-p)
    assert told <= mutual_information_ceiling(epsilon)


@pytest.mark.parametrize("bad", [Fraction(-1), Fraction(-1, 10**9)])
def test_negative_epsilon_is_refused_by_the_enclosures_too(bad):
    with pytest.raises(ValueError, match="epsilon must be at least 0"):
        mutual_information_at_most(bad)
    with pytest.raises(ValueError, match="epsilon must be at least 0"):
        reidentification_at_most(bad, 2)
    with pytest.raises(ValueError, match="candidates must be at least 1"):
        reidentification_at_most(Fraction(1), 0)
