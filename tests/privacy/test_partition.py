"""Sizes and shares as text or sequences: exact, adding up, refused otherwise. `Directional` tests the refusals too."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilray.privacy.partition import read_shares, read_sizes


@given(st.lists(st.integers(1, 99), min_size=1, max_size=6))
def test_text_and_sequences_mean_the_same_sizes(sizes: list[int]) -> None:
    assert read_sizes(",".join(map(str, sizes)), sum(sizes)) == read_sizes(sizes, sum(sizes)) == tuple(sizes)


@given(st.lists(st.fractions(0, 9, max_denominator=99), min_size=1, max_size=6))
def test_text_and_sequences_mean_the_same_shares(shares: list[Fraction]) -> None:
    total, text = sum(shares, Fraction(0)), ",".join(map(str, shares))
    assert read_shares(text, total, len(shares)) == read_shares(shares, total, len(shares)) == tuple(shares)


@given(st.fractions(Fraction(1, 99), 99), st.integers(1, 50))
def test_equal_shares_sum_exactly(epsilon: Fraction, count: int) -> None:
    assert sum(read_shares(None, epsilon, count)) == epsilon


@pytest.mark.parametrize(
    ("given_shares", "message"),
    [
        ("1,2", "shares must sum to epsilon 4 exactly, got 3"),
        ("4", "one for each of the 2 sizes, got 1"),
        ("5,-1", "shares must not be negative"),
        ([3.0, 1.0], "shares must be exact, got the float"),
        (4, "with commas between or a sequence"),
    ],
)
def test_shares_that_do_not_add_up_are_refused(given_shares: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_shares(given_shares, Fraction(4), 2)
