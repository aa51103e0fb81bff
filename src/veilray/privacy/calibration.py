"""How much Gaussian noise a claim needs: the analytic Gaussian mechanism, every figure rounded to the safe side.

Two neighbouring inputs at distance Delta under N(0, sigma^2 I) are told apart exactly as N(0, 1) from N(mu, 1) with
mu = Delta / sigma, and

    delta(epsilon) = Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu)

is the smallest delta for that epsilon (Balle and Wang 2018, "Improving the Gaussian Mechanism for Differential
Privacy", theorem 8; mu is the parameter of Gaussian differential privacy: Dong, Roth and Su 2022). It grows with mu and
falls with epsilon, so each of the three follows from the other two. The textbook's square-root rule holds for epsilon
below 1 only and gives too little noise at large epsilon; it is not used anywhere.

A search in floating point proposes a figure; interval arithmetic (`normal_tail`) then proves it, and a figure that it
cannot prove is moved to the safe side until it can. So what is returned is proved, and close to tight.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from scipy.special import erfcx, ndtr

from veilray.privacy.normal_tail import exp_between, upper_tail

__all__ = ["gaussian_delta", "gaussian_epsilon", "gaussian_mu", "gaussian_sigma", "round_down", "round_up", "sqrt_up"]

_BITS = 48
"""Significant bits of a figure that is returned: 3e-15 from the tight one at most, and short as text."""

_LARGEST_EPSILON = 10**9
_PLAIN_FROM = 10**5
_MU_OF_CERTAINTY = 20  # delta at epsilon 0 is 1 - 1e-23 here: no claim needs epsilon 0 beyond, and its tail is long
_SQRT_2 = math.sqrt(2)
_SQRT_HALF_PI = math.sqrt(math.pi / 2)  # R(x) = sqrt(pi/2) erfcx(x / sqrt 2)


def gaussian_delta(epsilon: Fraction, mu: Fraction) -> Fraction:
    """The smallest delta for `epsilon` at `mu`, rounded up.

    Raises:
        ValueError: for a negative epsilon, one above 10^9, or a mu that is not positive.

    Example:
        >>> f"{float(gaussian_delta(Fraction(1), Fraction(1))):.6f}"
        '0.126937'
    """
    _check_epsilon(epsilon)
    _check_mu(mu)
    return min(Fraction(1), round_up(_delta_at_most(epsilon, mu)))


@lru_cache(maxsize=1024)
def gaussian_mu(epsilon: Fraction, delta: Fraction) -> Fraction:
    """The largest mu = Delta / sigma that keeps (epsilon, delta), rounded down.

    Raises:
        ValueError: for an epsilon outside [0, 10^9] or a delta outside (0, 1).
    """
    _check_epsilon(epsilon)
    _check_delta(delta)
    target, near = _log(delta), float(epsilon)
    high = 1.0
    while _log_delta_near(near, high) <= target:
        high *= 2
    low = high
    while _log_delta_near(near, low) > target:
        low /= 2
    proposed = _bisect(low, 2 * low, lambda mu: _log_delta_near(near, mu) <= target)
    return _prove(proposed, -1, lambda mu: _delta_at_most(epsilon, mu) <= delta)


def gaussian_sigma(epsilon: Fraction, delta: Fraction) -> Fraction:
    """The smallest sigma / Delta that keeps (epsilon, delta), rounded up.

    Example:
        >>> f"{float(gaussian_sigma(Fraction(64), Fraction(1, 10**6))):.4f}"
        '0.1319'
    """
    return round_up(1 / gaussian_mu(epsilon, delta))


@lru_cache(maxsize=1024)
def gaussian_epsilon(mu: Fraction, delta: Fraction) -> Fraction:
    """The smallest epsilon for `delta` at `mu`, rounded up; 0 where even that is kept.

    Raises:
        ValueError: for a mu that is not positive, a delta outside (0, 1), or where epsilon would exceed 10^9.
    """
    _check_mu(mu)
    _check_delta(delta)
    if mu < _MU_OF_CERTAINTY and _delta_at_most(Fraction(0), mu) <= delta:
        return Fraction(0)
    target, near = _log(delta), float(mu)
    high = 1.0
    while _log_delta_near(high, near) > target:
        high *= 2
        if high > 2 * _LARGEST_EPSILON:
            raise ValueError(f"mu must be small enough for an epsilon of at most {_LARGEST_EPSILON}, got {near:.6g}")
    proposed = _bisect(high, 0.0, lambda epsilon: _log_delta_near(epsilon, near) <= target)
    return _prove(proposed, 1, lambda epsilon: _delta_at_most(epsilon, mu) <= delta)


def round_up(value: Fraction, bits: int = _BITS) -> Fraction:
    """The next number of at most `bits` significant binary digits, at or above `value` > 0; exact in float64."""
    return -round_down(-value, bits)


def round_down(value: Fraction, bits: int = _BITS) -> Fraction:
    """The next number of at most `bits` significant binary digits, at or below `value`."""
    size = abs(value)
    if size == 0:
        return value
    magnitude = size.numerator.bit_length() - size.denominator.bit_length()  # 2^(m-1) < |value| < 2^(m+1)
    unit = Fraction(2) ** (magnitude - bits + 1)
    return math.floor(value / unit) * unit


def sqrt_up(value: Fraction, bits: int = _BITS) -> Fraction:
    """A number of at most `bits` significant binary digits whose square is at least `value` >= 0."""
    shift = 2 * bits + 2 * value.denominator.bit_length()
    scaled = -(-(value.numerator << shift) // value.denominator)
    root = math.isqrt(scaled)
    root += root * root < scaled
    return round_up(Fraction(root, 2 ** (shift // 2)), bits)


def _delta_at_most(epsilon: Fraction, mu: Fraction) -> Fraction:
    """Proved: the smallest delta is not above this."""
    bits = 192
    first = upper_tail(epsilon / mu - mu / 2, bits)[1]
    if epsilon > _PLAIN_FROM:  # what is subtracted has a million digits there, and moves epsilon by 1e-5 of itself
        return first
    return first - exp_between(epsilon, bits)[0] * upper_tail(epsilon / mu + mu / 2, bits)[0]


def _log_delta_near(epsilon: float, mu: float) -> float:
    """log delta without proof, for the search only.

    With a = epsilon/mu - mu/2, b = a + mu and Mills's ratio R = Q/phi, e^epsilon phi(b) = phi(a), so that
    delta = Q(a) - phi(a) R(b): nothing overflows.
    """
    a = epsilon / mu - mu / 2
    mills_b = _SQRT_HALF_PI * float(erfcx((a + mu) / _SQRT_2))
    log_density = -a * a / 2 - math.log(2 * _SQRT_HALF_PI)
    if a >= 0:
        gap = _SQRT_HALF_PI * float(erfcx(a / _SQRT_2)) - mills_b
        return log_density + math.log(gap) if gap > 0 else -math.inf
    kept = float(ndtr(-a)) - math.exp(log_density) * mills_b
    return math.log(kept) if kept > 0 else -math.inf


def _log(value: Fraction) -> float:
    return math.log(value.numerator) - math.log(value.denominator)


def _bisect(kept: float, broken: float, keeps: Callable[[float], bool]) -> float:
    """The end of the kept side, to float64 resolution."""
    while (middle := (kept + broken) / 2) not in (kept, broken):
        if keeps(middle):
            kept = middle
        else:
            broken = middle
    return kept


def _prove(proposed: float, direction: int, keeps: Callable[[Fraction], bool]) -> Fraction:
    """Move the proposed figure to the safe side (`direction`), by ever larger steps, until it is proved."""
    step = Fraction(1, 2**50)
    while True:
        value = Fraction(proposed) * (1 + step) ** direction
        value = round_up(value) if direction > 0 else round_down(value)
        if keeps(value):
            return value
        step *= 2


def _check_epsilon(epsilon: Fraction) -> None:
    if not 0 <= epsilon <= _LARGEST_EPSILON:
        raise ValueError(f"epsilon must be in [0, {_LARGEST_EPSILON}], got {epsilon}")


def _check_mu(mu: Fraction) -> None:
    if mu <= 0:
        raise ValueError(f"mu must be above 0, got {mu}")


def _check_delta(delta: Fraction) -> None:
    if not 0 < delta < 1:
        raise ValueError(f"delta must be in (0, 1), got {delta}")
