"""Exact coins and indices from whole words: every probability is a known fraction with denominator 2^64.

A coin compares one uniform 64-bit word with an integer threshold. An index in [0, bound) is the high half of
word * bound (Lemire 2019, without his rejection): each index has floor(2^64 / bound) or ceil(2^64 / bound) words,
so its probability is known exactly, the difference is *charged* by the caller instead of removed, and every draw
takes one word whatever comes out.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from veilray.privacy.enclosure import exp_range
from veilray.privacy.exact import decimal_text

__all__ = ["LARGEST_BOUND", "WORDS", "coins", "indices", "subset_threshold", "words_per_index"]

WORDS = 2**64
"""Number of words, the denominator of every probability here."""

LARGEST_BOUND = 2**31
"""Largest bound of an index draw."""


def coins(words: NDArray[np.uint64], threshold: int) -> NDArray[np.bool_]:
    """True with probability exactly threshold / 2^64, one for each word."""
    if not 0 < threshold < WORDS:
        raise ValueError(f"threshold must be between 1 and 2^64 - 1, got {threshold}")
    return words < np.uint64(threshold)


def indices(words: NDArray[np.uint64], bound: int) -> NDArray[np.int64]:
    """floor(word * bound / 2^64) for each word: an index in [0, bound), by exact integer arithmetic."""
    if not 1 <= bound <= LARGEST_BOUND:
        raise ValueError(f"bound must be between 1 and 2^31, got {bound}")
    factor = np.uint64(bound)
    half = np.uint64(32)
    low = (words & np.uint64(0xFFFFFFFF)) * factor
    high = (words >> half) * factor
    return ((high + (low >> half)) >> half).astype(np.int64)


def words_per_index(bound: int) -> tuple[int, int]:
    """The smallest and the largest number of words that give one index in [0, bound)."""
    return WORDS // bound, -(-WORDS // bound)


def subset_threshold(epsilon: Fraction, winners: int, size: int) -> int:
    """The largest coin threshold for "a winner" that keeps epsilon, for `winners` of `size` indices.

    A winner has probability at most T/2^64 * ceil(2^64/m)/2^64, a loser at least (1 - T/2^64) *
    floor(2^64/(K-m))/2^64 (m winners of K indices). Their ratio is held at or below e^epsilon with e^epsilon
    rounded down, and T is rounded down; so is the ratio the other way round. Every index has positive probability
    whatever the input is, hence the support is equal.

    Raises:
        ValueError: when no index may win or lose, or epsilon is so small that 2^-64 exceeds it.
    """
    if not 1 <= winners < size <= LARGEST_BOUND:
        raise ValueError(f"winners must be between 1 and size - 1 (size at most 2^31), got {winners} of {size}")
    most = words_per_index(winners)[1]
    least = words_per_index(size - winners)[0]
    odds = exp_range(epsilon)[0] * Fraction(least, most)
    threshold = int(odds / (1 + odds) * WORDS)
    threshold = min(threshold, WORDS - 1)
    if threshold < 1 or largest_ratio(threshold, winners, size) > exp_range(epsilon)[0]:
        raise ValueError(f"epsilon must be larger than the resolution of the coin, 2^-64, got {decimal_text(epsilon)}")
    return threshold


def largest_ratio(threshold: int, winners: int, size: int) -> Fraction:
    """The largest ratio of two index probabilities under any two inputs, exact."""
    few_win, many_win = words_per_index(winners)
    few_lose, many_lose = words_per_index(size - winners)
    win, lose = threshold, WORDS - threshold
    highest = max(Fraction(win * many_win), Fraction(lose * many_lose))
    lowest = min(Fraction(win * few_win), Fraction(lose * few_lose))
    return highest / lowest
