"""Subset selection: exactly m winners among K indices, one of them with probability p, else one of the others.

Whatever the input is, every index has probability p/m or (1-p)/(K-m) (up to the exactly charged 2^-64 of the index
draw, see `samplers/index.py`), so the ratio of two inputs is at most e^epsilon with p = m e^epsilon /
(m e^epsilon + K - m), rounded down to a whole number of words. *How* the winners are found, with floats or not, has
no part in the proof: the rule must only be deterministic and name exactly m of them.

Sources: Ye and Barg 2018. With m = 1 it is k-ary
randomised response (Kairouz, Oh and Viswanath 2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from veilray.privacy.samplers.index import WORDS, coins, indices, largest_ratio, subset_threshold

__all__ = ["SubsetSelection", "best_winner_count", "select_smallest", "winners_first"]


@dataclass(frozen=True)
class SubsetSelection:
    """The public parameters of one selection: `winners` of `size` indices, and the coin's threshold of 2^64."""

    epsilon: Fraction
    size: int
    winners: int
    coin: int

    @classmethod
    def of(cls, epsilon: Fraction, size: int, winners: int) -> SubsetSelection:
        """The selection whose worst ratio is the largest below e^epsilon."""
        return cls(epsilon, size, winners, subset_threshold(epsilon, winners, size))

    def ranks(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Draw a rank in [0, size) for each pair of words `(..., 2)`; ranks below `winners` are the winners'."""
        won = coins(words[..., 0], self.coin)
        # Both draws are made every time, from the same word: the work does not depend on the coin.
        winner = indices(words[..., 1], self.winners)
        loser = indices(words[..., 1], self.size - self.winners) + self.winners
        return np.where(won, winner, loser)

    def probabilities(self) -> list[Fraction]:
        """The exact probability of each rank; they add up to 1."""
        lose = WORDS - self.coin
        wins = [Fraction(self.coin * n, WORDS**2) for n in _words(self.winners)]
        return wins + [Fraction(lose * n, WORDS**2) for n in _words(self.size - self.winners)]

    def charged(self) -> Fraction:
        """The exact largest ratio of one index's probabilities under two inputs."""
        return largest_ratio(self.coin, self.winners, self.size)

    @property
    def win_probability(self) -> float:
        """Probability that the released index is a winner."""
        return self.coin / WORDS

    @property
    def log_win(self) -> float:
        """log probability of one winning index."""
        return math.log(self.coin / WORDS / self.winners)

    @property
    def log_lose(self) -> float:
        """log probability of one losing index."""
        return math.log((WORDS - self.coin) / WORDS / (self.size - self.winners))


def best_winner_count(epsilon: Fraction, size: int) -> int:
    """The whole number nearest size / (1 + e^epsilon), at least 1 (Ye and Barg 2018)."""
    count = size * math.exp(-float(epsilon)) / (1 + math.exp(-float(epsilon)))
    return min(max(1, round(count)), size - 1)


def select_smallest(keys: NDArray[np.float64], winners: int) -> NDArray[np.bool_]:
    """Mark exactly `winners` entries in each row of `(n, K)`: the smallest keys, ties by the lower index.

    Keys must not be NaN.
    """
    cut = np.partition(keys, winners - 1, axis=1)[:, winners - 1 : winners]
    below = keys < cut
    tied = keys == cut
    places = winners - below.sum(axis=1, keepdims=True)
    return np.asarray(below | (tied & (np.cumsum(tied, axis=1) <= places)))


def winners_first(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each row the indices of the marked entries, then those of the others, both ascending: `(n, K)`."""
    return np.argsort(~marked, axis=1, kind="stable")


def _words(bound: int) -> list[int]:
    edges = [-(-r * WORDS // bound) for r in range(bound + 1)]
    return [after - before for before, after in pairwise(edges)]
