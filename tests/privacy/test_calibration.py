"""Gaussian calibration: known values, an independent library, the safe side, and the rule that must not be used."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from dp_accounting import get_epsilon_gaussian, get_sigma_gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from veilray.privacy.calibration import (
    gaussian_delta,
    gaussian_epsilon,
    gaussian_mu,
    gaussian_sigma,
    round_down,
    round_up,
    sqrt_up,
)

EPSILONS = st.fractions(min_value=Fraction(1, 1000), max_value=200, max_denominator=10**6)
DELTAS = st.integers(1, 30).flatmap(lambda power: st.integers(1, 9).map(lambda lead: Fraction(lead, 10**power)))


@pytest.mark.parametrize(
    ("epsilon", "delta", "sigma"),
    # 64: PRIVACY table; the others Balle and Wang's own code, as in dp-accounting.
    [("64", "1e-6", 0.1319), ("1", "1e-6", 4.2247), ("8", "1e-6", 0.6529), ("0.5", "1e-5", 7.0318)],
)
def test_known_values(epsilon, delta, sigma):
    assert float(gaussian_sigma(Fraction(epsilon), Fraction(delta))) == pytest.approx(sigma, rel=2e-4)


@pytest.mark.parametrize("epsilon", ["0.1", "0.5", "1", "4", "16", "64"])
@pytest.mark.parametrize("delta", ["1e-3", "1e-6", "1e-10"])
def test_agrees_with_dp_accounting(epsilon, delta):
    ours = gaussian_sigma(Fraction(epsilon), Fraction(delta))
    assert float(ours) == pytest.approx(get_sigma_gaussian(float(epsilon), float(delta)), rel=1e-6)
    back = gaussian_epsilon(1 / ours, Fraction(delta))
    assert float(back) == pytest.approx(get_epsilon_gaussian(float(ours), float(delta)), rel=1e-6)


@given(EPSILONS, DELTAS)
@settings(max_examples=40, deadline=None)
def test_every_figure_is_on_the_safe_side_and_nearly_tight(epsilon, delta):
    mu = gaussian_mu(epsilon, delta)
    assert gaussian_delta(epsilon, mu) <= round_up(delta)
    assert gaussian_delta(epsilon, mu * (1 + Fraction(1, 10**9))) > delta
    charged = gaussian_epsilon(mu, delta)
    assert gaussian_delta(charged, mu) <= round_up(delta)
    assert charged <= epsilon * (1 + Fraction(1, 10**9))


@given(EPSILONS, DELTAS)
@settings(max_examples=20, deadline=None)
def test_sigma_is_rounded_up(epsilon, delta):
    assert gaussian_sigma(epsilon, delta) * gaussian_mu(epsilon, delta) >= 1


def test_five_twenty_and_a_hundred_releases_compose_as_published():
    mu = gaussian_mu(Fraction(1), Fraction(1, 10**6))
    for count, epsilon in ((5, 2.400), (20, 5.214), (100, 13.507)):
        total = gaussian_epsilon(sqrt_up(count * mu * mu), Fraction(1, 10**6))
        assert float(total) == pytest.approx(epsilon, abs=6e-4)


def test_the_textbook_rule_gives_too_little_noise_at_large_epsilon():
    epsilon, delta = Fraction(64), Fraction(1, 10**6)
    textbook = math.sqrt(2 * math.log(1.25 / float(delta))) / float(epsilon)
    assert textbook == pytest.approx(0.083, abs=5e-4)
    assert gaussian_delta(epsilon, Fraction(1 / textbook)) > 100 * delta
    assert float(gaussian_sigma(epsilon, delta)) == pytest.approx(0.132, abs=5e-4)


def test_delta_is_the_area_between_the_densities():
    # An independent check of the formula itself: integrate (p - e^eps q)+ numerically.
    epsilon, mu = 1.5, 2.0
    x = np.linspace(-12, 16, 400_001)
    p, q = np.exp(-((x - mu) ** 2) / 2), np.exp(-(x**2) / 2)
    area = np.trapezoid(np.maximum(p - math.exp(epsilon) * q, 0), x) / math.sqrt(2 * math.pi)
    assert float(gaussian_delta(Fraction(3, 2), Fraction(2))) == pytest.approx(area, rel=1e-6)


@pytest.mark.parametrize("epsilon", [Fraction(1, 10**10), Fraction(10**5), Fraction(10**8)])
@pytest.mark.parametrize("delta", [Fraction(1, 10**300), Fraction(1, 10**6), Fraction(99, 100)])
def test_extreme_claims_are_proved_too(epsilon, delta):
    mu = gaussian_mu(epsilon, delta)
    assert 0 < gaussian_delta(epsilon, mu) <= round_up(delta)
    assert gaussian_epsilon(mu, delta) == pytest.approx(epsilon, rel=1e-4)


def test_so_little_signal_needs_no_epsilon():
    assert gaussian_epsilon(Fraction(1, 10**9), Fraction(1, 10**6)) == 0


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="delta must be in"):
        gaussian_mu(Fraction(1), Fraction(0))
    with pytest.raises(ValueError, match="delta must be in"):
        gaussian_epsilon(Fraction(1), Fraction(1))
    with pytest.raises(ValueError, match="epsilon must be in"):
        gaussian_delta(Fraction(-1), Fraction(1))
    with pytest.raises(ValueError, match="mu must be above 0"):
        gaussian_delta(Fraction(1), Fraction(0))
    with pytest.raises(ValueError, match="mu must be small enough"):
        gaussian_epsilon(Fraction(10**6), Fraction(1, 10**6))


@given(st.fractions(min_value=Fraction(1, 10**30), max_value=10**30))
def test_rounding_goes_one_way_and_is_exact_in_float64(value):
    up, down = round_up(value), round_down(value)
    assert down <= value <= up
    assert up - down <= value * Fraction(1, 2**46)
    assert Fraction(float(up)) == up
    assert sqrt_up(value) ** 2 >= value
    assert sqrt_up(value) ** 2 <= value * (1 + Fraction(1, 2**45))


def test_rounding_zero_is_zero():
    assert round_down(Fraction(0)) == 0
