"""What mechanisms that add integer noise share: the bound on the grid, the way back, and their options."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.privacy.bounds import BoundKind, Floats, GridBound, Integers
from veilray.privacy.exact import ExactLike, decimal_text, exact
from veilray.privacy.mechanisms.base import Claim, Mechanism

__all__ = ["GridMechanism", "decimal", "grid_bound", "refuse_unknown"]

_ELEMENTS_AT_ONCE = 2**22  # of a likelihood: 32 MB an array


class GridMechanism(Mechanism):
    """Bounds rows to integers, adds integer noise, and says how likely each sum was."""

    _grid: GridBound

    @property
    def dimension(self) -> int:
        return self._grid.dimension

    def bound(self, latent: Floats) -> Integers:
        """Integers on the grid, `(n, d)` int64, each row inside the public bound; for floats of any size."""
        self._check_rows(latent)
        return self._grid.apply(latent)

    def log_likelihood(self, released: Floats, latent: Floats) -> Floats:
        """log of the exact probability of each released row given each latent row, `(n,)`; nats, -inf if impossible.

        Raises:
            ValueError: for another shape, or for released values off the mechanism's grid.
        """
        self._check_rows(released)
        self._check_rows(latent)
        y, q = self._released_integers(released), self.bound(latent)
        if len(y) != len(q) and 1 not in (len(y), len(q)):
            raise ValueError(
                f"released and latent must have equal rows, or one of them one row, got {len(y)}, {len(q)}"
            )
        rows = max(len(y), len(q)) if min(len(y), len(q)) else 0
        chunk = max(1, _ELEMENTS_AT_ONCE // self.dimension)
        found = np.empty(rows)
        for top in range(0, rows, chunk):
            part = slice(top, min(top + chunk, rows))
            found[part] = self._log_probability(y if len(y) == 1 else y[part], q if len(q) == 1 else q[part]).sum(
                axis=1
            )
        return found

    @abstractmethod
    def _released_integers(self, released: Floats) -> Integers:
        """Released values as the integers that `_log_probability` knows."""

    @abstractmethod
    def _log_probability(self, y: Integers, q: Integers) -> Floats:
        """log Pr[y | q], element by element."""

    def _bounded(self, bounded: NDArray[Any]) -> Integers:
        """Rows as `bound` returns them; bounded once more, so that no mistake of a caller reaches the claim."""
        self._check_rows(bounded)
        if not np.issubdtype(bounded.dtype, np.signedinteger):
            raise ValueError(f"bounded rows must be integers as bound() returns them, got dtype {bounded.dtype}")
        return self._grid.enforce(bounded.astype(np.int64, copy=False))

    def _whole(self, in_grid_units: Floats) -> Integers:
        """Float64 numbers that are integers, as int64."""
        whole = np.rint(in_grid_units)
        if not np.array_equal(whole, in_grid_units):
            raise ValueError(
                "released must lie on the mechanism's grid, got a value off it: "
                "pass what randomise() returned, before to_prior() and without rounding to float32"
            )
        return whole.astype(np.int64)

    def _stated_grid(self) -> dict[str, str]:
        return {
            "bound": self._grid.kind,
            "radius" if self._grid.kind != "box" else "clip": str(self._grid.radius),
            "grid_bits": str(self._grid.grid_bits),
        }


def grid_bound(
    claim: Claim,
    dimension: int,
    kinds: tuple[BoundKind, ...],
    kind: str,
    clip: ExactLike | None,
    radius: ExactLike | None,
    grid_bits: ExactLike,
) -> GridBound:
    """The bound of a mechanism's options; refuses contradictions, each with its cure."""
    chosen = next((known for known in kinds if known == kind), None)
    if chosen is None:
        raise ValueError(f"bound must be one of {', '.join(kinds)}, got {kind!r}")
    bits = exact(grid_bits, "grid_bits")
    if bits.denominator != 1:
        raise ValueError(f"grid_bits must be an integer, got {grid_bits}")
    if chosen == "box" and radius is not None:
        raise ValueError(f"radius must be absent for a box, got {radius}: give clip instead")
    if chosen != "box" and clip is not None:
        raise ValueError(f"clip must be absent for an {chosen}, got {clip}: give radius instead")
    if chosen != "box" and claim.unit == "element":
        raise ValueError(
            f"unit must be image for an {chosen}, got element: one element can cross the whole ball, so its epsilon is "
            "that of the image; use bound box, or unit image"
        )
    given = clip if chosen == "box" else radius
    name = "clip" if chosen == "box" else "radius"
    return GridBound.of(chosen, None if given is None else exact(given, name), int(bits), dimension)


def refuse_unknown(mechanism: str, known: tuple[str, ...], unknown: dict[str, Any]) -> None:
    """Raise ValueError for options that the mechanism does not have."""
    if unknown:
        raise ValueError(f"options of {mechanism} must be among {', '.join(known)}, got {', '.join(sorted(unknown))}")


def decimal(value: Any, digits: int = 6) -> str:
    """A figure for people, rounded up; without thousands separators, so that it can be read back."""
    return decimal_text(value, digits).replace(",", "")
