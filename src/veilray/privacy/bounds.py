"""Bounds on the grid: every latent row becomes integers in a public set, row by row.

Noise is added to integers q = rint(z 2^k), so that what is claimed about them holds for the numbers the machine really
adds. The set is a box |q_j| <= C, or a ball of an integer radius F in the L1 or L2 norm. Rounding can push a row that
was scaled onto the ball outside it again (by up to d/2 in the L1 norm), so the norm is checked **after** rounding,
in integers, and a row outside is shrunk toward 0.

What two bounded rows can differ by (the sensitivity, twice the radius of a ball):

| set | L1 | L2 |
|---|---|---|
| box | 2 C d | 2 C sqrt d |
| L1 ball | 2 F | 2 F |
| L2 ball | 2 F sqrt d | 2 F |

A row with a non-finite element becomes the zero row, and nothing says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from veilray.privacy.guarantee import Bound

__all__ = ["GRID_BITS", "BoundKind", "GridBound", "finite_rows"]

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
BoundKind: TypeAlias = Literal["box", "l1-ball", "l2-ball"]

GRID_BITS = 8
"""Default k: a step of 1/256 of a latent's standard deviation, which rounds with an error of 0.0011. Noise of epsilon
8 an element is 500 times that; each further bit costs 4 % of the sampler's speed and buys nothing."""

_MOST_GRID_BITS = 16
_LARGEST_SUM = 2**60  # of norms in int64, with room for what rounding adds


def finite_rows(latent: Floats) -> Floats:
    """Rows with any non-finite element replaced by the zero vector: fixed, public, and silent about it."""
    rows = np.ascontiguousarray(latent, dtype=np.float64)
    return np.where(np.isfinite(rows).all(axis=1, keepdims=True), rows, 0.0)


@dataclass(frozen=True)
class GridBound:
    """A public set of integer rows.

    Args:
        kind: `box`, `l1-ball` or `l2-ball`.
        size: C or F, in grid units; at least 1.
        grid_bits: k; a grid unit is 2^-k of the latent's unit.
        dimension: elements of a row.

    Raises:
        ValueError: for numbers that are out of range or would not fit 64-bit integers.
    """

    kind: BoundKind
    size: int
    grid_bits: int
    dimension: int

    def __post_init__(self) -> None:
        if self.kind not in ("box", "l1-ball", "l2-ball"):
            raise ValueError(f"bound must be box, l1-ball or l2-ball, got {self.kind!r}")
        if self.dimension < 1:
            raise ValueError(f"dimension must be at least 1, got {self.dimension}")
        if not 1 <= self.grid_bits <= _MOST_GRID_BITS:
            raise ValueError(f"grid_bits must be in [1, {_MOST_GRID_BITS}], got {self.grid_bits}")
        if self.size < 1:
            raise ValueError("radius must be at least one grid unit, got less: take more grid bits or a larger radius")
        largest = self.size + self.dimension
        if (largest**2 if self.kind == "l2-ball" else largest) > _LARGEST_SUM:
            raise ValueError(f"radius must fit 64-bit integers, got {self.size} grid units: take fewer grid bits")

    @classmethod
    def of(cls, kind: BoundKind, radius: Fraction | None, grid_bits: int, dimension: int) -> GridBound:
        """The bound of a radius in the latent's own units, rounded down to the grid.

        Without a radius: a box of 3; an L1 ball of d sqrt(2/pi) or an L2 ball of sqrt d, which are the mean L1 norm
        and the root mean square L2 norm of N(0, I_d), the law a flow brings its latents to: public, like d itself.
        """
        if dimension < 1:
            raise ValueError(f"dimension must be at least 1, got {dimension}")
        if radius is not None:
            size = math.floor(radius * 2**grid_bits)
        elif kind == "box":
            size = 3 * 2**grid_bits
        elif kind == "l1-ball":
            size = math.floor(dimension * Fraction("0.79788456080286535587") * 2**grid_bits)
        else:
            size = math.isqrt(dimension * 4**grid_bits)
        return cls(kind, size, grid_bits, dimension)

    @property
    def radius(self) -> Fraction:
        """Half the side of the box, or the radius of the ball, in the latent's units; exact."""
        return Fraction(self.size, 2**self.grid_bits)

    @property
    def l1_sensitivity(self) -> int:
        """Largest L1 distance of two bounded rows, in grid units.

        Raises:
            ValueError: for the L2 ball, where it is irrational, and no mechanism here uses it.
        """
        if self.kind == "l2-ball":
            raise ValueError("bound must be box or l1-ball for an L1 sensitivity, got l2-ball")
        return 2 * self.size * (self.dimension if self.kind == "box" else 1)

    @property
    def l2_sensitivity_squared(self) -> int:
        """Square of the largest L2 distance of two bounded rows, in grid units."""
        return 4 * self.size**2 * (self.dimension if self.kind == "box" else 1)

    def stated(self) -> Bound:
        """The bound as a guarantee carries it."""
        return Bound(kind=self.kind, radius=self.radius)

    def apply(self, latent: Floats) -> Integers:
        """Bound `(n, d)` floats of any size: integers, int64, each row inside the set."""
        return self.enforce(np.rint(self._project(finite_rows(latent)) * 2.0**self.grid_bits).astype(np.int64))

    def contains(self, q: Integers) -> NDArray[np.bool_]:
        """Which rows of `(n, d)` integers lie in the set, `(n,)`: decided in integers."""
        inside = np.asarray(((q <= self.size) & (q >= -self.size)).all(axis=1))
        if self.kind == "box":
            return inside
        # Far outside, the integer norm might not fit 64 bits; there floating point is enough.
        inside &= self._norm(q.astype(np.float64))[:, 0] <= 1.01 * self.size + self.dimension
        near = q[inside]
        if self.kind == "l1-ball":
            inside[inside] = np.abs(near).sum(axis=1) <= self.size
        else:
            inside[inside] = (near * near).sum(axis=1) <= self.size**2
        return inside

    def enforce(self, q: Integers) -> Integers:
        """The same rows of integers, those outside the set shrunk toward 0; what lies inside is left as it is.

        A shrunk row is multiplied by less than 1 and cut toward 0, so each element that is not 0 loses at least
        one grid unit: the loop ends, and it ends inside the set by the integer check alone.
        """
        bounded = np.clip(q, -self.size, self.size)
        if self.kind == "box":
            return bounded
        while True:
            outside = np.flatnonzero(~self.contains(bounded))
            if not len(outside):
                return bounded
            rows = bounded[outside].astype(np.float64)
            factor = np.minimum(self.size / self._norm(rows), 1.0) * (1 - 2.0**-40)
            bounded[outside] = np.trunc(rows * factor).astype(np.int64)

    def _project(self, rows: Floats) -> Floats:
        """Clip to the box, or scale toward 0 onto the ball; without overflow for any finite float."""
        if self.kind == "box":
            limit = float(self.radius)
            return np.clip(rows, -limit, limit)
        peak = np.abs(rows).max(axis=1, keepdims=True)
        peak = np.where(peak > 0, peak, 1.0)
        unit = rows / peak
        allowed = float(self.radius) / self._norm(unit)
        return np.where(allowed >= peak, rows, unit * np.minimum(allowed, peak))

    def _norm(self, rows: Floats) -> Floats:
        """L1 or L2 norm of each row, `(n, 1)`; 1 for a zero row."""
        norm = (
            np.abs(rows).sum(axis=1, keepdims=True)
            if self.kind == "l1-ball"
            else np.sqrt((rows * rows).sum(axis=1, keepdims=True))
        )
        return np.where(norm > 0, norm, 1.0)
