"""Enclosures hold the true value, by an independent computation at ten times the precision."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import MPContext

from veilray.privacy.normal_tail import exp_between, upper_tail

TRUE = MPContext()
TRUE.prec = 3000


def true_tail(x: Fraction):
    return TRUE.ncdf(-TRUE.mpf(x.numerator) / x.denominator)


def number(value: Fraction):
    return TRUE.mpf(value.numerator) / value.denominator


@given(st.fractions(min_value=-12, max_value=12, max_denominator=10**6), st.sampled_from([64, 128, 300]))
@settings(max_examples=40, deadline=None)
def test_the_tail_lies_between_and_the_gap_is_small(x, bits):
    low, high = upper_tail(x, bits)
    true = true_tail(x)
    assert number(low) <= true <= number(high)
    assert number(high) - number(low) <= true * TRUE.mpf(2) ** -bits


@pytest.mark.parametrize("x", ["29.99", "30", "30.01", "77", "400"])
def test_far_tails_lie_between_on_both_series(x):
    low, high = upper_tail(Fraction(x), 128)
    assert number(low) <= true_tail(Fraction(x)) <= number(high)
    assert number(high) / number(low) - 1 < TRUE.mpf(2) ** -100


def test_zero_is_one_half():
    assert upper_tail(Fraction(0)) == (Fraction(1, 2), Fraction(1, 2))


@pytest.mark.parametrize("x", ["0", "1", "-1", "1/3", "1000", "-1000"])
def test_exponential_lies_between(x):
    low, high = exp_between(Fraction(x), 128)
    true = TRUE.exp(number(Fraction(x)))
    assert number(low) <= true <= number(high)
    assert number(high) - number(low) <= true * TRUE.mpf(2) ** -120
