"""Squeeze: trade resolution for channels, four pixels to four channels, in either of two orders."""

from __future__ import annotations

from torch import Tensor

from veilray.flows.base import Flow

__all__ = ["DOWNSAMPLINGS", "ReshapingSqueeze", "Squeeze"]


class Squeeze(Flow):
    """Move each 2 x 2 block of pixels into channels: `(n, c, h, w)` to `(n, 4c, h/2, w/2)`.

    The place in the block is the slow index of the new channels: the four sub-images of the checkerboard follow
    one another, each with all its channels. This is the order of i-RevNet.

    The result lies channels-last in memory, the layout in which the convolutions after it are fastest.

    References:
        Density estimation using Real NVP (Dinh, Sohl-Dickstein and Bengio, 2017), section 3.6.
        i-RevNet: Deep Invertible Networks (Jacobsen, Smeulders and Oyallon, 2018).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the squeezed tensor; height and width must be even."""
        n, c, h, w = x.shape
        if h % 2 or w % 2:
            raise ValueError(f"height and width must be even, got {h} x {w}")
        blocks = x.permute(0, 2, 3, 1).reshape(n, h // 2, 2, w // 2, 2, c)
        return self._to_channels(blocks).reshape(n, h // 2, w // 2, 4 * c).permute(0, 3, 1, 2)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squeezed tensor and zeros `(n,)`: a permutation keeps volume."""
        return self.forward(x), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """Return the tensor before squeezing; the channels must be a multiple of four."""
        n, c, h, w = y.shape
        if c % 4:
            raise ValueError(f"channels must be a multiple of 4, got {c}")
        blocks = self._to_blocks(y.permute(0, 2, 3, 1))
        return blocks.reshape(n, 2 * h, 2 * w, c // 4).permute(0, 3, 1, 2)

    def _to_channels(self, blocks: Tensor) -> Tensor:
        """Bring `(n, h, 2, w, 2, c)` to `(n, h, w, ...)`, the new channels in their order."""
        return blocks.permute(0, 1, 3, 2, 4, 5)

    def _to_blocks(self, channels: Tensor) -> Tensor:
        """Bring `(n, h, w, 4c)` to `(n, h, 2, w, 2, c)`."""
        return channels.reshape(*channels.shape[:3], 2, 2, channels.shape[3] // 4).permute(0, 1, 3, 2, 4, 5)


class ReshapingSqueeze(Squeeze):
    """Squeeze in the other order: the place in the block is the fast index, a channel's four pixels stay together.

    For one channel the two are the same. This is what CADP's public code (Toelle et al., 2022) runs: the
    down-sampling that FrEIA 0.2 names after i-RevNet has this order, unless its legacy back end is asked for.
    """

    def _to_channels(self, blocks: Tensor) -> Tensor:
        return blocks.permute(0, 1, 3, 5, 2, 4)

    def _to_blocks(self, channels: Tensor) -> Tensor:
        return channels.reshape(*channels.shape[:3], channels.shape[3] // 4, 2, 2).permute(0, 1, 4, 2, 5, 3)


DOWNSAMPLINGS: dict[str, type[Squeeze]] = {"checkerboard": Squeeze, "reshape": ReshapingSqueeze}
"""The down-samplings by the names that a configuration gives them."""
