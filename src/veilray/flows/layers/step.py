"""One step of flow: ActNorm, invertible 1x1 convolution, coupling."""

from __future__ import annotations

import torch
from torch import Tensor

from veilray.flows.base import Flow
from veilray.flows.layers.actnorm import ActNorm
from veilray.flows.layers.coupling import AffineCoupling, Given
from veilray.flows.layers.invertible_conv import InvertibleConv

__all__ = ["Step"]


class Step(Flow):
    """Compose the three layers as they stand. `engine.py` runs the same map in fewer passes over memory.

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018), figure 2a.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        generator: torch.Generator | None = None,
        maps: int = 0,
        coupling: type[AffineCoupling] = AffineCoupling,
    ) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels)
        self.mix = InvertibleConv(channels, generator)
        self.coupling = coupling(channels, width, generator, maps)

    @torch.no_grad()
    def initialise(self, x: Tensor, given: Given | None = None) -> Tensor:
        """Set every ActNorm from the batch `x`, once, and return y = f(x)."""
        self.actnorm.initialise(x)
        mixed = self.mix(self.actnorm(x))
        self.coupling.initialise(mixed, given)
        return self.coupling.call_and_ladj(mixed, given)[0]

    def call_and_ladj(self, x: Tensor, given: Given | None = None) -> tuple[Tensor, Tensor]:
        """Return y and the sum of the three log-determinants."""
        normed, first = self.actnorm.call_and_ladj(x)
        mixed, second = self.mix.call_and_ladj(normed)
        y, third = self.coupling.call_and_ladj(mixed, given)
        return y, first + second + third

    def inverse(self, y: Tensor, given: Given | None = None) -> Tensor:
        """Undo the coupling, the convolution and the ActNorm."""
        return self.actnorm.inverse(self.mix.inverse(self.coupling.inverse(y, given)))
