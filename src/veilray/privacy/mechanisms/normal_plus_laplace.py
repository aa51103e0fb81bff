"""The law of N(0, 1) + Laplace(b), and the monotone map that brings it back to N(0, 1).

With Q the upper tail of the normal law and erfcx(x) = exp(x^2) erfc(x), for y >= 0 (the law is symmetric)

    S(y) = Pr[Y > y] = Q(y) + A/2 - C/2,
    A = exp(1/(2b^2) - y/b) Phi(y - 1/b),    C = exp(1/(2b^2) + y/b) Q(y + 1/b),

which follows from splitting Pr[L > y - X] at X = y and completing the square; C = exp(-y^2/2) erfcx(x) / 2 at
x = (y + 1/b) / sqrt 2. Written naively the factors are exp(+500,000) times exp(-500,000) at b = 1e-3; here every factor
is either a scaled erfcx or a logarithm, so the map is finite for b from 1e-3 to 1e7 and |y| up to 1e9, and beyond.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtri_exp

__all__ = ["LARGEST", "log_upper_tail", "to_normal"]

LARGEST = 8.0
"""Where the map is clamped: an N(0, 1) latent passes 8 once in 10^15."""

_SQRT_HALF = math.sqrt(0.5)


def log_upper_tail(y: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """log Pr[N(0, 1) + Laplace(scale) > y] for y >= 0; nats."""
    rate = 1 / scale
    # Q(y) - C/2 = exp(-y^2/2) (erfcx(y/sqrt2)/2 - erfcx((y+rate)/sqrt2)/4): at least half its first term.
    gaussian = erfcx(y * _SQRT_HALF) / 2 - erfcx((y + rate) * _SQRT_HALF) / 4
    near = y < rate
    # Below y = 1/b the exponent of A is positive and its Phi tiny: together exp(-y^2/2) erfcx(.) / 2.
    bridge = erfcx(np.where(near, rate - y, 0.0) * _SQRT_HALF) / 4
    first = -y * y / 2 + np.log(gaussian + np.where(near, bridge, 0.0))
    exponent = np.where(near, -np.inf, rate * (rate / 2 - y))
    return np.asarray(np.logaddexp(first, exponent + log_ndtr(y - rate) - math.log(2)))


def to_normal(y: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Phi^-1(F(y)) with F the cdf of N(0, 1) + Laplace(scale): increasing, odd, finite, within +-8.

    Sources: the probability integral transform; Cephes `erfcx`, and `ndtri_exp` for tails that underflow.
    """
    size = np.abs(y)
    return np.asarray(np.copysign(np.clip(-ndtri_exp(log_upper_tail(size, scale)), 0.0, LARGEST), y))
