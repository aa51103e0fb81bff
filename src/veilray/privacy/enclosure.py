"""Numbers enclosed from both sides: exact fractions that lie surely below and surely above a real number.

A claim is charged with the unfavourable end. Intervals are mpmath's, in contexts of their own at a fixed
precision, so that no other code can lower it. Functions that mpmath offers only as point values are computed
with 80 digits and widened by `SLACK`, far above their rounding error.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from mpmath import libmp
from mpmath.ctx_iv import MPIntervalContext
from mpmath.ctx_mp import MPContext

__all__ = ["SLACK", "Range", "ends", "exp_range", "interval", "logarithm", "normal_tail", "point", "widen"]

Range = tuple[Fraction, Fraction]
"""A lower and an upper end, both exact."""

SLACK = Fraction(1, 10**50)
"""Relative widening of point values that were computed with 80 digits."""

_INTERVALS = MPIntervalContext()
_INTERVALS.dps = 80
point: Any = MPContext()
"""An mpmath context of 80 digits of our own, for point values that are widened afterwards."""
point.dps = 80


def interval(low: Fraction, high: Fraction | None = None) -> Any:
    """The mpmath interval that holds every number from `low` to `high` (or `low` alone)."""
    left = _INTERVALS.mpf(low.numerator) / low.denominator
    if high is None or high == low:
        return left
    right = _INTERVALS.mpf(high.numerator) / high.denominator
    return _INTERVALS.mpf([left.a, right.b])


def ends(value: Any) -> Range:
    """The two ends of an mpmath interval as exact fractions."""
    low, high = value._mpi_
    return Fraction(*libmp.to_rational(low)), Fraction(*libmp.to_rational(high))


def exp_range(exponent: Fraction) -> Range:
    """Fractions below and above e**exponent."""
    return ends(_INTERVALS.exp(interval(exponent)))


def logarithm(value: Fraction) -> Range:
    """Fractions below and above ln(value) for a value above 0."""
    return ends(_INTERVALS.log(interval(value)))


def widen(value: Any) -> Range:
    """Ends around a non-negative point value of context `point`, `SLACK` (relative) apart from it."""
    middle = Fraction(*libmp.to_rational(value._mpf_))
    return middle * (1 - SLACK), middle * (1 + SLACK)


def normal_tail(threshold: Fraction) -> Range:
    """Fractions below and above Pr[N(0, 1) >= threshold]."""
    x = point.mpf(threshold.numerator) / threshold.denominator
    return widen(point.erfc(x / point.sqrt(2)) / 2)
