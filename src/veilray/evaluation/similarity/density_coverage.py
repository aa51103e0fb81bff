"""Density and coverage: how near generated images lie to real ones, and how much of the real ones they reach.

Naeem, Oh, Uh, Choi and Yoo (2020, "Reliable Fidelity and Diversity Metrics for Generative Models", ICML). Around each
real image lies the ball that reaches to its k-th nearest real neighbour. Density is the mean number of balls that a
generated image lies in, divided by k: about 1 where both have one law, and it may exceed 1. Coverage is the share of
balls that hold a generated image: about 1 - 2^-k where both have one law and one size.

Both speak of resemblance, not of privacy: a copy of every real image has full coverage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import BallTree

__all__ = ["NEIGHBOURS", "DensityCoverage", "density_coverage"]

NEIGHBOURS = 5
"""k of the paper's experiments."""

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class DensityCoverage:
    """The two figures; `neighbours` is k, `features` names what the images were compared by."""

    density: float
    coverage: float
    neighbours: int
    features: str


def density_coverage(
    real: Floats, generated: Floats, *, neighbours: int = NEIGHBOURS, features: str = "own features"
) -> DensityCoverage:
    """Density and coverage of generated against real feature rows.

    Args:
        real: `(n, f)`, n above `neighbours`.
        generated: `(m, f)`.
        neighbours: k.
        features: the name of the features, for the tables.

    Raises:
        ValueError: for rows that do not fit together, are not finite, or are too few.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1] or not len(generated):
        raise ValueError(
            f"real and generated must be (n, f) and (m, f) rows, got shapes {real.shape} and {generated.shape}"
        )
    if not 1 <= neighbours < len(real):
        raise ValueError(f"neighbours must be between 1 and {len(real) - 1} for {len(real)} rows, got {neighbours}")
    if not (np.isfinite(real).all() and np.isfinite(generated).all()):
        raise ValueError("features must be finite, got not-a-number or infinity")
    # The nearest of a real row is itself, at distance 0.
    radii = BallTree(real).query(real, k=neighbours + 1)[0][:, -1]
    inside = BallTree(generated).query_radius(real, np.nextafter(radii, 0), count_only=True)  # strictly inside
    return DensityCoverage(
        density=float(inside.sum() / (neighbours * len(generated))),
        coverage=float((inside > 0).mean()),
        neighbours=neighbours,
        features=features,
    )
