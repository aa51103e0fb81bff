"""The convolutional network of the variational autoencoder: pictures to the law of a code, and a code to a picture.

It works on patches of 4 x 4 pixels (8 x 8 in pictures above 128), as channels of a picture that is that much smaller
(space to depth: Shi et al. 2016). At full size a few channels would cost most of the time and rebuild less.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["VaeNetwork"]

_TOP = 8
"""Largest side of the grid that the linear maps read and write."""
_LOG_VARIANCE = (-10.0, 4.0)
"""Bounds that keep the first steps finite; a trained code is well inside."""


class VaeNetwork(nn.Module):
    """Encoder and decoder on standardised pictures.

    Args:
        size, channels: of the pictures; any size is padded to whole patches and cropped again.
        features: numbers of a code.
        width: channels at the finest grid; each halving doubles them, up to four times as many.
    """

    def __init__(self, size: int, channels: int, features: int, width: int) -> None:
        super().__init__()
        patch = 4 if size <= 128 else 8
        halvings = 0
        while patch * _TOP * 2**halvings < size:
            halvings += 1
        top = -(-size // (patch * 2**halvings))
        self.size, self.padding = size, top * patch * 2**halvings - size
        widths = [width * min(2**level, 4) for level in range(halvings + 1)]
        numbers = channels * patch * patch
        inward: list[nn.Module] = [nn.PixelUnshuffle(patch), nn.Conv2d(numbers, width, 3, padding=1), nn.SiLU()]
        outward: list[nn.Module] = [nn.PixelShuffle(patch), nn.Conv2d(width, numbers, 3, padding=1), nn.SiLU()]
        for fine, coarse in pairwise(widths):
            inward += [nn.Conv2d(fine, coarse, 3, stride=2, padding=1), nn.SiLU()]
            outward += [nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1), nn.SiLU()]
        hidden = widths[-1] * top * top
        self.inward = nn.Sequential(*inward, nn.Flatten())
        self.mean = nn.Linear(hidden, features)
        self.log_variance = nn.Linear(hidden, features)
        unflatten = nn.Unflatten(1, (widths[-1], top, top))
        self.outward = nn.Sequential(nn.Linear(features, hidden), unflatten, *reversed(outward))

    def hidden(self, pictures: Tensor) -> Tensor:
        """What mean and log variance are read from."""
        padded = F.pad(pictures, (0, self.padding, 0, self.padding)) if self.padding else pictures
        return self.inward(padded)  # type: ignore[no-any-return]

    def law(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the code, `(n, features)` each."""
        hidden = self.hidden(pictures)
        return self.mean(hidden), self.log_variance(hidden).clamp(*_LOG_VARIANCE)

    def decode(self, codes: Tensor) -> Tensor:
        """Pictures `(n, channels, size, size)`."""
        return self.outward(codes)[..., : self.size, : self.size]  # type: ignore[no-any-return]
