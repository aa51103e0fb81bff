"""What a directional release of an unbiased direction looks like, and the way from there to N(0, I).

The release of a unit vector u is z = w - <w, u> u + a u: a has density phi(a) times h above the threshold gamma and
times l below it, w is standard normal in k dimensions. Where u itself is uniform, as the direction of an N(0, I) row
is, z has a law without direction, and its length r has

    Pr[r^2 <= t] = l F_k(t) + (h - l) Int_gamma^sqrt(t) phi(a) F_{k-1}(t - a^2) da,

F_k the distribution function of chi-squared with k degrees of freedom (F_0 = 1). In few dimensions that is far from a
standard normal's length. A decoder that was trained on N(0, I) then sees latents that it hardly knows. The map of
lengths r -> F_chi_k^-1(Pr[length <= r]) makes it N(0, I) exactly, and leaves every direction as it was.

It is a fixed public function of what was drawn: post-processing, so it costs nothing.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri, ndtr

__all__ = ["to_normal_length"]

_POINTS = 1024
_NODES = 96
_LONGEST = 12.0
"""Standard deviations beyond the mean length that the table reaches; what is longer is scaled as its end is."""


def to_normal_length(
    length: NDArray[np.float64], k: int, gamma: float, log_upper: float, log_lower: float
) -> NDArray[np.float64]:
    """The length that a standard normal in k dimensions has at the same quantile, `(n,)` float64.

    Args:
        length: `(n,)`, of released blocks, 0 or more.
        k: elements of the block.
        gamma: threshold, above 0.
        log_upper, log_lower: log density of the release above and below it, relative to N(0, I).

    Example:
        >>> to_normal_length(np.array([0.5, 2.0]), 3, 1.0, 0.0, 0.0).round(3).tolist()  # already normal
        [0.5, 2.0]
    """
    drawn, normal = _table(k, gamma, log_upper, log_lower)
    beyond = np.maximum(length / drawn[-1], 1.0)
    return np.asarray(np.interp(length, drawn, normal) * beyond)


@lru_cache(maxsize=64)
def _table(k: int, gamma: float, log_upper: float, log_lower: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lengths of a release, rising from 0, and the standard normal's lengths at the same quantiles."""
    lengths = np.linspace(0.0, math.sqrt(k) + gamma + _LONGEST, _POINTS)[1:]
    upper, lower = math.exp(log_upper), math.exp(log_lower)
    above = lower * _survival(k, lengths**2) + (upper - lower) * _cap_survival(k, gamma, lengths)
    quantiles = np.sqrt(chdtri(k, np.clip(above, 1e-300, 1.0)))
    drawn, normal = (np.concatenate(([0.0], line)) for line in (lengths, np.maximum.accumulate(quantiles)))
    return drawn, normal


def _survival(k: int, squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - F_k; F_0 is 1 from 0 on. Tails are computed as tails, so that a long draw keeps its figures."""
    if k == 0:
        return np.zeros_like(squares)
    return np.asarray(chdtrc(k, squares))


def _cap_survival(k: int, gamma: float, lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pr[a >= gamma and length > r] for a standard normal row, for each r."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = np.maximum(lengths - gamma, 0.0) / 2
    a = gamma + half[:, None] * (nodes + 1)
    inside = np.maximum(lengths[:, None] ** 2 - a**2, 0.0)
    density = np.exp(-0.5 * a**2) / math.sqrt(2 * math.pi)
    near = half * ((density * _survival(k - 1, inside)) @ weights)
    return np.asarray(near + ndtr(-np.maximum(lengths, gamma)))
