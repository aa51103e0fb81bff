"""The quantile map: right where it can be checked, finite and monotone everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import MPContext

from veilray.privacy.mechanisms.normal_plus_laplace import LARGEST, log_upper_tail, to_normal

TRUE = MPContext()
TRUE.dps = 60


@pytest.mark.parametrize("scale", [0.01, 0.1, 0.75, 1.0, 4.0, 100.0, 1e6])
@pytest.mark.parametrize("y", [0.0, 1e-6, 0.3, 1.0, 5.0, 12.0])
def test_the_tail_agrees_with_numerical_integration(scale, y):
    def density(x):
        tail = TRUE.exp(-abs(y - x) / scale) / 2
        return TRUE.npdf(x) * (tail if x <= y else 1 - tail)

    # Beyond 40 scales of y the Laplace part is constant to all digits: give the kink its own pieces.
    points = sorted({-14.0, y - 40 * scale, y - scale, y, y + scale, y + 40 * scale, 0.0, 14.0 + y})
    points = [p for p in points if -14.0 <= p <= 14.0 + y]
    true = TRUE.quad(density, points)
    assert float(log_upper_tail(np.array([y]), scale)[0]) == pytest.approx(float(TRUE.log(true)), abs=2e-9, rel=2e-9)


@pytest.mark.parametrize("scale", [1e-3, 0.03, 1.0, 50.0, 1e4, 1e7])
def test_finite_odd_and_increasing_from_tiny_to_enormous(scale):
    size = np.concatenate([[0.0], np.logspace(-9, 9, 4000)])
    found = to_normal(size, scale)
    assert np.isfinite(found).all()
    assert (np.diff(found) >= -1e-12).all()
    assert found[0] == 0
    assert found[-1] == LARGEST
    assert np.array_equal(to_normal(-size, scale), -found)


def test_without_noise_it_is_the_identity_and_with_much_it_is_the_laplace_quantile():
    y = np.linspace(0.1, 5, 20)
    assert to_normal(y, 1e-3) == pytest.approx(y, rel=1e-5)
    from scipy.special import ndtri_exp

    wide = np.linspace(0.1, 5, 20) * 1e5
    assert to_normal(wide, 1e5) == pytest.approx(-ndtri_exp(-wide / 1e5 - np.log(2)), rel=1e-4)


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e7))
def test_every_value_maps_within_eight(y, scale):
    assert abs(to_normal(np.array([y]), scale)[0]) <= LARGEST
