"""ActNorm: a scale and a bias a channel, set by the first training batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from veilray.flows.base import Flow

__all__ = ["ActNorm"]

SMALLEST_DEVIATION = 1e-4
"""A channel that is constant in the first batch is scaled by at most 10,000, not by infinity."""


class ActNorm(Flow):
    """Scale and shift each channel: y = (x + bias) exp(log_scale), for `(n, c, h, w)`.

    `initialise(x)` sets both so that the channels of the first training batch have mean 0 and deviation 1.
    It acts once; the flag that says so is saved with the weights. Without it the layer is the identity.

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018), section 3.1.
    """

    initialised: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.bias = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.tensor(False))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set scale and bias from the batch `x`; do nothing when that has happened before."""
        if bool(self.initialised):
            return
        deviation, mean = torch.std_mean(x.double(), dim=(0, 2, 3), correction=0)
        self.bias.copy_(-mean)
        self.log_scale.copy_(-deviation.clamp_min(SMALLEST_DEVIATION).log())
        self.initialised.fill_(True)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and height x width x the sum of `log_scale`, the same for every row."""
        y = (x + self.bias[:, None, None]) * self.log_scale.exp()[:, None, None]
        ladj = self.log_scale.sum() * (x.shape[2] * x.shape[3])
        return y, ladj.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """Return y exp(-log_scale) - bias."""
        return y * (-self.log_scale).exp()[:, None, None] - self.bias[:, None, None]

    def extra_repr(self) -> str:
        """Return what stands between the brackets of repr()."""
        return str(self.channels)
