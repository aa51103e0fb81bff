"""Coins and indices: exact integer arithmetic, exactly charged."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from veilray.privacy.entropy import SeededEntropy
from veilray.privacy.samplers.index import WORDS, coins, indices, largest_ratio, subset_threshold, words_per_index

WORD = st.integers(0, WORDS - 1)


@given(word=WORD, bound=st.integers(1, 2**31))
def test_an_index_is_the_high_half_of_the_exact_product(word: int, bound: int) -> None:
    assert indices(np.array([word], np.uint64), bound)[0] == word * bound >> 64


@given(bound=st.integers(1, 2**31), place=st.floats(0, 1, exclude_max=True))
def test_every_index_has_the_stated_number_of_words(bound: int, place: float) -> None:
    index = int(place * bound)
    count = -(-(index + 1) * WORDS // bound) - -(-index * WORDS // bound)
    assert count in words_per_index(bound)


def test_the_remainder_of_a_short_word_is_caught_by_the_same_count() -> None:
    # The classical mistake: byte % 100 gives 0..55 three times and 56..99 twice.
    counts = np.bincount(np.arange(256) % 100)
    assert counts.max() - counts.min() == 1 and counts.max() / counts.min() == 1.5
    few, many = words_per_index(100)
    assert many - few == 1 and Fraction(many, few) < 1 + Fraction(1, 2**57)


def test_indices_are_uniform() -> None:
    counts = np.bincount(indices(SeededEntropy(2).words(300_000, np.uint64), 23), minlength=23)
    assert chisquare(counts).pvalue > 1e-6


@given(word=WORD, threshold=st.integers(1, WORDS - 1))
def test_a_coin_compares_whole_words(word: int, threshold: int) -> None:
    assert coins(np.array([word], np.uint64), threshold)[0] == (word < threshold)


@given(
    epsilon=st.fractions(Fraction(1, 1000), 40),
    size=st.integers(2, 5000),
    share=st.floats(0, 1),
)
def test_the_threshold_keeps_epsilon_and_wastes_next_to_nothing(epsilon: Fraction, size: int, share: float) -> None:
    winners = 1 + int(share * (size - 2))
    threshold = subset_threshold(epsilon, winners, size)
    charged = math.log(largest_ratio(threshold, winners, size))
    assert largest_ratio(threshold, winners, size) <= Fraction(math.exp(float(epsilon)) * (1 + 1e-12))
    # A coin has 64 bits: the waste is at most e^epsilon size / 2^64, below 2e-7 up to epsilon 20.
    assert charged > float(epsilon) - 1e-6 or epsilon > 20


@given(epsilon=st.fractions(Fraction(1, 100), 20), size=st.integers(2, 500))
def test_one_word_more_would_break_the_claim(epsilon: Fraction, size: int) -> None:
    threshold = subset_threshold(epsilon, 1, size)
    from veilray.privacy.enclosure import exp_range

    assert largest_ratio(threshold, 1, size) <= exp_range(epsilon)[0]
    assert largest_ratio(threshold + 1, 1, size) > exp_range(epsilon)[0]


@pytest.mark.parametrize(("winners", "size"), [(0, 4), (4, 4), (5, 4), (1, 2**31 + 1)])
def test_impossible_selections_are_refused(winners: int, size: int) -> None:
    with pytest.raises(ValueError, match="winners must be between"):
        subset_threshold(Fraction(1), winners, size)


def test_an_epsilon_below_the_coins_resolution_is_refused() -> None:
    with pytest.raises(ValueError, match="resolution"):
        subset_threshold(Fraction(1, 2**70), 1, 3)


@pytest.mark.parametrize("threshold", [0, -1, WORDS])
def test_a_coin_that_cannot_fall_both_ways_is_refused(threshold: int) -> None:
    with pytest.raises(ValueError, match="threshold must be between"):
        coins(np.zeros(1, np.uint64), threshold)
