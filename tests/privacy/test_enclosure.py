"""Enclosures hold what they enclose, and are narrow."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp

from veilray.privacy.enclosure import ends, exp_range, interval, normal_tail


def exact_fraction(value: mp.mpf) -> Fraction:
    from mpmath import libmp

    return Fraction(*libmp.to_rational(value._mpf_))


@given(st.fractions(0, 100))
def test_exponentials_are_enclosed(exponent: Fraction) -> None:
    low, high = exp_range(exponent)
    with mp.workdps(120):
        true = exact_fraction(mp.exp(mp.mpf(exponent.numerator) / exponent.denominator))
    assert low <= true <= high
    assert high / low - 1 < Fraction(1, 10**70)


@given(st.fractions(-8, 8, max_denominator=10**6))
def test_normal_tails_are_enclosed(threshold: Fraction) -> None:
    low, high = normal_tail(threshold)
    with mp.workdps(120):
        true = exact_fraction(mp.erfc(mp.mpf(threshold.numerator) / threshold.denominator / mp.sqrt(2)) / 2)
    assert low < true < high
    assert high / low - 1 < Fraction(1, 10**45)


@given(st.fractions(-100, 100), st.fractions(0, 10))
def test_intervals_hold_their_ends(low: Fraction, width: Fraction) -> None:
    left, right = ends(interval(low, low + width))
    assert left <= low and low + width <= right
