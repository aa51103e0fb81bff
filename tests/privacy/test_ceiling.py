"""Ceilings agree with the published table, and no simulated attacker passes them."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from veilray.privacy.ceiling import (
    attribute_accuracy_ceiling,
    correlation_ceiling,
    mutual_information_ceiling,
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
