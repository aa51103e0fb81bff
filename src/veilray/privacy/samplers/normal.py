"""Normals for candidates: a finite law that no input touches, and a proven distance from the true normal.

The directional mechanism does not need exact normals. It needs candidates whose law depends on nothing, and a
bound on how far that law is from N(0, 1), because epsilon is governed by the probability that a candidate falls
on the upper side of a threshold. One 64-bit word gives one normal.

**Construction.** Read the word as a signed integer w, |w| in [0, 2^63]. U = |w| / 2^64 is the tail probability
and the sign of w the sign. Q(U) = -Phi^-1(U) is replaced by a straight line on each of 1024 cells an octave of
|w| (the cell is the exponent and the top ten mantissa bits of w as a double), so that the tail is as finely
resolved as the middle.

**Coupling (the proof that callers use).** Let U' be the continuous uniform whose 64-bit truncation is the word,
and n = +-Q(U') the true normal. Then on every word with |w| >= 2^24 the sample x satisfies |x - n| <= 5e-8:
* line for curve: Q is convex, Q'' = Q / phi(Q)^2, so a secant lifted by half its largest deviation errs by at
  most h^2 max Q'' / 16 on a cell of width h. Cells have h <= U / 1024 and U <= phi(Q) / Q (Mills), so this is at most
  2^-20 / (16 Q) in the tail and below 2.7e-8 everywhere (the test evaluates it cell by cell).
* word for uniform: |U - U'| <= 2^-64 (1 + 2^-53 |w|), that is 2^-24 U at |w| = 2^24 where Q is 7.05; divided by
  phi(Q) it is at most 2^-24 / 7.0 < 8.6e-9, and smaller for every larger |w|.
* the table's nodes (scipy's ndtri, good to 1e-14 relative; 1e-11 is allowed here, and tested against mpmath) and
  three float64 operations on numbers below 10: below 1.1e-11.
Words with |w| < 2^24 have probability 2^-39 and are counted as lost. No sample exceeds 9.5 in size.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

__all__ = ["COUPLING_DISTANCE", "LARGEST", "LOST", "normals"]

COUPLING_DISTANCE = Fraction(5, 10**8)
"""Largest distance between a sample and the true normal it is coupled with, outside the lost words."""

LOST = Fraction(1, 2**39)
"""Probability of a word for which the distance is not claimed."""

LARGEST = Fraction(19, 2)
"""No sample exceeds this in size."""

_MANTISSA_BITS = 10
_SHIFT = np.uint64(52 - _MANTISSA_BITS)
_CELLS = 64 << _MANTISSA_BITS


@cache
def lines() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intercept and slope of the line on each cell, indexed by the low six exponent bits and ten mantissa bits."""
    index = np.arange(_CELLS)
    exponent = ((index >> _MANTISSA_BITS) - 1023) % 64
    step = np.ldexp(1.0, exponent - _MANTISSA_BITS)
    left = np.ldexp(1.0, exponent) + (index & (2**_MANTISSA_BITS - 1)) * step
    # |w| = 2^63 is the only value of the last octave: its tail is 1/2 and its normal 0.
    last = exponent == 63
    left_tail = np.where(last, 0.25, np.ldexp(left, -64))
    right_tail = np.where(last, 0.375, np.ldexp(left + step, -64))
    x_left, x_right = -ndtri(left_tail), -ndtri(right_tail)
    slope = (x_right - x_left) / step
    curvature = x_left / np.exp(-(x_left**2)) * 2 * np.pi
    lift = (right_tail - left_tail) ** 2 * curvature / 16
    intercept = x_left - slope * left - lift
    intercept[last], slope[last] = 0.0, 0.0
    intercept.setflags(write=False)
    slope.setflags(write=False)
    return intercept, slope


def normals(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """One normal for each uniform 64-bit word, float64 of the same shape.

    Args:
        words: contiguous uint64 from an `Entropy`.
    """
    intercept, slope = lines()
    signed = words.view(np.int64).astype(np.float64)
    cell = (signed.view(np.uint64) >> _SHIFT).view(np.int64)
    cell &= _CELLS - 1
    # The indices are masked, so nothing is ever wrapped; `wrap` only spares numpy a second look at them.
    out = np.take(slope, cell, mode="wrap")
    out *= np.abs(signed)
    out += np.take(intercept, cell, mode="wrap")
    return np.copysign(out, signed, out=out)
