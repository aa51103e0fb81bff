"""How far images are from what a model was trained on: a likelihood score calibrated by image complexity.

A flow gives simple pictures a high likelihood whatever they show. Subtracting the length of a lossless
compression removes that (Serra et al. 2020, "Input complexity and out-of-distribution detection with
likelihood-based generative models"). The score is for the owner only: it reads pixels, so it stays in the
house and never decides what is released.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Domain", "complexity"]


@dataclass(frozen=True)
class Domain:
    """Quantiles of the score on the model's own validation images, in bits per dimension."""

    low: float
    median: float
    high: float
    images: int

    @classmethod
    def of(cls, scores: NDArray[np.float64]) -> Domain:
        """The 1, 50 and 99 % quantiles of `(n,)` scores."""
        low, median, high = np.quantile(scores, [0.01, 0.5, 0.99])
        return cls(float(low), float(median), float(high), len(scores))

    def outside(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """True where a score lies outside the band that holds 98 % of the validation images, widened by half."""
        slack = (self.high - self.low) / 2
        return (scores < self.low - slack) | (scores > self.high + slack)

    def to_dict(self) -> dict[str, float]:
        """Plain JSON types."""
        return asdict(self)


def complexity(images: NDArray[Any]) -> NDArray[np.float64]:
    """Bits per dimension of each image `(n, c, h, w)` under lossless compression (row differences, deflate)."""
    if not len(images):
        return np.zeros(0)
    differences = np.diff(images, axis=-1, prepend=images[..., :1])
    sizes = [len(zlib.compress(np.ascontiguousarray(row).tobytes(), 6)) for row in differences]
    return np.array([8.0 * size / images[0].size for size in sizes])
