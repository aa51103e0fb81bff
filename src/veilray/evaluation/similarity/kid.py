"""Kernel distance of two sets of feature rows: the unbiased squared maximum mean discrepancy of a cubic kernel.

Binkowski, Sutherland, Arbel and Gretton (2018, "Demystifying MMD GANs", ICLR), there on Inception features. Here it is
on features of this project, so its name is "KID (own features)".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["KID_OWN_FEATURES", "kid"]

KID_OWN_FEATURES = "KID (own features)"
"""Its name in tables."""

Floats = NDArray[np.floating]


def kid(real: Floats, generated: Floats) -> float:
    """Unbiased MMD^2 of `(n, f)` and `(m, f)` rows under k(x, y) = (x.y / f + 1)^3.

    About 0, and as often below as above, where both have one law. All rows are used at once, without subsets.

    Raises:
        ValueError: for rows that do not fit together, or fewer than 2.
    """
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise ValueError(
            f"real and generated must be (n, f) and (m, f) rows, got shapes {real.shape} and {generated.shape}"
        )
    if min(len(real), len(generated)) < 2:
        raise ValueError(f"rows must be 2 or more on each side, got {len(real)} and {len(generated)}")
    return _within(real) + _within(generated) - 2 * float(_kernel(real, generated).mean())


def _within(rows: Floats) -> float:
    """Mean kernel of two different rows."""
    kernel = _kernel(rows, rows)
    return float((kernel.sum() - kernel.trace()) / (len(rows) * (len(rows) - 1)))


def _kernel(rows: Floats, others: Floats) -> Floats:
    return np.asarray((rows.astype(np.float64) @ others.astype(np.float64).T / rows.shape[1] + 1) ** 3)
