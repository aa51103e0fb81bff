"""The invertible 1x1 convolution: a learned mixing of channels that stays well-conditioned."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from veilray.flows.base import Flow

__all__ = ["InvertibleConv"]

LOG_DIAGONAL_BOUND = 1.0
"""The diagonal of U stays within (1/e, e). ActNorm before it carries the scale; a diagonal free to run off
would only make the inverse lose digits."""


class InvertibleConv(Flow):
    """Mix the channels of `(n, c, h, w)` by the matrix W = Q L U at every pixel.

    Q is a fixed random rotation (saved, not trained), L is lower triangular with ones on its diagonal, and U
    is upper triangular with the diagonal exp(b tanh(r / b)), b = 1. Training starts at L = U = I, so W = Q is
    orthogonal. One `(c, c)` parameter holds L below, r on and U above its diagonal.

    A rotation in the place of the usual permutation starts from a condition number of 1 in each factor; the
    bounded diagonal keeps it low while training. Products and inverses of the factors are taken in float64.

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018), section 3.2.
    """

    rotation: Tensor

    def __init__(self, channels: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.channels = channels
        gaussian = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
        orthogonal: Tensor
        orthogonal, triangular = torch.linalg.qr(gaussian)
        # The signs make the draw uniform over the orthogonal group (Mezzadri, 2007).
        self.register_buffer("rotation", (orthogonal * triangular.diagonal().sign()).float())
        self.factors = nn.Parameter(torch.zeros(channels, channels))

    def log_diagonal(self) -> Tensor:
        """Return the log of the diagonal of U, `(c,)`, each within +-1."""
        return LOG_DIAGONAL_BOUND * torch.tanh(self.factors.diagonal() / LOG_DIAGONAL_BOUND)

    def triangles(self) -> tuple[Tensor, Tensor]:
        """Return L and U, `(c, c)` each, float64."""
        factors = self.factors.double()
        lower = factors.tril(-1) + torch.eye(self.channels, dtype=factors.dtype, device=factors.device)
        upper = factors.triu(1) + torch.diag(self.log_diagonal().double().exp())
        return lower, upper

    def weight(self) -> Tensor:
        """Return W, `(c, c)`, float64."""
        lower, upper = self.triangles()
        stored = self.rotation.double()
        # One Newton step takes the saved rotation, orthogonal to 1e-7, to 1e-14: log |det Q| is then 0.
        rotation = 1.5 * stored - 0.5 * stored @ (stored.T @ stored)
        return rotation @ lower @ upper

    def inverse_weight(self) -> Tensor:
        """Return W^-1, `(c, c)`, float64."""
        inverse: Tensor = torch.linalg.inv(self.weight())
        return inverse

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and height x width x log |det W|, the same for every row."""
        y = F.conv2d(x, self.weight().to(x.dtype)[:, :, None, None])
        ladj = self.log_diagonal().sum() * (x.shape[2] * x.shape[3])
        return y, ladj.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """Return x = W^-1 y at every pixel."""
        return F.conv2d(y, self.inverse_weight().to(y.dtype)[:, :, None, None])

    def extra_repr(self) -> str:
        """Return what stands between the brackets of repr()."""
        return str(self.channels)
