"""What an attacker knows of pictures in general, counted on its own: grey levels, neighbours, and places.

And the same counted on obfuscated pictures, where the names of the levels mean nothing yet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilray.evaluation.attacks.intensity.channel import LEVELS, Floats

__all__ = ["Laws"]

GRID = 8
"""Places: the cells of an 8 x 8 grid."""

_SPARE = 1e-3
"""Weight of what was never seen: levels side by side as if by chance, levels anywhere."""


@dataclass(frozen=True, eq=False)
class Laws:
    """Counts over pictures of one kind.

    Attributes:
        levels: `(256,)` pixels of each level.
        neighbours: `(256, 256)` pairs of pixels side by side or one above the other, both ways round.
        places: `(64, 256)` pixels of each level in each cell of the grid.
    """

    levels: Floats
    neighbours: Floats
    places: Floats

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> Laws:
        """Count in `(n, c, h, w)`; channels count alike."""
        height, width = images.shape[2:]
        cells = (np.arange(height) * GRID // height)[:, None] * GRID + np.arange(width) * GRID // width
        pairs = _pairs(images[..., :-1], images[..., 1:]) + _pairs(images[..., :-1, :], images[..., 1:, :])
        keys = np.broadcast_to(cells, images.shape) * LEVELS + images
        places = np.bincount(keys.ravel(), minlength=GRID**2 * LEVELS).reshape(GRID**2, LEVELS).astype(np.float64)
        return cls(places.sum(axis=0), pairs + pairs.T, places)

    @property
    def known(self) -> Laws:
        """As probabilities, with a little left for what was never seen."""
        levels = (1 - _SPARE) * self.levels / self.levels.sum() + _SPARE / LEVELS
        neighbours = (1 - _SPARE) * self.neighbours / self.neighbours.sum() + _SPARE * np.outer(levels, levels)
        cells = self.places.sum(axis=1, keepdims=True) / self.places.sum()
        places = (1 - _SPARE) * self.places / self.places.sum() + _SPARE * cells * levels
        return Laws(levels, neighbours, places)


def _pairs(some: NDArray[np.uint8], others: NDArray[np.uint8]) -> Floats:
    keys = some.astype(np.int64) * LEVELS + others
    return np.bincount(keys.ravel(), minlength=LEVELS**2).reshape(LEVELS, LEVELS).astype(np.float64)
