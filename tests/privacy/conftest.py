"""What tests of noise share: chi-square with a p-value far below any flake, and entropy with chosen words."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from scipy.stats import chi2

from veilray.privacy.entropy import Entropy, SeededEntropy

P_VALUE = 1e-6
"""A test that fails at this level is not unlucky."""


def goodness_of_fit(counts: np.ndarray, probabilities: np.ndarray) -> float:
    """p-value of Pearson's chi-square; bins expected below 10 are pooled."""
    counts, expected = np.asarray(counts, float), np.asarray(probabilities, float) * np.sum(counts)
    small = expected < 10
    counts = np.append(counts[~small], counts[small].sum())
    expected = np.append(expected[~small], expected[small].sum())
    kept = expected > 0
    assert not counts[~kept].any()
    return float(chi2.sf(((counts[kept] - expected[kept]) ** 2 / expected[kept]).sum(), max(1, kept.sum() - 1)))


def same_law(first: np.ndarray, second: np.ndarray, bins: int = 40) -> float:
    """p-value of the two-sample chi-square, bins at quantiles of both together."""
    edges = np.unique(np.quantile(np.concatenate([first, second]), np.linspace(0, 1, bins + 1)[1:-1]))
    a = np.bincount(np.searchsorted(edges, first, side="right"), minlength=len(edges) + 1)
    b = np.bincount(np.searchsorted(edges, second, side="right"), minlength=len(edges) + 1)
    kept = a + b > 20
    a, b = a[kept].astype(float), b[kept].astype(float)
    ratio = np.sqrt(b.sum() / a.sum())
    return float(chi2.sf(((a * ratio - b / ratio) ** 2 / (a + b)).sum(), max(1, len(a) - 1)))


class ChosenWords(Entropy):
    """Gives the 64-bit words it was told, in order, then a seeded stream; counts the bytes drawn."""

    def __init__(self, words: Iterable[int] = (), seed: int = 1) -> None:
        self._chosen = b"".join(int(word).to_bytes(8, "little") for word in words)
        self._then = SeededEntropy(seed)
        self.drawn = 0

    def fill(self, out: memoryview) -> None:
        now, self._chosen = self._chosen[: len(out)], self._chosen[len(out) :]
        out[: len(now)] = now
        if len(now) < len(out):
            self._then.fill(out[len(now) :])
        self.drawn += len(out)

    def row(self, index: int) -> Entropy:
        return self


@pytest.fixture
def fits() -> Callable[..., bool]:
    return lambda counts, probabilities: goodness_of_fit(counts, probabilities) > P_VALUE


@pytest.fixture
def agree() -> Callable[..., bool]:
    return lambda first, second: same_law(first, second) > P_VALUE


@pytest.fixture
def chosen_words() -> type[ChosenWords]:
    return ChosenWords
