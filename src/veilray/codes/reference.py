"""The public law of a kept code: a Gaussian mixture of the public images' codes.

It stands in for the public images themselves: candidates, pictures with no private image behind them, and learners
that weigh what a release may have come from all draw from it, and no row of a public image needs to be shipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture
from torch import Tensor

from veilray.privacy import Entropy
from veilray.privacy.samplers.normal import normals

__all__ = ["Reference"]

_COMPONENTS = (1, 4, 8, 16, 32)
_ROWS_A_COMPONENT = 40
_FLOOR = 1e-3  # of a variance that is 1 by whitening


@dataclass(frozen=True)
class Reference:
    """A mixture of c normal laws over code rows of k numbers.

    Args:
        weights: `(c,)`, summing to 1.
        means: `(c, k)`.
        roots: `(c, k, k)`, lower triangular: the covariances are `roots @ roots.T`.
    """

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    roots: NDArray[np.float64]

    @classmethod
    def fit(cls, codes: NDArray[np.float64], seed: int = 0) -> Reference:
        """Fit to public code rows `(n, k)`; the number of components has the best BIC (Schwarz 1978)."""
        rows = codes[np.isfinite(codes).all(axis=1)]
        fitting = [count for count in _COMPONENTS if count == 1 or count * _ROWS_A_COMPONENT <= len(rows)]
        fits = [
            GaussianMixture(count, reg_covar=_FLOOR, random_state=seed, max_iter=200).fit(rows) for count in fitting
        ]
        best = min(fits, key=lambda mixture: float(mixture.bic(rows)))
        return cls(best.weights_, best.means_, np.linalg.cholesky(best.covariances_))

    @property
    def dimension(self) -> int:
        """k."""
        return int(self.means.shape[1])

    def sample(self, count: int, entropy: Entropy) -> NDArray[np.float64]:
        """Draw `(count, k)` code rows."""
        words = entropy.words((count, self.dimension + 1), np.uint64)
        edges = np.cumsum(self.weights)[:-1]
        chosen = np.searchsorted(edges, words[:, 0] / 2.0**64, side="right")
        return np.asarray(self.means[chosen] + np.einsum("nij,nj->ni", self.roots[chosen], normals(words[:, 1:])))

    def log_density(self, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-density of code rows `(n, k)` under each component with its weight, `(n, c)`, in nats."""
        out = np.empty((len(codes), len(self.weights)))
        for index, (weight, mean, root) in enumerate(zip(self.weights, self.means, self.roots, strict=True)):
            scaled = np.linalg.solve(root, (codes - mean).T)
            volume = np.log(np.diag(root)).sum() + 0.5 * self.dimension * math.log(2 * math.pi)
            out[:, index] = math.log(weight) - volume - 0.5 * (scaled**2).sum(axis=0)
        return out

    def first(self, keep: int) -> Reference:
        """The law of the first `keep` numbers."""
        return Reference(self.weights, self.means[:, :keep], self.roots[:, :keep, :keep])

    def scaled(self, weights: NDArray[np.float64]) -> Reference:
        """The law of the numbers times `weights` `(k,)`, each above 0."""
        return Reference(self.weights, self.means * weights, self.roots * weights[:, None])

    def tensors(self) -> dict[str, Tensor]:
        """For `KeptCode.tensors`."""
        named = {"weights": self.weights, "means": self.means, "roots": self.roots}
        return {f"reference.{name}": torch.from_numpy(np.ascontiguousarray(array)) for name, array in named.items()}

    @classmethod
    def restored(cls, tensors: dict[str, Tensor]) -> Reference:
        """From `tensors()`. Raises KeyError where one is missing, ValueError where shapes do not fit."""
        weights, means, roots = (tensors[f"reference.{name}"].numpy() for name in ("weights", "means", "roots"))
        if means.ndim != 2:
            raise ValueError(f"reference means must be (c, k), got {means.shape}")
        count, keep = means.shape
        if weights.shape != (count,) or roots.shape != (count, keep, keep):
            raise ValueError(f"reference must be a mixture of {count} laws of {keep} numbers, got other shapes")
        if not count or not (weights > 0).all() or not (np.diagonal(roots, axis1=1, axis2=2) > 0).all():
            raise ValueError("reference must be one law or more, with weights and deviations above 0, got others")
        return cls(weights, means, roots)
