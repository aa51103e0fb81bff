"""A number within public bounds: its law, its ends, what is written, what is refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from veilray.privacy import SeededEntropy, SystemEntropy
from veilray.privacy.bounded_number import FIGURES, check_bounds, number_noise, release_numbers, written

LOW, HIGH = Fraction(0), Fraction(100)
BOUND = st.fractions(-(10**6), 10**6, max_denominator=10**4)


def drawn(value: float, epsilon: str, count: int = 40_000, seed: int = 1) -> np.ndarray:
    values = np.full(count, value)
    return release_numbers(values, LOW, HIGH, Fraction(epsilon), SeededEntropy(seed)).astype(float)


def test_the_claim_is_the_laplace_mechanisms_own_for_one_element() -> None:
    stated = number_noise(Fraction(1, 3)).guarantee(1)
    assert (stated.image_epsilon, stated.delta, stated.unit) == (Fraction(1, 3), 0, "image")
    assert stated.bound.radius == 1


@settings(deadline=None, max_examples=60)
@given(value=st.floats(), low=BOUND, high=BOUND, epsilon=st.sampled_from(["0.01", "1", "50"]))
def test_whatever_the_number_is_a_number_within_the_bounds_comes_out(
    value: float, low: Fraction, high: Fraction, epsilon: str
) -> None:
    assume(low < high)
    released = release_numbers(np.array([value] * 3), low, high, Fraction(epsilon), SystemEntropy())
    assert all(low <= Fraction(text) <= high for text in released)


def test_numbers_beyond_a_bound_count_as_the_bound_and_none_as_the_middle() -> None:
    for odd, counts_as in ((-1e300, 0.0), (np.inf, 100.0), (101.0, 100.0), (np.nan, 50.0)):
        assert np.array_equal(drawn(odd, "2", 100), drawn(counts_as, "2", 100))


@pytest.mark.parametrize("epsilon", ["0.5", "2", "8"])
def test_every_decimal_keeps_the_claim_between_the_two_bounds(epsilon: str) -> None:
    """The laws at the two bounds mirror each other, and no value is over e^epsilon times likelier under either."""
    values, counts = np.unique(drawn(0, epsilon), return_counts=True)
    others = dict(zip(*np.unique(drawn(100, epsilon), return_counts=True), strict=True))
    often = counts > 400
    ratios = np.log(counts[often] / [max(1, others.get(v, 0)) for v in values[often]])
    assert ratios.max() <= float(epsilon) + 0.6  # five standard deviations of 400
    at_low = counts[values == 0][0] / 40_000
    at_high = others[100.0] / 40_000
    assert at_low == pytest.approx(0.5, abs=0.02) and at_high == pytest.approx(0.5, abs=0.02)


def test_the_noise_has_the_laplace_scale() -> None:
    """Between the bounds the density falls by e^(-distance epsilon / range)."""
    values = drawn(0, "8", 200_000)
    first, second = (int(((values > a) & (values <= a + 20)).sum()) for a in (10, 30))
    assert first / second == pytest.approx(np.exp(8 * 20 / 100), rel=0.05)


def test_a_row_does_not_depend_on_the_others() -> None:
    one = release_numbers(np.array([1.0, 50, 99]), LOW, HIGH, Fraction(1), SeededEntropy(3))
    two = release_numbers(np.array([77.0, 50, np.nan]), LOW, HIGH, Fraction(1), SeededEntropy(3))
    assert one[1] == two[1]


def test_no_number_is_no_release() -> None:
    assert release_numbers(np.zeros(0), LOW, HIGH, Fraction(1), SeededEntropy(1)).shape == (0,)


@given(low=BOUND, high=BOUND, share=st.fractions(0, 1))
def test_what_is_written_is_near_within_the_bounds_and_short(low: Fraction, high: Fraction, share: Fraction) -> None:
    assume(low < high)
    value = low + share * (high - low)
    text = written(value, low, high)
    assert low <= Fraction(text) <= high
    assert abs(Fraction(text) - value) <= (high - low) / 10 ** (FIGURES - 1)
    assert "e" not in text.lower()
    assert written(Fraction(text), low, high) == text


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((3, 3), "age must be a low number and a higher one, got 3 and 3"),
        ((4, 3), "got 4 and 3"),
        ((0, Fraction(10) ** 16), "at most 10"),
        ((0, Fraction(1, 10**16)), "or more apart"),
    ],
)
def test_bounds_that_are_none_are_refused(bounds: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_bounds(*map(Fraction, bounds), "age")
