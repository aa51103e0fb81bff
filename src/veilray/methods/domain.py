"""How far images are from what a model was trained on: a likelihood score calibrated by image complexity.

A flow gives simple pictures a high likelihood whatever they show. Subtracting the length of a lossless
compression removes that (Serra et al. 2020, "Input complexity and out-of-distribution detection with
likelihood-based generative models"). The score is for the owner only: it reads pixels, so it stays in the
house and never decides what is released.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Domain", "complexity"]


@dataclass(frozen=True)
class Domain:
    """The score on the model's own validation images.

    Args:
        percentiles: 101 values, 0 to 100 %, in bits per dimension.
        images: how many images they are of.
    """

    percentiles: tuple[float, ...]
    images: int

    def __post_init__(self) -> None:
        if len(self.percentiles) != 101 or list(self.percentiles) != sorted(self.percentiles):
            raise ValueError(f"percentiles must be 101 rising numbers, got {len(self.percentiles)}")

    @classmethod
    def of(cls, scores: NDArray[np.float64]) -> Domain:
        """The percentiles of `(n,)` scores."""
        return cls(tuple(float(value) for value in np.percentile(scores, np.arange(101))), len(scores))

    @property
    def median(self) -> float:
        """The median score of the model's own images."""
        return self.percentiles[50]

    def outside(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """True where a score lies outside the middle 98 % of the model's own images."""
        return (scores < self.percentiles[1]) | (scores > self.percentiles[99])

    def separation(self, scores: NDArray[np.float64]) -> float:
        """Kolmogorov-Smirnov distance between these scores and the model's own: 0 one kind, 1 two kinds.

        It sees a whole set that has moved even where each image by itself is within the band.
        """
        below = np.searchsorted(np.sort(scores), self.percentiles, side="right") / len(scores)
        return float(np.abs(below - np.arange(101) / 100).max())

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {"percentiles": list(self.percentiles), "images": self.images}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Domain:
        """Read back what `to_dict` gave. Raises ValueError for anything else."""
        try:
            return cls(tuple(float(value) for value in told["percentiles"]), int(told["images"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"domain must hold percentiles and images, got: {error}") from None


def complexity(images: NDArray[Any]) -> NDArray[np.float64]:
    """Bits per dimension of each image `(n, c, h, w)` under lossless compression (row differences, deflate)."""
    if not len(images):
        return np.zeros(0)
    differences = np.diff(images, axis=-1, prepend=images[..., :1])
    sizes = [len(zlib.compress(np.ascontiguousarray(row).tobytes(), 6)) for row in differences]
    return np.array([8.0 * size / images[0].size for size in sizes])
