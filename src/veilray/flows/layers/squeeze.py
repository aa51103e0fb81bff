"""Squeeze: trade resolution for channels, four pixels to four channels."""

from __future__ import annotations

from torch import Tensor

from veilray.flows.base import Flow

__all__ = ["Squeeze"]


class Squeeze(Flow):
    """Move each 2 x 2 block of pixels into channels: `(n, c, h, w)` to `(n, 4c, h/2, w/2)`.

    The result lies channels-last in memory, the layout in which the convolutions after it are fastest.

    References:
        Density estimation using Real NVP (Dinh, Sohl-Dickstein and Bengio, 2017), section 3.6.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the squeezed tensor; height and width must be even."""
        n, c, h, w = x.shape
        if h % 2 or w % 2:
            raise ValueError(f"height and width must be even, got {h} x {w}")
        blocks = x.permute(0, 2, 3, 1).reshape(n, h // 2, 2, w // 2, 2, c)
        return blocks.permute(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c).permute(0, 3, 1, 2)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squeezed tensor and zeros `(n,)`: a permutation keeps volume."""
        return self.forward(x), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """Return the tensor before squeezing; the channels must be a multiple of four."""
        n, c, h, w = y.shape
        if c % 4:
            raise ValueError(f"channels must be a multiple of 4, got {c}")
        blocks = y.permute(0, 2, 3, 1).reshape(n, h, w, 2, 2, c // 4)
        return blocks.permute(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c // 4).permute(0, 3, 1, 2)
