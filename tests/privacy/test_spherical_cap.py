"""The probability of the computed upper side: enclosed for every direction."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from mpmath import MPContext
from scipy.integrate import quad
from scipy.special import gammaln, ndtr

from veilray.privacy import Claim
from veilray.privacy.entropy import SeededEntropy
from veilray.privacy.fixed_length import FixedLength
from veilray.privacy.mechanisms.directional import Directional, _computed_side
from veilray.privacy.samplers.normal import normals
from veilray.privacy.spherical_cap import upper_moment, upper_probability, upper_range

EXACT = MPContext()
EXACT.dps = 60


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


def _directions(k: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Unit vectors as `Directional.bound` returns them: dense, along an axis, of very uneven elements, and flat."""
    raw = [rng.standard_normal(k), np.eye(1, k)[0], np.logspace(0, -14, k), np.full(k, 1 / 3.0)]
    mechanism = Directional.calibrate(Claim.of(4), k, form="sphere")
    return [mechanism.bound(row[None])[0] for row in raw]


def _cosine(v: np.ndarray, u: np.ndarray) -> Any:
    """Of the angle between two float vectors, to 60 digits."""
    inner, square, length = (
        sum(Fraction(a) * Fraction(b) for a, b in zip(x, y, strict=True)) for x, y in ((v, u), (v, v), (u, u))
    )
    lengths = EXACT.sqrt(EXACT.mpf((square * length).numerator) / (square * length).denominator)
    return EXACT.mpf(inner.numerator) / inner.denominator / lengths


def _switch(block: FixedLength, u: np.ndarray, across: np.ndarray, swing: np.ndarray) -> tuple[Any, Any]:
    """The cosines of two neighbouring candidates of which the computed test says lower and upper.

    Candidates lie on the way from `across`, at right angles to u, to u itself; `swing` is large, nearly at right angles
    to u, and makes the sums cancel.
    """

    def candidate(t: float) -> np.ndarray:
        return np.asarray(across + swing + t * u)

    low, high = -1e6, 1e9
    while (middle := (low + high) / 2) not in (low, high):
        upper = bool(_computed_side(block, candidate(middle)[None, None], u[None])[0, 0])
        low, high = (low, middle) if upper else (middle, high)
    return _cosine(candidate(low), u), _cosine(candidate(high), u)


@pytest.mark.parametrize("k", [2, 3, 8, 64, 784])
@pytest.mark.parametrize("gamma", [0.0, 0.031, 0.7, 0.9999])
def test_the_computed_cap_switches_within_tau_of_gamma(k: int, gamma: float) -> None:
    """Against exact rational arithmetic, for random and adversarial directions and candidates."""
    rng = np.random.default_rng(k)
    block = FixedLength("sphere", k, gamma, 16, 2**63, (Fraction(0), Fraction(1)))
    worst = EXACT.mpf(0)
    for u in _directions(k, rng):
        for large in (0.0, 1.0, 1e3):
            across, swing = rng.standard_normal((2, k))
            across -= (across @ u) * u
            swing = large * (swing - (swing @ u) * u)
            for cosine in _switch(block, u, across, swing):
                worst = max(worst, abs(cosine - EXACT.mpf(gamma)))
    tau = EXACT.mpf((4 * k + 32) * 2.0**-52)
    derived = EXACT.mpf((1.82 * k + 9.4) * 2.0**-52)
    assert worst <= derived < tau
    assert worst > 2.0**-58  # the measurement sees roundings: it is no comparison of a number with itself
