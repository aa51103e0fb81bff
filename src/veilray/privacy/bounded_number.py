"""A number within public bounds, released once: grid Laplace noise, then written with few digits.

For the age or the exposure that goes with a picture, as `respond` is for its label. The number is brought to [-1, 1] by
the public bounds and clamped, released by the Laplace mechanism for a box of 1 in one dimension, brought back, clamped
to the bounds and written in decimals.

**Claim.** Each release is epsilon-private among all numbers whatsoever, those outside the bounds and not-a-number
included. **Proof.** Scaling and clamping are a function of the number and of public bounds, applied before the draw.
What the mechanism sees lies in its own box (which it enforces once more, on the grid), and its claim holds for every
two points of the box; see `mechanisms/laplace.py`. What follows sees the draw and the bounds alone: post-processing.
That covers the clamp, which puts a part of the probability on the two bounds, and the rounding to decimals. The bounds
must be public: two records would be told apart by bounds that were read from them.

The grid cuts the range into 512 steps and the noise is wider than one step up to epsilon 512. So four figures of the
range are written; more would be digits of the grid.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from veilray.privacy.bounds import Floats
from veilray.privacy.entropy import Entropy
from veilray.privacy.exact import magnitude
from veilray.privacy.mechanisms.base import Claim
from veilray.privacy.mechanisms.laplace import Laplace

__all__ = ["FIGURES", "check_bounds", "number_noise", "release_numbers", "written"]

FIGURES = 4
"""Decimal figures of the range between the bounds that a released number is written with."""

_LARGEST = Fraction(10**15)


def number_noise(epsilon: Fraction) -> Laplace:
    """The mechanism of one number on the scale of [-1, 1]. Raises ValueError for an epsilon it cannot keep."""
    return Laplace.calibrate(Claim.of(epsilon), 1, clip=1)


def check_bounds(low: Fraction, high: Fraction, name: str = "bounds") -> None:
    """Raise ValueError unless low < high, both at most 10^15 in size and 10^-15 or more apart."""
    if not low < high:
        raise ValueError(f"{name} must be a low number and a higher one, got {low} and {high}")
    if max(abs(low), abs(high)) > _LARGEST or high - low < 1 / _LARGEST:
        raise ValueError(f"{name} must be at most 10^15 in size and 10^-15 or more apart, got others")


def release_numbers(
    values: Floats, low: Fraction, high: Fraction, epsilon: Fraction, entropy: Entropy
) -> NDArray[np.str_]:
    """Randomise numbers, each with `epsilon` of its own; `(n,)` decimal text within the bounds.

    Args:
        values: `(n,)` float64 of any size; beyond a bound it counts as the bound, not-a-number as the middle.
        low, high: the public bounds, exact.
        epsilon: exact, for each number.
        entropy: the operating system's for a release.

    Raises:
        ValueError: for bounds that are not low < high, or an epsilon that the mechanism cannot keep.

    Example:
        >>> from veilray.privacy.entropy import SeededEntropy
        >>> drawn = release_numbers(np.full(3, 61.0), Fraction(0), Fraction(100), Fraction(4), SeededEntropy(1))
        >>> drawn.shape, all(0 <= float(text) <= 100 for text in drawn)
        ((3,), True)
    """
    check_bounds(low, high)
    centre, half = float((low + high) / 2), float((high - low) / 2)
    inside = np.clip(np.asarray(values, dtype=np.float64), float(low), float(high))
    drawn = number_noise(epsilon).release(((inside - centre) / half)[:, None], entropy)[:, 0]
    # Clamped on the grid first: few different numbers are left, and each is brought back once, exactly.
    points, which = np.unique(np.clip(drawn, -1.0, 1.0), return_inverse=True)
    texts = [written(low + (high - low) * (Fraction(point) + 1) / 2, low, high) for point in points.tolist()]
    return np.array(texts, dtype=np.str_)[which] if texts else np.zeros(0, dtype=np.str_)


def written(value: Fraction, low: Fraction, high: Fraction) -> str:
    """The number in decimals with as many places as show four figures of the range, never outside the bounds.

    Example:
        >>> written(Fraction(100, 3), Fraction(0), Fraction(100)), written(Fraction(2), Fraction(0), Fraction(2, 3))
        ('33.3', '0.6666')
    """
    power = magnitude(high - low) - FIGURES + 1
    step = Fraction(10) ** power
    # A range is a thousand steps or more, so there always is one between its ends.
    whole = min(max(round(value / step), math.ceil(low / step)), math.floor(high / step))
    return f"{Decimal(whole).scaleb(power):f}"
