"""What the mechanisms' audits share: the certified epsilon of an event, and entropy that counts."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from scipy.stats import beta

from veilray.privacy.entropy import Entropy, SeededEntropy

REPORTED = 0.99
"""Confidence of a reported figure."""

NEVER = 1 - 1e-6 / 100
"""Confidence at which a bound above the claim fails a test: 1e-6 spread over about 100 audits."""


def certified_epsilon(hits: int, other_hits: int, trials: int, confidence: float = REPORTED) -> float:
    """Largest epsilon that the counts of one event under two inputs prove, by Clopper and Pearson 1934.

    The event and its complement, in both directions; the error is spread over the four intervals.
    """
    tail = (1 - confidence) / 4
    best = 0.0
    for a, b in ((hits, other_hits), (other_hits, hits), (trials - hits, trials - other_hits)):
        for first, second in ((a, b), (b, a)):
            low = beta.ppf(tail, first, trials - first + 1) if first else 0.0
            high = beta.ppf(1 - tail, second + 1, trials - second) if second < trials else 1.0
            if low > 0:
                best = max(best, math.log(low / high))
    return best


class CountingEntropy(Entropy):
    """A seeded stream that counts the bytes it gave."""

    def __init__(self, seed: int) -> None:
        self._inner = SeededEntropy(seed)
        self.count = 0

    def fill(self, out: memoryview) -> None:
        self.count += len(out)
        self._inner.fill(out)

    def row(self, index: int) -> Entropy:
        return self


@pytest.fixture
def certified() -> Callable[..., float]:
    return certified_epsilon


@pytest.fixture
def never() -> float:
    return NEVER


@pytest.fixture
def counting() -> type[CountingEntropy]:
    return CountingEntropy
