"""The Laplace mechanism on the grid: pure epsilon, for a box or an L1 ball.

A bounded row is integers q; v is half-integer discrete Laplace noise of scale t, independent for each element
(`samplers.discrete_laplace`, where the ratio of one element is proved to be within exp(|q - q'|/t + CHARGE)). The
elements multiply, so two rows at L1 distance s have ratios within exp(s/t + d CHARGE). With the L1 sensitivity of the
bound in place of s this is at most epsilon by the choice of t, in fractions; see `spent`. (Dwork, McSherry, Nissim and
Smith 2006 for the mechanism; Ghosh, Roughgarden and Sundararajan 2012 for its discrete form.)

* Box, unit `element`: epsilon is for one element, as published figures silently mean; the image costs d times that.
* Box, unit `image`: every element gets epsilon / d.
* L1 ball, unit `image`: the noise does not grow with d, but the radius does (the mean norm is d sqrt(2/pi)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from veilray.privacy.bounds import GRID_BITS, Floats, GridBound, Integers
from veilray.privacy.calibration import round_up
from veilray.privacy.entropy import Entropy
from veilray.privacy.exact import ExactLike
from veilray.privacy.guarantee import Guarantee
from veilray.privacy.mechanisms.base import MECHANISMS, Claim
from veilray.privacy.mechanisms.grid import GridMechanism, grid_bound, refuse_unknown
from veilray.privacy.mechanisms.normal_plus_laplace import to_normal
from veilray.privacy.samplers.discrete_laplace import CHARGE, LARGEST_EPSILON, DiscreteLaplace

__all__ = ["Laplace"]

_OPTIONS = ("bound", "clip", "radius", "grid_bits", "decode")


@MECHANISMS.register("laplace")
@dataclass(frozen=True)
class Laplace(GridMechanism):
    """Pure-epsilon noise; made by `calibrate`.

    Example:
        >>> mechanism = Laplace.calibrate(Claim.of("0.5", unit="element"), 64)
        >>> mechanism.guarantee(64).image_epsilon
        Fraction(32, 1)
    """

    name: ClassVar[str] = "laplace"

    claim: Claim
    _grid: GridBound
    _noise: DiscreteLaplace
    decode: Literal["quantile", "scale"] = "quantile"

    @classmethod
    def calibrate(
        cls,
        claim: Claim,
        dimension: int,
        *,
        bound: str = "box",
        clip: ExactLike | None = None,
        radius: ExactLike | None = None,
        grid_bits: ExactLike = GRID_BITS,
        decode: str = "quantile",
        **unknown: Any,
    ) -> Laplace:
        """The Laplace mechanism that keeps `claim` for rows of `dimension` elements.

        Args:
            bound: `box` or `l1-ball`.
            clip: half the side of the box, 3 unless given; exact.
            radius: of the L1 ball, d sqrt(2/pi) unless given; exact. Chosen beforehand, never on the records released.
            grid_bits: k; one grid unit is 2^-k.
            decode: what `to_prior` does, `quantile` or `scale`.

        Raises:
            ValueError: for a delta (a pure mechanism has none), for unit `element` on a ball, for options out of range.
        """
        refuse_unknown(cls.name, _OPTIONS, unknown)
        if claim.delta:
            raise ValueError(f"delta must be 0 for laplace, got {claim.delta}: use mechanism gaussian")
        if decode not in ("quantile", "scale"):
            raise ValueError(f"decode must be quantile or scale, got {decode!r}")
        grid = grid_bound(claim, dimension, ("box", "l1-ball"), bound, clip, radius, grid_bits)
        # What one draw of 2 size / t may cost: an element of the box, or a way across the ball.
        share = claim.epsilon / dimension if grid.kind == "box" and claim.unit == "image" else claim.epsilon
        if share > LARGEST_EPSILON:
            raise ValueError(f"epsilon must be at most {LARGEST_EPSILON:,}, got {share}: such noise hides nothing")
        left = share - (CHARGE if grid.kind == "box" else dimension * CHARGE)
        if left <= 0:
            raise ValueError(f"epsilon must be above 2^-90 an element, got {claim.epsilon}")
        noise = DiscreteLaplace(round_up(2 * grid.size / left, 64), grid.size)
        return cls(claim, grid, noise, "quantile" if decode == "quantile" else "scale")

    @property
    def scale(self) -> Fraction:
        """Scale b of the noise, in the latent's units; exact."""
        return self._noise.scale / (1 << self._grid.grid_bits)

    @property
    def spent(self) -> Fraction:
        """What the noise truly costs a whole image, as proved; at most the guarantee's `image_epsilon`."""
        return self._grid.l1_sensitivity / self._noise.scale + self.dimension * CHARGE

    def randomise(self, bounded: NDArray[Any], entropy: Entropy) -> Floats:
        """Add the noise and clamp: `(n, d)` float64, odd multiples of half a grid unit, exact."""
        released = np.add(self._noise.add(self._bounded(bounded), entropy), 0.5)
        return np.multiply(released, 2.0**-self._grid.grid_bits, out=released)

    def guarantee(self, dimension: int) -> Guarantee:
        """The claim, with the figures for the whole image and, for a box, for one element."""
        self._check_dimension(dimension)
        epsilon = self.claim.epsilon
        box, element = self._grid.kind == "box", self.claim.unit == "element"
        return Guarantee(
            unit=self.claim.unit,
            epsilon=epsilon,
            image_epsilon=dimension * epsilon if element else epsilon,
            element_epsilon=(epsilon if element else epsilon / dimension) if box else None,
            bound=self._grid.stated(),
            dimension=dimension,
            mechanism=self.name,
            parameters={
                **self._stated_grid(),
                "noise": "half-integer discrete laplace",
                "scale": str(self.scale),
                "digits": str(self._noise.digits),
            },
        )

    def to_prior(self, released: Floats) -> Floats:
        """Back to N(0, 1): by the quantile map of N(0, 1) + Laplace(b), within +-8, or y / sqrt(1 + 2 b^2)."""
        self._check_rows(released)
        b = float(self.scale)
        return to_normal(released, b) if self.decode == "quantile" else released / math.sqrt(1 + 2 * b * b)

    def _released_integers(self, released: Floats) -> Integers:
        return self._whole(released * 2.0**self._grid.grid_bits - 0.5)

    def _log_probability(self, y: Integers, q: Integers) -> Floats:
        return self._noise.log_probability(y, q)
