"""The Gaussian mechanism on the grid: (epsilon, delta), for an L2 ball or a box.

A bounded row is integers q; the release is rint(q + s G) with an exact, continuous Gaussian G
(`samplers.rounded_gaussian`): a post-processing of the continuous mechanism, so that its analysis holds word for
word. Two rows at the L2 sensitivity Delta are told apart as N(0, 1) and N(mu, 1), mu = Delta / s; s is the least that
the analytic calibration (`calibration`) proves for the claim. zCDP rho = mu^2 / 2 (Bun and Steinke 2016); GDP mu (Dong,
Roth and Su 2022): mu composes by squares, so this is the mechanism for many images of one patient.

* L2 ball, unit `image`: the default, R = sqrt d.
* Box, unit `image`: Delta = 2 C sqrt d.
* Box, unit `element`: (epsilon, delta) for one element; for the image mu grows by sqrt d, stated at the same delta.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from veilray.privacy.bounds import GRID_BITS, Floats, GridBound, Integers
from veilray.privacy.calibration import gaussian_epsilon, gaussian_mu, sqrt_up
from veilray.privacy.entropy import Entropy
from veilray.privacy.exact import ExactLike
from veilray.privacy.guarantee import Guarantee
from veilray.privacy.mechanisms.base import MECHANISMS, Claim
from veilray.privacy.mechanisms.grid import GridMechanism, decimal, grid_bound, refuse_unknown
from veilray.privacy.samplers.rounded_gaussian import RoundedGaussian

__all__ = ["Gaussian"]

_OPTIONS = ("bound", "clip", "radius", "grid_bits")


@MECHANISMS.register("gaussian")
@dataclass(frozen=True)
class Gaussian(GridMechanism):
    """(epsilon, delta) noise; made by `calibrate`.

    Example:
        >>> mechanism = Gaussian.calibrate(Claim.of(64, "1e-6"), 1024)
        >>> round(float(mechanism.sigma), 2)  # 2 sqrt(1024) * .1319
        8.44
    """

    name: ClassVar[str] = "gaussian"

    claim: Claim
    _grid: GridBound
    _noise: RoundedGaussian

    @classmethod
    def calibrate(
        cls,
        claim: Claim,
        dimension: int,
        *,
        bound: str | None = None,
        clip: ExactLike | None = None,
        radius: ExactLike | None = None,
        grid_bits: ExactLike = GRID_BITS,
        **unknown: Any,
    ) -> Gaussian:
        """The Gaussian mechanism that keeps `claim` for rows of `dimension` elements.

        Args:
            bound: `l2-ball` or `box`; unless given, the ball for unit `image` and the box for unit `element`.
            clip: half the side of the box, 3 unless given; exact.
            radius: of the L2 ball, sqrt d unless given; exact. Chosen beforehand, never on the records released.
            grid_bits: k; one grid unit is 2^-k.

        Raises:
            ValueError: without a delta, for unit `element` on a ball, for options out of range.
        """
        refuse_unknown(cls.name, _OPTIONS, unknown)
        if not claim.delta:
            raise ValueError(
                "delta must be above 0 for gaussian, got 0: give one well below 1 / patients, such as 1e-6, "
                "or use mechanism laplace"
            )
        chosen = bound if bound is not None else ("l2-ball" if claim.unit == "image" else "box")
        grid = grid_bound(claim, dimension, ("l2-ball", "box"), chosen, clip, radius, grid_bits)
        squared = grid.l2_sensitivity_squared if claim.unit == "image" else 4 * grid.size**2
        return cls(claim, grid, RoundedGaussian(sqrt_up(squared / gaussian_mu(claim.epsilon, claim.delta) ** 2)))

    @property
    def sigma(self) -> Fraction:
        """Standard deviation of the noise before rounding, in the latent's units; exact."""
        return self._noise.scale / (1 << self._grid.grid_bits)

    @property
    def mu_squared(self) -> Fraction:
        """mu^2 of the whole image: exact, and what adds up over releases."""
        return self._grid.l2_sensitivity_squared / self._noise.scale**2

    def randomise(self, bounded: NDArray[Any], entropy: Entropy) -> Floats:
        """Add the noise: `(n, d)` float64, multiples of a grid unit, exact."""
        q = self._bounded(bounded)
        released = self._noise.sample((q.shape[0], q.shape[1]), entropy)
        np.add(released, q, out=released)
        return released.astype(np.float64) * 2.0**-self._grid.grid_bits

    def guarantee(self, dimension: int) -> Guarantee:
        """The claim, with the figures for the whole image and, for a box, for one element, at the same delta."""
        self._check_dimension(dimension)
        epsilon, delta = self.claim.epsilon, self.claim.delta
        element_epsilon = None
        if self.claim.unit == "element":
            image_epsilon, element_epsilon = gaussian_epsilon(sqrt_up(self.mu_squared), delta), epsilon
        else:
            image_epsilon = epsilon
            if self._grid.kind == "box":
                element_epsilon = gaussian_epsilon(2 * self._grid.size / self._noise.scale, delta)
        return Guarantee(
            unit=self.claim.unit,
            epsilon=epsilon,
            delta=delta,
            image_epsilon=max(image_epsilon, epsilon),
            image_delta=delta,
            element_epsilon=element_epsilon,
            bound=self._grid.stated(),
            dimension=dimension,
            mechanism=self.name,
            parameters={
                **self._stated_grid(),
                "noise": "rounded gaussian",
                "sigma": str(self.sigma),
                "mu": decimal(sqrt_up(self.mu_squared)),
                "mu_squared": str(self.mu_squared),
                "rho": str(self.mu_squared / 2),
            },
        )

    def to_prior(self, released: Floats) -> Floats:
        """Back to the spread of N(0, 1): y / sqrt(1 + sigma^2), the map to it for a Gaussian latent."""
        self._check_rows(released)
        return released / math.sqrt(1 + float(self.sigma) ** 2)

    def _released_integers(self, released: Floats) -> Integers:
        return self._whole(released * 2.0**self._grid.grid_bits)

    def _log_probability(self, y: Integers, q: Integers) -> Floats:
        return self._noise.log_probability(y - q)
