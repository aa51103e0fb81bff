"""The probability of the computed upper side: enclosed for every direction."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gammaln, ndtr

from veilray.privacy.entropy import SeededEntropy
from veilray.privacy.samplers.normal import normals
from veilray.privacy.spherical_cap import upper_moment, upper_probability, upper_range


@pytest.mark.parametrize("k", [1, 2, 8, 1024, 12288])
@pytest.mark.parametrize("gamma", [0.0, 0.4, 1.5, 2.74])
def test_the_gaussian_range_holds_the_true_tail_and_is_narrow(k: int, gamma: float) -> None:
    low, high = upper_range("gaussian", k, gamma)
    assert low < Fraction(float(ndtr(-gamma))) < high
    assert high / low - 1 < Fraction(1, 10**4)


@pytest.mark.parametrize("k", [1, 8, 1024])
@pytest.mark.parametrize("gamma", [0.0, 0.4, 2.74])
def test_the_gaussian_range_leaves_room_for_the_coupling_on_both_sides(k: int, gamma: float) -> None:
    low, high = upper_range("gaussian", k, gamma)
    moved = math.sqrt(k) * 4.99e-8 * math.exp(-(gamma**2) / 2) / math.sqrt(2 * math.pi)
    assert float(high) >= ndtr(-gamma) + moved
    assert float(low) <= ndtr(-gamma) - moved


@pytest.mark.parametrize("k", [2, 8, 1024])
@pytest.mark.parametrize("scaled", [0.0, 0.4, 1.2])
def test_the_sphere_range_leaves_room_for_the_coupling_on_both_sides(k: int, scaled: float) -> None:
    gamma = scaled / math.sqrt(k)
    share = upper_probability("sphere", k, gamma)
    # To first order: the angle's density at the edge, times |v - n| E[1 / |n|].
    inverse = math.exp(gammaln((k - 1) / 2) - gammaln(k / 2)) / math.sqrt(2)
    density = math.exp(gammaln(k / 2) - gammaln((k - 1) / 2)) / math.sqrt(math.pi) * (1 - gamma**2) ** (k / 2 - 1)
    moved = density * math.sqrt(k) * 4.99e-8 * inverse
    low, high = upper_range("sphere", k, gamma)
    assert float(high) >= share + moved
    assert float(low) <= share - moved


@pytest.mark.parametrize("k", [2, 3, 8, 64, 1024])
@pytest.mark.parametrize("scaled", [0.0, 0.4, 1.2])
def test_the_sphere_range_holds_the_cap_by_integration_and_is_narrow(k: int, scaled: float) -> None:
    gamma = scaled / math.sqrt(k)
    log_c = gammaln(k / 2) - gammaln((k - 1) / 2) - math.log(math.pi) / 2
    share = quad(lambda t: math.exp(log_c) * math.sin(t) ** (k - 2), 0, math.acos(gamma), epsabs=1e-14, limit=200)[0]
    low, high = upper_range("sphere", k, gamma)
    assert float(low) < share + 1e-12 and share - 1e-12 < float(high)
    assert float(high / low) - 1 < 1e-4
    assert upper_probability("sphere", k, gamma) == pytest.approx(share, rel=1e-9)


@pytest.mark.parametrize("k", [2, 3, 8, 64])
def test_sphere_moments_by_integration(k: int) -> None:
    gamma = 0.3
    log_c = gammaln(k / 2) - gammaln((k - 1) / 2) - math.log(math.pi) / 2
    angle = math.acos(gamma)
    moment = quad(lambda t: math.exp(log_c) * math.sin(t) ** (k - 2) * math.cos(t), 0, angle)[0]
    assert upper_moment("sphere", k, gamma) == pytest.approx(moment, rel=1e-9)


@pytest.mark.parametrize("k", [2, 64, 1024])
@pytest.mark.parametrize("shape", ["axis", "dense", "two"])
def test_the_computed_projection_errs_less_than_the_proof_allows(k: int, shape: str) -> None:
    """Float dot products against exact rational ones, for axis-aligned and dense directions."""
    rng = np.random.default_rng(k)
    unit = {"axis": np.eye(1, k)[0], "dense": rng.standard_normal(k), "two": np.eye(2, k).sum(axis=0)}[shape]
    unit = unit / np.sqrt(unit @ unit)
    candidates = normals(SeededEntropy(k).words((20, k), np.uint64))
    allowed = 1.02 * (k + 2) * 2.0**-53 * math.sqrt(k) * 9.5
    assert abs(float(sum(Fraction(x) ** 2 for x in unit)) ** 0.5 - 1) <= (k + 8) * 2.0**-52
    for candidate, computed in zip(candidates, np.matmul(candidates, unit), strict=True):
        true = sum(Fraction(a) * Fraction(b) for a, b in zip(candidate, unit, strict=True))
        assert abs(Fraction(float(computed)) - true) <= Fraction(allowed)


def test_a_wider_dimension_never_narrows_the_range() -> None:
    widths = [float(high - low) for low, high in (upper_range("gaussian", k, 1.5) for k in (1, 8, 64, 1024, 12288))]
    assert widths == sorted(widths)
